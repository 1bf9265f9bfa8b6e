// Buyers who order first and pay then: some cancel, some go away, some want their money back, some use a coupon, some
// ask twice. Afterwards stock, orders, coupons and wallets hold what the buyers were told.

import { closeShop } from './lib/books.js';
import { openShop } from './lib/catalogue.js';
import { thresholds } from './lib/counts.js';
import { BUYING, PAYING_LATER, claimCoupon, oneOf, orderThenPay, pause } from './lib/journeys.js';
import { reporting } from './lib/report.js';
import { OPTIONS, integer, steady } from './lib/settings.js';

/** @typedef {import('./lib/catalogue.js').Shop} Shop */

const STOCK = integer('STOCK', 100_000);
const VUS = integer('VUS', 50);

/** @type {import('k6/options').Options} */
export const options = {
  ...OPTIONS,
  scenarios: { orders: steady(VUS, 60) },
  thresholds: thresholds({
    books: ['units', 'claims', 'money'],
    requests: [...BUYING, ...PAYING_LATER, 'coupon_issue'],
  }),
};

export function setup() {
  return openShop({
    users: VUS,
    wallet: 100_000,
    products: [{ price: 4990, stock: STOCK }],
    campaigns: [{ quantity: VUS, percent: 15 }],
  });
}

export default function shopOnce(/** @type {Shop} */ shop) {
  oneOf([
    [95, () => orderThenPay(shop)],
    [5, () => claimCoupon(shop)],
  ]);
  pause();
}

export function teardown(/** @type {Shop} */ shop) {
  closeShop(shop, { leavesPending: true });
}

export const handleSummary = reporting('order_then_pay', { STOCK, VUS });
