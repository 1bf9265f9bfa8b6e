// What a run counts, and what it must come to.
//
// k6 tells teardown() nothing of what the virtual users saw. So the comparisons are counters that both sides write: a
// buyer adds what they were told, teardown() takes away what the engine says it holds. They are right when they come to
// 0, and a threshold on that sets k6's exit code.

import { check } from 'k6';
import { Counter, Gauge, Trend } from 'k6/metrics';
import { P95_MS, P99_MS } from './settings.js';

/** Orders placed and coupons claimed; by `what`: order, claim. */
export const accepted = new Counter('accepted');

/** Buyers told that nothing is left. */
export const soldOut = new Counter('sold_out');

/** Other refusals that the contract allows there; by `code`. */
export const refused = new Counter('refused');

/** Requests sent again under their key, after 429, 503 or no answer; by `why`. */
export const retried = new Counter('retried');

/** Requests given up after 429 or 503, of which it is sure that they did nothing. */
export const shed = new Counter('shed');

/** First answers that came back unchanged when the request was sent again on purpose. */
export const replayed = new Counter('replayed');

/** Whatever the contract does not allow; by `what`. */
export const wrong = new Counter('wrong');

/** Requests sent, less those whose outcome became known. More than 0: the comparisons cannot be exact. */
export const unresolved = new Counter('unresolved');

/** Units that buyers were told they have, and those they gave back. */
export const unitsSold = new Counter('units_sold');
export const unitsReturned = new Counter('units_returned');

/** Units sold, less returned, less what the stock lost. */
export const unitsUnaccounted = new Counter('units_unaccounted');

/** Coupons that users were told they have, less what the campaigns gave. */
export const claimsUnaccounted = new Counter('claims_unaccounted');

/** Money paid, less refunded, less charged, and what the wallets hold, less what they held at the start. */
export const moneyUnaccounted = new Counter('money_unaccounted');

/** What the engine said afterwards. */
export const stockLeft = new Gauge('stock_left');
export const soldByStock = new Gauge('sold_by_stock');
export const soldByOrders = new Gauge('sold_by_orders');
export const couponsLeft = new Gauge('coupons_left');
export const couponsGiven = new Gauge('coupons_given');
export const couponsOfUsers = new Gauge('coupons_of_users');
export const auditDifferences = new Gauge('audit_differences');

/** What the engine said of itself meanwhile. */
export const backlogEvents = new Trend('backlog_events');
export const persistLag = new Trend('persist_lag_ms', true);

/** Most lines about wrong answers that one virtual user writes. */
const LINES_MAX = 5;
let lines = 0;

/**
 * A rule. Where it does not hold, something is wrong, and the run fails.
 *
 * @param {string} rule  of few different texts: each is a name in the report
 * @param {boolean} holds
 * @param {() => unknown} [seen]  what was seen instead
 * @returns {boolean} whether it holds
 */
export function expect(rule, holds, seen) {
  check(holds, { [rule]: (it) => it });
  if (!holds) {
    wrong.add(1, { what: rule });
    lines += 1;
    if (lines <= LINES_MAX) {
      console.error(`WRONG: not so: ${rule}${seen ? `: ${JSON.stringify(seen())}` : ''}`);
    }
  }
  return holds;
}

/** @param {number} units */
export function sold(units) {
  unitsSold.add(units);
  unitsUnaccounted.add(units);
}

/** @param {number} units */
export function returned(units) {
  unitsReturned.add(units);
  unitsUnaccounted.add(-units);
}

/** Always true of a trend. Without a threshold k6 does not tell a latency by name. */
export const SHOWN = 'max>=0';

/**
 * What a run must come to. A metric with a threshold is in the report even where nothing was counted, and fails there
 * where the threshold asks for something (`rate==1`, `count>0`).
 *
 * @param {object} run
 * @param {Array<'units' | 'claims' | 'money'>} run.books  what is compared
 * @param {string[]} run.requests  names of buyers' requests, whose latency is shown
 * @param {boolean} [run.boundsLatency]  of all requests of buyers
 * @param {Record<string, string[]>} [run.more]
 * @returns {Record<string, string[]>}
 */
export function thresholds({ books, requests, boundsLatency = true, more = {} }) {
  /** @type {Record<string, string[]>} */
  const all = {
    checks: ['rate==1'],
    wrong: ['count==0'],
    unresolved: ['count==0'],
    accepted: ['count>0'],
  };
  for (const book of books) {
    all[`${book}_unaccounted`] = ['count==0'];
  }
  if (boundsLatency) {
    all['http_req_duration{by:buyer}'] = [`p(95)<${P95_MS}`, `p(99)<${P99_MS}`];
  }
  for (const name of requests) {
    all[`http_req_duration{by:buyer,name:${name}}`] = [SHOWN];
  }
  return { ...all, ...more };
}
