// The parts of the page that a tick fills: cells, stock, coupons, ranking, refusals.

import { byId, fill, fillTable, make, sayInstead, setText } from './dom.js';
import { clock, count, duration, rate } from './format.js';
import { MYSQL_AWAY, whyNoRedis } from './tick.js';

/** Most products, and campaigns, that a tick names. */
const LISTED_MAX = 50;

const NOT_TOLD = ['not told', 'quiet'];

const told = (value, write = count) => (value == null ? NOT_TOLD : write(value));
const alarming = (value) => (value > 0 ? [count(value), 'bad'] : told(value));

export function showCells(tick) {
  const card = byId('cells');
  sayInstead(card, tick.cells.length ? '' : 'The engine names no cells.');
  fillTable(card.querySelector('table'), tick.cells, (it) => it.cell, (it) => [
    String(it.cell),
    gateOf(it),
    told(it.epoch),
    told(it.newestSeq),
    told(it.persistedSeq),
    told(it.backlogEvents),
    told(it.lagMs, duration),
    told(it.outboxMessages),
    alarming(it.deadEvents),
    alarming(it.lostEvents),
  ]);
  const old = `${MYSQL_AWAY}: state, epoch, and persisted, dead and lost events are as this node last knew them.`;
  setText(card.querySelector('.hint'), tick.mysqlReachable ? '' : old);
}

function gateOf({ sells, state, reason = 'no reason told' }) {
  if (sells) return ['● sells', 'good'];
  return [`✕ ${state === 'closed' ? 'closed' : 'does not sell'}: ${reason}`, 'bad'];
}

export function showStock(tick) {
  showBars(byId('stock'), tick, tick.products, 'Nothing is on sale now.', (it) => ({
    key: it.id,
    name: it.name,
    left: it.stock,
    of: it.supplied,
    ends: it.saleEndsAt,
  }));
}

export function showCoupons(tick) {
  showBars(byId('coupons'), tick, tick.coupons, 'No campaign issues coupons now.', (it) => ({
    key: it.couponId,
    name: it.name,
    left: it.remaining,
    of: it.quantity,
    ends: it.endsAt,
  }));
}

function showBars(card, tick, items, nothing, barOf) {
  sayInstead(card, items ? (items.length ? '' : nothing) : `${whyNoRedis(tick)}.`);
  const bars = (items ?? []).map(barOf);
  fill(card.querySelector('ul'), bars, (it) => it.key, createBar, updateBar);
  const hints = [
    bars.some((it) => it.of == null) ? `Of how many: ${MYSQL_AWAY}.` : '',
    bars.length === LISTED_MAX ? `The first ${LISTED_MAX}, by id.` : '',
  ];
  setText(card.querySelector('.hint'), hints.join(' ').trim());
}

function createBar({ name }) {
  const meter = make('div', { class: 'bar', role: 'meter', 'aria-label': name, 'aria-valuemin': '0' }, make('div'));
  const line = make('p', {}, make('span', { class: 'name' }), make('small'), make('b'));
  return make('li', {}, line, meter);
}

function updateBar(node, { name, left, of, ends }) {
  const [line, meter] = node.children;
  const [title, until, number] = line.children;
  const shown = of == null ? `${count(left)} left` : `${count(left)} of ${count(of)} left`;
  setText(title, name);
  setText(until, ends ? `until ${clock(ends)}` : '');
  setText(number, left > 0 ? shown : `sold out${of == null ? '' : ` (${count(of)})`}`);
  node.classList.toggle('empty', left <= 0);
  meter.classList.toggle('unknown', of == null);
  meter.setAttribute('aria-label', name);
  meter.setAttribute('aria-valuenow', left);
  meter.setAttribute('aria-valuemax', Math.max(of ?? left, left));
  meter.setAttribute('aria-valuetext', number.textContent);
  meter.firstChild.style.width = `${of > 0 ? Math.max(0, Math.min(100, (left / of) * 100)) : 0}%`;
}

export function showRanking(tick) {
  const card = byId('ranking');
  const places = tick.ranking;
  const nothing = 'Nothing was sold in the last 72 hours.';
  sayInstead(card, places ? (places.length ? '' : nothing) : `${whyNoRedis(tick)}.`);
  fillTable(card.querySelector('table'), places ?? [], (it) => it.id, (it) => [
    count(it.rank),
    it.name,
    count(it.sold),
    it.stock > 0 ? count(it.stock) : ['sold out', 'quiet'],
  ]);
}

export function showRefusals(tick, rates) {
  const card = byId('refusals');
  const refused = [...tick.problems].sort((a, b) => b.count - a.count);
  sayInstead(card, refused.length ? '' : 'This node has refused nothing since it started.');
  fillTable(card.querySelector('table'), refused, (it) => it.code, (it) => {
    const now = rates?.get(`problem ${it.code}`) ?? null;
    return [it.code, now === null ? NOT_TOLD : [rate(now), now > 0 ? '' : 'quiet'], count(it.count)];
  });
}
