// A coupon for the first who come: everybody claims it at once. As many are given as users were told they have, never
// more than there were, and nobody has two.

import exec from 'k6/execution';
import { closeShop } from './lib/books.js';
import { claim, repeat } from './lib/buyer.js';
import { openShop, userOf } from './lib/catalogue.js';
import { expect, thresholds } from './lib/counts.js';
import { reporting } from './lib/report.js';
import { OPTIONS, integer, rush } from './lib/settings.js';

/** @typedef {import('./lib/catalogue.js').Shop} Shop */

const STOCK = integer('STOCK', 1000);
const BUYERS = integer('BUYERS', 10 * STOCK);
const VUS = integer('VUS', 200);

/** Shares of the winners: who send their claim again, and who claim once more under another key. */
const REPEATS = 0.1;
const WANTS_MORE = 0.1;

/** @type {import('k6/options').Options} */
export const options = {
  ...OPTIONS,
  scenarios: { claims: rush(BUYERS, VUS) },
  thresholds: thresholds({ books: ['claims'], requests: ['coupon_issue'] }),
};

export function setup() {
  return openShop({ users: BUYERS, campaigns: [{ quantity: STOCK, percent: 10 }] });
}

export default function claimOne(/** @type {Shop} */ shop) {
  const campaign = /** @type {import('./lib/catalogue.js').Campaign} */ (shop.campaigns[0]);
  const turn = exec.scenario.iterationInTest;
  const user = userOf(shop, turn);
  // With RATE somebody may come a second time.
  const mayRefuse = turn < BUYERS ? [] : ['coupon_already_issued'];
  const first = claim({ user, campaign, key: `${shop.run}-${turn}`, mayRefuse });
  if (first.is !== 'accepted') {
    return;
  }
  if (Math.random() < REPEATS) {
    repeat(first);
  }
  if (Math.random() < WANTS_MORE) {
    const more = claim({ user, campaign, key: `${shop.run}-${turn}-more`, mayRefuse: ['coupon_already_issued'] });
    expect('nobody is given a coupon twice', more.is !== 'accepted', () => more.body);
  }
}

export function teardown(/** @type {Shop} */ shop) {
  closeShop(shop);
}

export const handleSummary = reporting('coupon_rush', { STOCK, BUYERS, VUS }, { sellsOut: true });
