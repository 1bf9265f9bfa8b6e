// What a run sells, and to whom: made anew for each run, under ids that no other run has.

import http from 'k6/http';
import { sleep } from 'k6';
import { change, sendAll } from './api.js';
import { BASE_URL, PATIENCE_SECONDS, TIMEOUT_SECONDS } from './settings.js';

/**
 * @typedef {object} Product
 * @property {number} id
 * @property {number} price
 * @property {number} stock  at the start
 * @property {number} [limitPerUser]
 */

/**
 * @typedef {object} Campaign
 * @property {number} id
 * @property {number} quantity
 * @property {number} percent
 */

/**
 * What setup() hands to everybody.
 *
 * @typedef {object} Shop
 * @property {string} run  part of every key
 * @property {number} first  the lowest id of its users; product and campaign ids begin there, too
 * @property {number} users
 * @property {number} wallet  what each user had at the start; 0: they do not exist before they come
 * @property {Product[]} products
 * @property {Campaign[]} campaigns
 */

/**
 * Opens a shop.
 *
 * @param {object} wanted
 * @param {number} wanted.users
 * @param {number} [wanted.wallet]
 * @param {Array<Omit<Product, 'id'>>} [wanted.products]
 * @param {Array<Omit<Campaign, 'id'>>} [wanted.campaigns]
 * @returns {Shop}
 */
export function openShop({ users, wallet = 0, products = [], campaigns = [] }) {
  waitUntilReady();
  const first = freshId();
  const run = `load-${first.toString(36)}`;
  const shop = {
    run,
    first,
    users,
    wallet,
    products: products.map((it, index) => ({ ...it, id: first + index })),
    campaigns: campaigns.map((it, index) => ({ ...it, id: first + index })),
  };
  shop.products.forEach((it, index) => put(`/admin/products/${it.id}`, 'product_set', {
    name: `Load test ${run} ${index + 1}`,
    price: it.price,
    stock: it.stock,
    ...(it.limitPerUser ? { limitPerUser: it.limitPerUser } : {}),
  }));
  const [now, day] = [Date.now(), 86_400_000];
  shop.campaigns.forEach((it, index) => put(`/admin/coupons/${it.id}`, 'coupon_set', {
    name: `Load test ${run} ${index + 1}`,
    discount: { kind: 'percent', value: it.percent },
    quantity: it.quantity,
    startsAt: new Date(now - day).toISOString(),
    // Campaigns cannot be deleted: this one is over, and forgotten, by itself.
    endsAt: new Date(now + 2 * day).toISOString(),
  }));
  if (wallet > 0) {
    fillWallets(shop);
  }
  return shop;
}

/**
 * @param {Shop} shop
 * @param {number} index  of any size: users are taken in turn
 * @returns {number} a user's id
 */
export function userOf(shop, index) {
  return shop.first + (index % shop.users);
}

/**
 * Ends the setup where an answer is not as it must be: there is nothing to test then.
 *
 * @param {import('./api.js').Answer} answer
 * @param {number[]} statuses
 * @param {string} what
 */
function must(answer, statuses, what) {
  if (statuses.includes(answer.status)) {
    return;
  }
  const hint = answer.status === 401 || answer.status === 403 ? ': TOKEN must be a token of scope admin' : '';
  throw new Error(`${what} was answered ${answer.status} ${answer.text.slice(0, 300)}${hint}`);
}

/**
 * @param {string} path
 * @param {string} name
 * @param {object} body
 */
function put(path, name, body) {
  must(change({ method: 'PUT', path, name, body, by: 'run' }), [200, 201], `PUT ${path}`);
}

/** @param {Shop} shop */
function fillWallets({ run, first, users, wallet }) {
  /** @type {import('./api.js').Request[]} */
  const charges = [];
  for (let user = first; user < first + users; user += 1) {
    charges.push({
      method: 'POST',
      path: '/balance/charge',
      name: 'balance_charge',
      body: { userId: user, amount: wallet },
      key: `${run}-wallet`,
      by: 'run',
    });
  }
  sendAll(charges).forEach((it) => must(it, [200], 'POST /balance/charge'));
}

function waitUntilReady() {
  const until = Date.now() + PATIENCE_SECONDS * 1000;
  for (;;) {
    const response = http.get(`${BASE_URL}/readyz`, {
      tags: { name: 'readyz', by: 'run' },
      timeout: TIMEOUT_SECONDS * 1000,
      responseCallback: http.expectedStatuses(200, 503),
    });
    if (response.status === 200) {
      return;
    }
    if (response.status === 0) {
      throw new Error(`nothing answers on ${BASE_URL} (${response.error}); start an engine: make run`);
    }
    if (Date.now() >= until) {
      throw new Error(`the engine on ${BASE_URL} is not ready: ${response.status} ${String(response.body)}`);
    }
    sleep(1);
  }
}

/** @returns {number} so high that nobody's catalogue is there, and with room for a run's users above it */
function freshId() {
  return 2 ** 40 + Math.floor(Math.random() * 2 ** 52);
}
