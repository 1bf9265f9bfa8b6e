// The audit: what the last one found, and a button that runs one.

import { byId, fillTable, setText } from './dom.js';
import { clock, count, duration } from './format.js';
import { call } from './stream.js';
import { MYSQL_AWAY } from './tick.js';

/** Most differences that an answer lists. */
const LISTED_MAX = 1000;

const differences = (number) => (number === 1 ? '1 difference' : `${count(number)} differences`);

export function prepareAudit() {
  byId('audit-run').addEventListener('click', run);
}

export function showLastAudit({ mysqlReachable, lastAudit }) {
  const line = byId('audit-last');
  line.className = !lastAudit ? '' : lastAudit.clean ? 'good' : 'bad';
  if (!mysqlReachable) return setText(line, `${MYSQL_AWAY}.`);
  if (!lastAudit) return setText(line, 'No audit has finished yet.');
  const { clean, finishedAt, tookMs, checkedRows } = lastAudit;
  const found = clean ? '● Clean' : `✕ ${differences(lastAudit.differences)}`;
  setText(line, `${found}: ${count(checkedRows)} rows, at ${clock(finishedAt)}, in ${duration(tookMs)}.`);
}

async function run() {
  const [button, began] = [byId('audit-run'), Date.now()];
  button.disabled = true;
  show('running', 'Running. This can take long in a large shop.');
  try {
    const { clean, checked, differences: found } = await call('POST', '/admin/audit');
    const rows = Object.values(checked).reduce((sum, it) => sum + it, 0);
    const took = `${count(rows)} rows, at ${clock(Date.now())}, in ${duration(Date.now() - began)}.`;
    const more = found.length === LISTED_MAX ? 'at least ' : '';
    if (clean) show('clean', `● Clean: ${took}`);
    else show('differs', `✕ Not clean, ${more}${differences(found.length)}: ${took}`, found);
  } catch (error) {
    show('failed', `✕ The audit did not finish. ${error.message}`);
  } finally {
    button.disabled = false;
  }
}

function show(state, text, found = []) {
  const result = byId('audit-result');
  result.dataset.state = state;
  setText(result.querySelector('p'), text);
  result.querySelector('.scroll').hidden = found.length === 0;
  const rows = found.map((it, index) => ({ ...it, index }));
  fillTable(result.querySelector('table'), rows, (it) => it.index, (it) => [it.kind, it.id, it.redis, it.mysql]);
}
