// What buyers do in a shop that is open all day. Each virtual user is one buyer, so that nobody else changes what they
// have.

import { sleep } from 'k6';
import exec from 'k6/execution';
import { read } from './api.js';
import { nextOf } from './books.js';
import { charge, claim, end, lookUp, pay, payOnceMore, place, repeat } from './buyer.js';
import { userOf } from './catalogue.js';
import { expect } from './counts.js';
import { seconds } from './settings.js';

/** @typedef {import('./catalogue.js').Shop} Shop */
/** @typedef {import('./catalogue.js').Product} Product */

/** Names of the requests of these journeys. */
export const BROWSING = [
  'product_list', 'product_get', 'stock_check', 'ranking_top', 'coupon_list', 'balance_get', 'orders_of_user',
];
export const BUYING = ['order_place', 'order_get', 'balance_charge'];
export const PAYING_LATER = ['order_pay', 'order_cancel', 'order_refund'];

/** What a buyer puts into their wallet when it is empty. */
const TOP_UP = 1_000_000;

const PAGE = 50;

/** Longest pause of a buyer between two things that they do, in seconds; half of it on average. */
const PAUSE_SECONDS = seconds('PAUSE', 0);

/** Share of successes that are asked for again under their key. */
const REPEATS = 0.05;

let keys = 0;

/**
 * @param {Shop} shop
 * @returns {number} this virtual user's buyer
 */
function buyerOf(shop) {
  return userOf(shop, exec.vu.idInTest - 1);
}

/**
 * @param {Shop} shop
 * @returns {string} a key that nobody else has
 */
function newKey({ run }) {
  keys += 1;
  return `${run}-${exec.vu.idInTest}-${keys}`;
}

/**
 * Does one of several things.
 *
 * @param {Array<[number, () => void]>} choices  each with its weight
 */
export function oneOf(choices) {
  let at = Math.random() * choices.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, act] of choices) {
    at -= weight;
    if (at < 0) {
      act();
      return;
    }
  }
}

/** Waits a moment, where the run was told to. */
export function pause() {
  if (PAUSE_SECONDS > 0) {
    sleep(Math.random() * PAUSE_SECONDS);
  }
}

/**
 * @param {Shop} shop
 * @returns {Product}
 */
function someProduct({ products }) {
  return /** @type {Product} */ (products[Math.floor(Math.random() * products.length)]);
}

/** @returns {number} */
function fewUnits() {
  return 1 + Math.floor(Math.random() * 3);
}

/**
 * Looks around, one request or two.
 *
 * @param {Shop} shop
 */
export function browse(shop) {
  oneOf([
    [25, () => lookAtProducts()],
    [30, () => lookAtProduct(shop)],
    [15, () => checkStock(shop)],
    [10, () => lookAtRanking()],
    [8, () => lookAtList('/coupons?limit=50', 'coupon_list')],
    [6, () => lookAtBalance(shop)],
    [6, () => lookAtOrders(shop)],
  ]);
}

/**
 * Buys and pays at once.
 *
 * @param {Shop} shop
 * @param {number} [patienceSeconds]
 */
export function buyNow(shop, patienceSeconds) {
  const [user, product] = [buyerOf(shop), someProduct(shop)];
  const placing = { user, product, quantity: fewUnits(), mayRefuse: ['insufficient_balance'], patienceSeconds };
  const placed = place({ ...placing, key: newKey(shop) });
  if (placed.code === 'insufficient_balance') {
    charge(user, TOP_UP, newKey(shop));
  }
  if (placed.is === 'accepted') {
    if (Math.random() < REPEATS) {
      repeat(placed);
    }
    if (Math.random() < REPEATS) {
      lookUp(placed.body, 'paid');
    }
  }
}

/** Coupons that this virtual user has claimed, less those in orders. */
let coupons = 0;
let hasClaimed = false;

/**
 * Claims a coupon; a buyer who has had one is told so.
 *
 * @param {Shop} shop
 */
