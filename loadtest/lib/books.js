// What the engine holds after a run, compared with what the run's buyers were told.

import { sleep } from 'k6';
import { change, read, readAll, sendAll } from './api.js';
import {
  auditDifferences, backlogEvents, claimsUnaccounted, couponsGiven, couponsLeft, couponsOfUsers, expect,
  moneyUnaccounted, persistLag, soldByOrders, soldByStock, stockLeft, unitsUnaccounted,
} from './counts.js';
import { unitsOf } from './buyer.js';
import { AUDITS, PATIENCE_SECONDS, text } from './settings.js';

/** @typedef {import('./catalogue.js').Shop} Shop */

/** Longest time of an audit, which reads everything. */
const AUDIT_SECONDS = 1800;

/** How often a ranking is read: by the contract it may be 100 ms old, and MySQL follows some milliseconds later. */
const RANKING_READS = 20;

/**
 * Closes a shop: compares, audits, and takes its products off the list.
 *
 * @param {Shop} shop
 * @param {object} [what]
 * @param {boolean} [what.leavesPending]  whether buyers left orders unpaid
 */
export function closeShop(shop, { leavesPending = false } = {}) {
  if (leavesPending) {
    cancelPending(shop);
  }
  waitForMysql();
  // Lists of products and campaigns may be 100 ms old.
  sleep(0.25);
  if (shop.products.length > 0) {
    compareUnits(shop);
  }
  if (shop.campaigns.length > 0) {
    compareCoupons(shop);
  }
  if (shop.wallet > 0) {
    const answers = readAll(usersOf(shop).map((user) => `/users/${user}/balance`), 'balance_get').map(answered);
    moneyUnaccounted.add(sum(answers.map((it) => Number(it.body?.balance))) - shop.users * shop.wallet);
  }
  if (AUDITS) {
    audit();
  }
  if (text('KEEP', '0') === '0') {
    const name = 'product_delete';
    sendAll(shop.products.map((it) => ({ method: 'DELETE', path: `/admin/products/${it.id}`, name, by: 'run' })));
  }
}

/**
 * Ends the teardown where the engine does not answer any more: then nothing can be compared, and the run has failed,
 * because its counters do not come to 0.
 *
 * @param {import('./api.js').Answer} answer
 * @returns {import('./api.js').Answer} the same
 */
function answered(answer) {
  if (answer.gaveUp) {
    throw new Error(`nothing can be compared: the engine answers ${answer.status} ${answer.text.slice(0, 200)}`);
  }
  return answer;
}

/** Compares Redis, MySQL and the outbox, of everything that the engine has. */
export function audit() {
  const timeoutSeconds = AUDIT_SECONDS;
  const answer = change({ method: 'POST', path: '/admin/audit', name: 'audit', by: 'run', timeoutSeconds });
  const { clean, differences = [] } = answer.body ?? {};
  auditDifferences.add(answer.status === 200 ? differences.length : -1);
  expect('the audit is clean', answer.status === 200 && clean === true, () => answer.text.slice(0, 1000));
}

/** @returns {any[]} what the engine says of its cells */
function cellsNow() {
  return answered(read('/admin/overview', 'overview', { by: 'run' })).body?.cells ?? [];
}

/** @returns {number} acknowledged events that were ever lost */
export function lostEvents() {
  return sum(cellsNow().map((it) => it.lostEvents ?? 0));
}

/**
 * Looks at what the engine says of itself while it sells.
 *
 * @param {number} lost  events that were lost before
 */
export function watchCells(lost) {
  for (const cell of cellsNow()) {
    const { lostEvents: lostNow = 0, deadEvents = 0, backlogEvents: backlog, lagMs } = cell;
    expect('no event is lost', lostNow <= lost, () => cell);
    expect('no event is dead', deadEvents === 0, () => cell);
    if (backlog !== undefined) {
      backlogEvents.add(backlog);
    }
    if (lagMs !== undefined) {
      persistLag.add(lagMs);
    }
  }
}

/** @param {Shop} shop */
function compareUnits(shop) {
  const products = readAll(shop.products.map((it) => `/products/${it.id}`), 'product_get').map(answered);
  /** @type {Map<number, number>} units that were sold, by the stock */
  const sold = new Map();
  let left = 0;
  shop.products.forEach(({ id, stock }, index) => {
    const now = products[index]?.body?.stock;
    expect('never more is sold than there was', now >= 0 && now <= stock, () => ({ id, stock, now }));
    sold.set(id, stock - now);
    left += now;
  });
  const allSold = sum(sold.values());
  stockLeft.add(left);
  soldByStock.add(allSold);
  unitsUnaccounted.add(-allSold);
  compareOrders(shop, sold);
  compareRanking(sold, 'ranking');
  compareRanking(sold, 'orders');
}

/**
 * By the rows of MySQL: what the run's users have paid, and not got back, is what the stock lost.
 *
 * @param {Shop} shop
 * @param {Map<number, number>} sold
 */
function compareOrders(shop, sold) {
  /** @type {Map<number, number>} */
  const paid = new Map();
  const limit = shop.products.find((it) => it.limitPerUser)?.limitPerUser;
  for (const orders of listsOf(shop, 'orders?status=paid&limit=200')) {
    orders.forEach((order) => order.items.forEach((/** @type {any} */ item) => {
      paid.set(item.productId, (paid.get(item.productId) ?? 0) + item.quantity);
    }));
    const units = orders.reduce((all, it) => all + unitsOf(it), 0);
    expect('nobody has more than the limit', limit === undefined || units <= limit, () => orders);
  }
  soldByOrders.add(sum(paid.values()));
  for (const [id, units] of sold) {
    const rows = paid.get(id) ?? 0;
    expect('the paid orders are what the stock lost', rows === units, () => ({ id, rows, units }));
  }
}

