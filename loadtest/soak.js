// All that buyers do, for hours, at a steady rate. Every WATCH an audit must be clean, and no event be lost or dead;
// backlog and lag are noted, so that what grows is seen.

import { closeShop, audit, lostEvents, watchCells } from './lib/books.js';
import { openShop } from './lib/catalogue.js';
import { SHOWN, thresholds } from './lib/counts.js';
import {
  BROWSING, BUYING, PAYING_LATER, browse, buyNow, claimCoupon, oneOf, orderThenPay, pause,
} from './lib/journeys.js';
import { reporting } from './lib/report.js';
import { GRACEFUL_STOP, OPTIONS, integer, seconds, span, steady } from './lib/settings.js';

/** @typedef {import('./lib/catalogue.js').Shop & { lost: number }} Shop */

const STOCK = integer('STOCK', 1_000_000);
const PRODUCTS = integer('PRODUCTS', 20);
const VUS = integer('VUS', 100);
const RATE = integer('RATE', 50);
const DURATION_SECONDS = seconds('DURATION', 3600);
const WATCH_SECONDS = seconds('WATCH', 60);

/** Units of one more product, which is to sell out. */
const FEW = 1000;

/** @type {import('k6/options').Options} */
export const options = {
  ...OPTIONS,
  scenarios: {
    visits: steady(VUS, DURATION_SECONDS, RATE),
    watch: {
      executor: 'constant-arrival-rate',
      rate: 1,
      timeUnit: span(WATCH_SECONDS),
      duration: span(DURATION_SECONDS),
      preAllocatedVUs: 1,
      exec: 'watch',
      gracefulStop: GRACEFUL_STOP,
    },
  },
  thresholds: thresholds({
    books: ['units', 'claims', 'money'],
    requests: [...BROWSING, ...BUYING, ...PAYING_LATER, 'coupon_issue'],
    more: { 'http_req_duration{name:audit}': [SHOWN], backlog_events: [SHOWN], persist_lag_ms: [SHOWN] },
  }),
};

export function setup() {
  // One more than there are buyers: the one who watches has a number, too.
  const users = VUS + 1;
  const shop = openShop({
    users,
    wallet: 1_000_000,
    products: [
      ...Array.from({ length: PRODUCTS }, (_, index) => ({ price: 900 + 100 * index, stock: STOCK })),
      { price: 100, stock: FEW },
    ],
    campaigns: [{ quantity: users, percent: 10 }],
  });
  return { ...shop, lost: lostEvents() };
}

export default function visit(/** @type {Shop} */ shop) {
  oneOf([
    [60, () => browse(shop)],
    [24, () => buyNow(shop)],
    [15, () => orderThenPay(shop)],
    [1, () => claimCoupon(shop)],
  ]);
  pause();
}

export function watch(/** @type {Shop} */ shop) {
  watchCells(shop.lost);
  audit();
}

export function teardown(/** @type {Shop} */ shop) {
  watchCells(shop.lost);
  closeShop(shop, { leavesPending: true });
}

export const handleSummary = reporting('soak', { RATE, VUS, PRODUCTS, STOCK, seconds: DURATION_SECONDS });
