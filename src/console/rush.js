// The rush: demo shoppers that buy all at once. Only `firstcome dev` has it.

import { byId, setText } from './dom.js';
import { count } from './format.js';
import { call } from './stream.js';

export function prepareRush() {
  byId('rush-form').addEventListener('submit', (event) => {
    event.preventDefault();
    ask(byId('rush-start'), 'POST', { shoppers: byId('rush-shoppers').valueAsNumber });
  });
  byId('rush-stop').addEventListener('click', () => ask(byId('rush-stop'), 'DELETE'));
}

/** The button is usable again after the next tick, which tells what came of it. */
async function ask(button, method, body) {
  button.disabled = true;
  setText(byId('rush-problem'), '');
  try {
    await call(method, '/console/rush', body);
  } catch (error) {
    setText(byId('rush-problem'), error.message);
  }
}

export function showRush(rush) {
  byId('rush').hidden = !rush;
  byId('shop').hidden = !rush;
  if (!rush) return;
  const { running, shoppers, done } = rush;
  byId('rush-start').disabled = running;
  byId('rush-stop').disabled = !running;
  const progress = byId('rush-progress');
  progress.setAttribute('aria-valuenow', done);
  progress.setAttribute('aria-valuemax', Math.max(shoppers, 1));
  progress.setAttribute('aria-valuetext', `${count(done)} of ${count(shoppers)} shoppers`);
  progress.firstElementChild.style.width = `${shoppers > 0 ? Math.min(100, (done / shoppers) * 100) : 0}%`;
  setText(byId('rush-counts'), shoppers > 0 ? summary(rush) : 'No rush has run yet.');
}

function summary({ running, shoppers, done, paid, claimed, soldOut, refused, failed }) {
  const state = running ? 'Running' : done < shoppers ? 'Stopped' : 'Done';
  // One shopper may be told so twice: of the coupon, and of the product.
  const told = [
    `${count(paid)} paid`,
    `${count(claimed)} claimed`,
    `told "sold out" ${count(soldOut)} times, other refusals ${count(refused)}`,
    `${count(failed)} failed`,
  ].join(', ');
  return `${state}: ${count(done)} of ${count(shoppers)} shoppers; ${told}.`;
}
