// A shop on a usual day: most look around, in lists that they have already and lists that are new; a few buy or claim a
// coupon. Lists have their shape and order, and what is sold adds up.

import { closeShop } from './lib/books.js';
import { openShop } from './lib/catalogue.js';
import { thresholds } from './lib/counts.js';
import { BROWSING, BUYING, browse, buyNow, claimCoupon, oneOf, pause } from './lib/journeys.js';
import { reporting } from './lib/report.js';
import { OPTIONS, integer, steady } from './lib/settings.js';

/** @typedef {import('./lib/catalogue.js').Shop} Shop */

const PRODUCTS = integer('PRODUCTS', 200);
const STOCK = integer('STOCK', 1000);
const VUS = integer('VUS', 50);

/** @type {import('k6/options').Options} */
export const options = {
  ...OPTIONS,
  scenarios: { visits: steady(VUS, 60) },
  thresholds: thresholds({
    books: ['units', 'claims', 'money'],
    requests: [...BROWSING, ...BUYING, 'coupon_issue'],
  }),
};

export function setup() {
  return openShop({
    users: VUS,
    wallet: 100_000,
    products: Array.from({ length: PRODUCTS }, (_, index) => ({ price: 500 + 10 * index, stock: STOCK })),
    campaigns: [{ quantity: VUS, percent: 10 }],
  });
}

export default function visit(/** @type {Shop} */ shop) {
  oneOf([
    [89, () => browse(shop)],
    [10, () => buyNow(shop)],
    [1, () => claimCoupon(shop)],
  ]);
  pause();
}

export function teardown(/** @type {Shop} */ shop) {
  closeShop(shop);
}

export const handleSummary = reporting('browse_mix', { PRODUCTS, STOCK, VUS });