/**
 * The places of the run's products, as far as they are among the first hundred.
 *
 * @param {Map<number, number>} sold
 * @param {'ranking' | 'orders'} source
 */
function compareRanking(sold, source) {
  const differing = () => {
    const { body } = answered(read(`/products/top?limit=100&source=${source}`, 'ranking_top', { by: 'run' }));
    const top = Array.isArray(body) ? body : [];
    const ranked = new Map(top.map((/** @type {any} */ it) => [it.id, it.sold]));
    const least = top.length < 100 ? 0 : top[99].sold;
    return [...sold].filter(([id, units]) => (ranked.get(id) ?? Math.min(units, least)) !== units);
  };
  let wrong = differing();
  for (let reads = 1; wrong.length > 0 && reads < RANKING_READS; reads += 1) {
    sleep(0.25);
    wrong = differing();
  }
  expect(`the ranking (source=${source}) counts what the stock lost`, wrong.length === 0, () => wrong.slice(0, 5));
}

/** @param {Shop} shop */
function compareCoupons(shop) {
  /** @type {Map<number, any>} */
  const now = new Map();
  for (const entry of listOf(`/coupons?limit=200`)) {
    now.set(entry.couponId, entry);
  }
  let [left, given] = [0, 0];
  for (const { id, quantity } of shop.campaigns) {
    const remaining = now.get(id)?.remaining;
    const isRight = remaining >= 0 && remaining <= quantity;
    expect('never more coupons are given than there were', isRight, () => ({ id, quantity, remaining }));
    left += remaining;
    given += quantity - remaining;
  }
  couponsLeft.add(left);
  couponsGiven.add(given);
  claimsUnaccounted.add(-given);
  let held = 0;
  for (const coupons of listsOf(shop, 'coupons?limit=200')) {
    const ids = coupons.map((it) => it.couponId);
    expect('nobody has a coupon twice', new Set(ids).size === ids.length, () => ids);
    held += ids.length;
  }
  couponsOfUsers.add(held);
  expect('the coupons that users have are those that were given', held === given, () => ({ held, given }));
}

/**
 * Cancels what was left unpaid, until nothing is: what has expired meanwhile went back by itself.
 *
 * @param {Shop} shop
 */
function cancelPending(shop) {
  const until = Date.now() + PATIENCE_SECONDS * 1000;
  for (;;) {
    waitForMysql();
    const pending = listsOf(shop, 'orders?status=pending&limit=200').flat();
    if (pending.length === 0 || Date.now() >= until) {
      expect('unpaid orders can be cancelled, or expire', pending.length === 0, () => pending.slice(0, 5));
      return;
    }
    sendAll(pending.map(({ orderId }) => ({
      method: 'POST',
      path: `/orders/${orderId}/cancel`,
      name: 'order_cancel',
      key: `${shop.run}-cancel-${orderId}`,
      by: 'run',
    })));
  }
}

/** Waits until MySQL has all that Redis has. On an engine that others use, too, it waits in vain, and goes on. */
function waitForMysql() {
  const until = Date.now() + PATIENCE_SECONDS * 1000;
  for (;;) {
    if (cellsNow().every((it) => it.backlogEvents === 0) || Date.now() >= until) {
      return;
    }
    sleep(0.5);
  }
}

/**
 * @param {Shop} shop
 * @returns {number[]}
 */
function usersOf({ first, users }) {
  return Array.from({ length: users }, (_, index) => first + index);
}

/**
 * A list of each user, whole. A user who never came has none.
 *
 * @param {Shop} shop
 * @param {string} what  such as `orders?limit=200`
 * @returns {any[][]}
 */
function listsOf(shop, what) {
  const name = `${what.replace(/\?.*/, '')}_of_user`;
  const lists = usersOf(shop).map((user) => ({
    path: `/users/${user}/${what}`,
    next: '',
    entries: /** @type {any[]} */ ([]),
  }));
  for (let open = lists; open.length > 0; open = open.filter((it) => it.next !== '')) {
    const answers = readAll(open.map((it) => it.path + it.next), name).map(answered);
    open.forEach((list, index) => {
      const answer = answers[index];
      const isList = Array.isArray(answer?.body);
      expect('lists of users can be read', isList || answer?.code === 'user_not_found', () => answer?.text);
      list.entries.push(...(isList ? answer?.body : []));
      list.next = nextOf(answer);
    });
  }
  return lists.map((it) => it.entries);
}

/**
 * A whole list.
 *
 * @param {string} path  with a query
 * @returns {any[]}
 */
function listOf(path) {
  const entries = [];
  for (let next = '', page = 0; page === 0 || next !== ''; page += 1) {
    const answer = answered(read(path + next, 'coupon_list', { by: 'run' }));
    if (!expect('lists can be read', Array.isArray(answer.body), () => answer.text)) {
      break;
    }
    entries.push(...answer.body);
    next = nextOf(answer);
  }
  return entries;
}

/**
 * What to add to a list's path for its next page; '' where there is none.
 *
 * @param {import('./api.js').Answer | undefined} answer
 * @returns {string}
 */
export function nextOf(answer) {
  const link = /<[^>]*[?&](cursor=[^&>]+)[^>]*>;\s*rel="next"/.exec(answer?.headers['Link'] ?? '');
  return link ? `&${link[1]}` : '';
}

/**
 * @param {Iterable<number>} numbers
 * @returns {number}
 */
function sum(numbers) {
  return [...numbers].reduce((all, it) => all + it, 0);
}
