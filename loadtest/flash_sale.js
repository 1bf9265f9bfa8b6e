// A flash sale: few units, many buyers, all at once, each with a key. Whatever happens, as many units are sold as
// buyers were told they have, nobody gets more than the limit, and the wallets lost what the orders cost.

import exec from 'k6/execution';
import { closeShop } from './lib/books.js';
import { misuseKey, place, repeat } from './lib/buyer.js';
import { openShop, userOf } from './lib/catalogue.js';
import { expect, thresholds } from './lib/counts.js';
import { reporting } from './lib/report.js';
import { OPTIONS, integer, rush } from './lib/settings.js';

/** @typedef {import('./lib/catalogue.js').Shop} Shop */

const STOCK = integer('STOCK', 1000);
const BUYERS = integer('BUYERS', 10 * STOCK);
const VUS = integer('VUS', 200);
const PRICE = 10_000;

/** Shares of the winners: who send their order again, who use its key for another one, who want more than the limit. */
const REPEATS = 0.1;
const MISUSES = 0.02;
const WANTS_MORE = 0.1;

/** @type {import('k6/options').Options} */
export const options = {
  ...OPTIONS,
  scenarios: { sale: rush(BUYERS, VUS) },
  thresholds: thresholds({ books: ['units', 'money'], requests: ['order_place'] }),
};

export function setup() {
  return openShop({ users: BUYERS, wallet: 2 * PRICE, products: [{ price: PRICE, stock: STOCK, limitPerUser: 1 }] });
}

export default function buy(/** @type {Shop} */ shop) {
  const product = /** @type {import('./lib/catalogue.js').Product} */ (shop.products[0]);
  const turn = exec.scenario.iterationInTest;
  const user = userOf(shop, turn);
  // With RATE somebody may come a second time.
  const mayRefuse = turn < BUYERS ? [] : ['purchase_limit_exceeded'];
  const first = place({ user, product, quantity: 1, key: `${shop.run}-${turn}`, mayRefuse });
  if (first.is !== 'accepted') {
    return;
  }
  if (Math.random() < REPEATS) {
    repeat(first);
  }
  if (Math.random() < MISUSES) {
    misuseKey(first);
  }
  if (Math.random() < WANTS_MORE) {
    const more = place({
      user, product, quantity: 1, key: `${shop.run}-${turn}-more`, mayRefuse: ['purchase_limit_exceeded'],
    });
    expect('a limit per user holds', more.is !== 'accepted', () => more.body);
  }
}

export function teardown(/** @type {Shop} */ shop) {
  closeShop(shop);
}

export const handleSummary = reporting('flash_sale', { STOCK, BUYERS, VUS }, { sellsOut: true });