export function claimCoupon(shop) {
  const campaign = /** @type {import('./catalogue.js').Campaign} */ (shop.campaigns[0]);
  const mayRefuse = hasClaimed ? ['coupon_already_issued'] : [];
  const claimed = claim({ user: buyerOf(shop), campaign, key: newKey(shop), mayRefuse });
  if (claimed.is === 'accepted') {
    expect('nobody is given a coupon twice', !hasClaimed, () => claimed.body);
    hasClaimed = true;
    coupons += 1;
  } else if (claimed.is === 'none') {
    // It may have been given.
    hasClaimed = true;
  }
}

/**
 * Orders, and then pays, or cancels, or goes away. Some pay twice, some want their money back.
 *
 * @param {Shop} shop
 */
export function orderThenPay(shop) {
  const user = buyerOf(shop);
  // An order that is paid with the coupon uses it up; one that is cancelled or refunded gives it back.
  const campaign = coupons > 0 && Math.random() < 0.5 ? shop.campaigns[0] : undefined;
  const placed = place({
    user,
    product: someProduct(shop),
    quantity: fewUnits(),
    key: newKey(shop),
    payment: 'later',
    ...(campaign ? { campaign } : {}),
  });
  if (placed.is !== 'accepted') {
    // Where nobody knows what came of it, the coupon may be held.
    coupons = placed.is === 'none' && campaign ? 0 : coupons;
    return;
  }
  const order = placed.body;
  coupons -= campaign ? 1 : 0;
  const back = () => { coupons += campaign ? 1 : 0; };
  if (Math.random() < REPEATS) {
    repeat(placed);
  }
  oneOf([
    [65, () => payFor(shop, order, back)],
    [20, () => cancel(shop, order, back)],
    // Goes away: the stock comes back when the order expires, or when the run ends.
    [15, () => lookUp(order, 'pending')],
  ]);
}

/**
 * @param {Shop} shop
 * @param {any} order
 * @param {() => void} back  what happens where the coupon comes back
 */
function payFor(shop, order, back) {
  let paid = pay(order, newKey(shop), ['insufficient_balance']);
  if (paid.code === 'insufficient_balance') {
    lookUp(order, 'pending');
    charge(order.userId, TOP_UP, newKey(shop));
    paid = pay(order, newKey(shop));
  }
  if (paid.is !== 'accepted') {
    return;
  }
  oneOf([
    [10, () => repeat(paid)],
    [10, () => payOnceMore(paid.body, newKey(shop))],
    [5, () => {
      const cancelled = end(paid.body, 'cancel', newKey(shop), ['order_not_cancellable']);
      mustRefuse(cancelled, 'a paid order is not cancelled');
    }],
    [10, () => refund(shop, paid.body, back)],
    [10, () => lookUp(order, 'paid')],
    [55, () => {}],
  ]);
}

/**
 * @param {Shop} shop
 * @param {any} order
 * @param {() => void} back
 */
function refund(shop, order, back) {
  const refunded = end(order, 'refund', newKey(shop));
  if (refunded.is === 'accepted') {
    back();
    lookUp(order, 'refunded');
    mustRefuse(end(order, 'refund', newKey(shop), ['order_not_refundable']), 'no order is refunded twice');
  }
}

/**
 * @param {Shop} shop
 * @param {any} order
 * @param {() => void} back
 */
function cancel(shop, order, back) {
  const cancelled = end(order, 'cancel', newKey(shop));
  if (cancelled.is === 'accepted') {
    back();
    lookUp(order, 'cancelled');
    mustRefuse(pay(order, newKey(shop), ['order_not_payable']), 'a cancelled order is not paid');
  }
}

/**
 * @param {import('./buyer.js').Outcome} outcome
 * @param {string} rule
 */
function mustRefuse(outcome, rule) {
  expect(rule, outcome.is !== 'accepted', () => outcome.body);
}

/**
 * The tags of the answers that this virtual user has, by path.
 *
 * @type {Map<string, string>}
 */
const tags = new Map();

