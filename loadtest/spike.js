// A calm, a spike, a calm. In the spike the engine may send buyers away with 503 and Retry-After, and they give up
// soon; those it lets in are served right, nothing is lost or sold twice, and afterwards it is well again.

import { closeShop } from './lib/books.js';
import { openShop } from './lib/catalogue.js';
import { SHOWN, thresholds } from './lib/counts.js';
import { BROWSING, BUYING, browse, buyNow, oneOf } from './lib/journeys.js';
import { reporting } from './lib/report.js';
import { GRACEFUL_STOP, OPTIONS, P95_MS, P99_MS, integer, seconds, span } from './lib/settings.js';

/** @typedef {import('./lib/catalogue.js').Shop} Shop */

const STOCK = integer('STOCK', 1_000_000);
/** Iterations each second: in the calm, and in the spike. */
const RATE = integer('RATE', 50);
const PEAK = integer('PEAK', 20 * RATE);
/** Buyers at once in the spike. */
const VUS = integer('VUS', 500);
const DURATION_SECONDS = seconds('DURATION', 20);
const CALM_SECONDS = seconds('CALM', 20);
/** Time that the engine has to be well again. */
const RECOVERY_SECONDS = seconds('RECOVERY', 5);

/** How long a buyer tries in a rush. */
const IMPATIENT_SECONDS = 3;

/**
 * @param {number} rate
 * @param {number} vus
 * @param {number} startSeconds
 * @param {number} durationSeconds
 * @returns {import('k6/options').Scenario}
 */
function phase(rate, vus, startSeconds, durationSeconds) {
  return {
    executor: 'constant-arrival-rate',
    rate,
    startTime: `${Math.ceil(startSeconds)}s`,
    duration: span(durationSeconds),
    preAllocatedVUs: vus,
    gracefulStop: GRACEFUL_STOP,
  };
}

const CALM_VUS = Math.max(20, RATE);

/** @type {import('k6/options').Options} */
export const options = {
  ...OPTIONS,
  scenarios: {
    before: phase(RATE, CALM_VUS, 0, CALM_SECONDS),
    spike: phase(PEAK, VUS, CALM_SECONDS, DURATION_SECONDS),
    after: phase(RATE, CALM_VUS, CALM_SECONDS + DURATION_SECONDS + RECOVERY_SECONDS, CALM_SECONDS),
  },
  thresholds: thresholds({
    books: ['units', 'money'],
    requests: [...BROWSING, ...BUYING],
    boundsLatency: false,
    more: {
      'http_req_duration{scenario:before}': [`p(95)<${P95_MS}`, `p(99)<${P99_MS}`],
      'http_req_duration{scenario:spike}': [SHOWN],
      'http_req_duration{scenario:after}': [`p(95)<${P95_MS}`, `p(99)<${P99_MS}`],
      'shed{scenario:before}': ['count==0'],
      'shed{scenario:after}': ['count==0'],
    },
  }),
};

export function setup() {
  return openShop({
    users: VUS + 2 * CALM_VUS,
    wallet: 1_000_000,
    products: [{ price: 100, stock: STOCK }],
  });
}

export default function visit(/** @type {Shop} */ shop) {
  oneOf([
    [70, () => buyNow(shop, IMPATIENT_SECONDS)],
    [30, () => browse(shop)],
  ]);
}

export function teardown(/** @type {Shop} */ shop) {
  closeShop(shop);
}

export const handleSummary = reporting('spike', { RATE, PEAK, VUS, STOCK });