/**
 * Reads a list as a browser does: what it has already is not sent again.
 *
 * @param {string} path
 * @param {string} name
 * @returns {import('./api.js').Answer | undefined} one with a list
 */
function lookAtList(path, name) {
  const tag = tags.get(path);
  const answer = read(path, name, tag === undefined ? {} : { headers: { 'If-None-Match': tag } });
  if (answer.gaveUp) {
    return undefined;
  }
  if (answer.status === 304) {
    expect('304 is for what the reader has', answer.headers['Etag'] === tag, () => ({ tag, headers: answer.headers }));
    return undefined;
  }
  const isList = answer.status === 200 && Array.isArray(answer.body) && answer.body.length <= PAGE;
  expect('a list has at most a page', isList, () => answer.text.slice(0, 200));
  const etag = answer.headers['Etag'];
  if (expect('a list has an ETag', etag !== undefined) && etag !== undefined) {
    tags.set(path, etag);
  }
  return isList ? answer : undefined;
}

function lookAtProducts() {
  const path = `/products?limit=${PAGE}${Math.random() < 0.5 ? '&available=true' : ''}`;
  const answer = lookAtList(path, 'product_list');
  const next = nextOf(answer);
  if (next === '') {
    return;
  }
  const then = read(path + next, 'product_list');
  if (then.gaveUp) {
    return;
  }
  const last = answer?.body[answer.body.length - 1]?.id ?? 0;
  const isBehind = then.status === 200 && then.body.every((/** @type {any} */ it) => it.id > last);
  expect('a next page begins behind the last', isBehind, () => ({ last, next: then.text.slice(0, 200) }));
}

/** @param {Shop} shop */
function lookAtProduct(shop) {
  const { id, price, stock } = someProduct(shop);
  const answer = read(`/products/${id}`, 'product_get');
  if (!answer.gaveUp) {
    const now = answer.body ?? {};
    const isItself = answer.status === 200 && now.id === id && now.price === price;
    const isRight = isItself && now.stock >= 0 && now.stock <= stock;
    expect('a product has its price, and no more than its stock', isRight, () => answer.text);
  }
}

/** @param {Shop} shop */
function checkStock(shop) {
  const [{ id }, quantity] = [someProduct(shop), fewUnits()];
  const answer = read(`/products/${id}/stock-check?quantity=${quantity}`, 'stock_check');
  if (!answer.gaveUp) {
    const { productId, stock, available } = answer.body ?? {};
    const isRight = answer.status === 200 && productId === id && available === (stock >= quantity);
    expect('what is available is what there is enough of', isRight, () => answer.text);
  }
}

function lookAtRanking() {
  const answer = lookAtList('/products/top?limit=10', 'ranking_top');
  if (answer !== undefined) {
    const isSorted = answer.body.every((/** @type {any} */ it, /** @type {number} */ index) => {
      const before = answer.body[index - 1];
      return it.rank === index + 1
        && (before === undefined || before.sold > it.sold || (before.sold === it.sold && before.id < it.id));
    });
    expect('a ranking is in its order', isSorted, () => answer.text);
  }
}

/** @param {Shop} shop */
function lookAtBalance(shop) {
  const user = buyerOf(shop);
  const answer = read(`/users/${user}/balance`, 'balance_get');
  if (!answer.gaveUp) {
    const isRight = answer.status === 200 && answer.body?.userId === user && answer.body.balance >= 0;
    expect('a balance is never below zero', isRight, () => answer.text);
  }
}

/** @param {Shop} shop */
function lookAtOrders(shop) {
  const user = buyerOf(shop);
  const answer = read(`/users/${user}/orders?limit=10`, 'orders_of_user');
  if (!answer.gaveUp) {
    const isRight = answer.status === 200 && Array.isArray(answer.body)
      && answer.body.every((/** @type {any} */ it, /** @type {number} */ index) => (
        it.userId === user && (index === 0 || it.orderId < answer.body[index - 1].orderId)
      ));
    expect('orders of a user are theirs, newest first', isRight, () => answer.text.slice(0, 300));
  }
}
