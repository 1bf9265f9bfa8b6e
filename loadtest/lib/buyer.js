// What a buyer does, each with what it must come to. Whatever is told here is counted here.

import { change, read } from './api.js';
import {
  accepted, claimsUnaccounted, expect, moneyUnaccounted, refused, replayed, returned, sold, soldOut,
} from './counts.js';

/** @typedef {import('./api.js').Answer} Answer */

/**
 * @typedef {object} Placing
 * @property {number} user
 * @property {import('./catalogue.js').Product} product
 * @property {number} quantity
 * @property {string} key
 * @property {'now' | 'later'} [payment]
 * @property {import('./catalogue.js').Campaign} [campaign]  whose coupon this buyer has
 * @property {string[]} [mayRefuse]  codes, besides out_of_stock
 * @property {number} [patienceSeconds]
 */

/**
 * What came of a request: a success, a refusal that was counted, or nothing that is known or sure.
 *
 * @typedef {object} Outcome
 * @property {'accepted' | 'refused' | 'none'} is
 * @property {string} code  of a refusal
 * @property {any} body  of a success: the order, or the coupon
 * @property {Answer} answer
 * @property {import('./api.js').Request} request
 */

/**
 * Places an order, to be paid now or later.
 *
 * @param {Placing} placing
 * @returns {Outcome}
 */
export function place({ user, product, quantity, key, payment = 'now', campaign, mayRefuse = [], patienceSeconds }) {
  /** @type {import('./api.js').Request} */
  const request = {
    method: 'POST',
    path: '/orders',
    name: 'order_place',
    body: {
      userId: user,
      items: [{ productId: product.id, quantity }],
      payment,
      ...(campaign ? { couponId: campaign.id } : {}),
    },
    key,
    ...(patienceSeconds === undefined ? {} : { patienceSeconds }),
  };
  const outcome = outcomeOf(request, 201, ['out_of_stock', ...mayRefuse]);
  const { answer, body: order } = outcome;
  if (outcome.is === 'accepted') {
    const total = product.price * quantity;
    const discount = campaign ? Math.floor((total * campaign.percent) / 100) : 0;
    const item = order?.items?.[0];
    const isAsAsked = order?.userId === user && order.items.length === 1 && item.productId === product.id
      && item.quantity === quantity && item.unitPrice === product.price && order.couponId === campaign?.id
      && answer.headers['Location'] === `/orders/${order.orderId}`;
    expect('an order holds what was asked for', isAsAsked, () => order);
    const isPaid = payment === 'now';
    const costsRight = order?.total === total && order.discount === discount
      && order.status === (isPaid ? 'paid' : 'pending') && order.paid === (isPaid ? total - discount : 0);
    expect('an order costs what it must', costsRight, () => order);
    accepted.add(1, { what: 'order' });
    if (isPaid) {
      sold(quantity);
      moneyUnaccounted.add(total - discount);
    }
  }
  if (outcome.code === 'out_of_stock') {
    const { productId, remaining } = answer.body;
    const isShort = productId === product.id && remaining < quantity;
    expect('sold out means that too little is left', isShort, () => answer.body);
  }
  return outcome;
}

/**
 * Claims a coupon; a user who does not exist is made.
 *
 * @param {object} claiming
 * @param {number} claiming.user
 * @param {import('./catalogue.js').Campaign} claiming.campaign
 * @param {string} claiming.key
 * @param {string[]} [claiming.mayRefuse]  codes, besides coupon_sold_out
 * @returns {Outcome}
 */
export function claim({ user, campaign, key, mayRefuse = [] }) {
  const path = `/coupons/${campaign.id}/issue`;
  const request = { method: 'POST', path, name: 'coupon_issue', body: { userId: user }, key };
  const outcome = outcomeOf(request, 201, ['coupon_sold_out', ...mayRefuse]);
  if (outcome.is === 'accepted') {
    const { couponId, userId, status } = outcome.body ?? {};
    const isAsAsked = couponId === campaign.id && userId === user && status === 'issued';
    expect('a coupon is the one that was asked for', isAsAsked, () => outcome.body);
    accepted.add(1, { what: 'claim' });
    claimsUnaccounted.add(1);
  }
  return outcome;
}

/**
 * Pays for a pending order that this run placed and has not paid.
 *
 * @param {any} order
 * @param {string} key
 * @param {string[]} [mayRefuse]
 * @returns {Outcome}
 */
export function pay(order, key, mayRefuse = []) {
  const body = { orderId: order.orderId };
  const outcome = outcomeOf({ method: 'POST', path: '/payments', name: 'order_pay', body, key }, 200, mayRefuse);
  if (outcome.is === 'accepted') {
    const { orderId, status, paid } = outcome.body ?? {};
    const isRight = orderId === order.orderId && status === 'paid' && paid === order.total - order.discount;
    expect('a payment pays the whole order', isRight, () => outcome.body);
    sold(unitsOf(order));
    moneyUnaccounted.add(order.total - order.discount);
  }
  return outcome;
}

/**
 * Asks for the payment of a paid order once more, under another key: the first payment is told, and no money moves, as
 * the wallets show.
 *
 * @param {any} order  as it was answered when it was paid
 * @param {string} key
 */
export function payOnceMore(order, key) {
  const body = { orderId: order.orderId };
  const outcome = outcomeOf({ method: 'POST', path: '/payments', name: 'order_pay', body, key }, 200, []);
  if (outcome.is === 'accepted') {
    const { orderId, status, paid, paidAt } = outcome.body ?? {};
    const isFirst = orderId === order.orderId && status === 'paid' && paid === order.paid && paidAt === order.paidAt;
    expect('a second payment tells of the first', isFirst, () => outcome.body);
  }
}

/**
 * Ends an order: a pending one by `cancel`, a paid one by `refund`.
 *
 * @param {any} order
 * @param {'cancel' | 'refund'} how
 * @param {string} key
 * @param {string[]} [mayRefuse]
 * @returns {Outcome}
 */
export function end(order, how, key, mayRefuse = []) {
  const path = `/orders/${order.orderId}/${how}`;
  const outcome = outcomeOf({ method: 'POST', path, name: `order_${how}`, key }, 200, mayRefuse);
  if (outcome.is === 'accepted') {
    const wanted = how === 'cancel' ? 'cancelled' : 'refunded';
    expect(`an order that was ${wanted} says so`, outcome.body?.status === wanted, () => outcome.body);
    if (how === 'refund') {
      returned(unitsOf(order));
      moneyUnaccounted.add(-order.paid);
    }
  }
  return outcome;
}

/**
 * Puts money into a wallet.
 *
 * @param {number} user
 * @param {number} amount
 * @param {string} key
 */
export function charge(user, amount, key) {
  const body = { userId: user, amount };
  const outcome = outcomeOf({ method: 'POST', path: '/balance/charge', name: 'balance_charge', body, key }, 200, []);
  if (outcome.is === 'accepted') {
    moneyUnaccounted.add(-amount);
  }
}

/**
 * Looks an order up: one order is exact, at once.
 *
 * @param {any} order
 * @param {string} status  that it must have
 */
export function lookUp(order, status) {
  const answer = read(`/orders/${order.orderId}`, 'order_get');
  if (!answer.gaveUp) {
    const isRight = answer.status === 200 && answer.body?.status === status && answer.body.total === order.total;
    expect('an order reads as it was left', isRight, () => ({ status, read: answer.text.slice(0, 300) }));
  }
}

/**
 * Sends a request that was accepted once more, under the same key: the first answer comes back, and nothing is done
 * twice.
 *
 * @param {Outcome} first
 */
export function repeat(first) {
  const answer = change(first.request);
  if (!answer.gaveUp) {
    const isSame = answer.status === first.answer.status && answer.text === first.answer.text
      && answer.headers['Idempotency-Replayed'] === 'true';
    const seen = () => ({ first: first.answer.text, then: answer.text, status: answer.status });
    if (expect('a repeated request has its first answer', isSame, seen)) {
      replayed.add(1);
    }
  }
}

/**
 * Uses the key of an order for another one.
 *
 * @param {Outcome} first
 */
export function misuseKey(first) {
  const [item] = first.request.body.items;
  const body = { ...first.request.body, items: [{ ...item, quantity: item.quantity + 1 }] };
  const answer = change({ ...first.request, body });
  if (!answer.gaveUp) {
    expect('a key is for one request', answer.code === 'idempotency_key_reused', () => answer.text);
  }
}

/**
 * Sends a change and counts what it came to.
 *
 * @param {import('./api.js').Request} request
 * @param {number} success  the status of one
 * @param {string[]} mayRefuse  codes that are right here
 * @returns {Outcome}
 */
function outcomeOf(request, success, mayRefuse) {
  const answer = change(request);
  const outcome = { code: '', body: answer.body, answer, request };
  if (answer.gaveUp) {
    return { ...outcome, is: 'none' };
  }
  if (answer.status === success) {
    return { ...outcome, is: 'accepted' };
  }
  const { code } = answer;
  const seen = () => ({ request, answer: answer.text });
  if (!expect('only what must be refused is refused', mayRefuse.includes(code), seen)) {
    return { ...outcome, is: 'none' };
  }
  if (code === 'out_of_stock' || code === 'coupon_sold_out') {
    soldOut.add(1);
  } else {
    refused.add(1, { code });
  }
  return { ...outcome, is: 'refused', code };
}

/**
 * @param {any} order
 * @returns {number}
 */
export function unitsOf(order) {
  return order.items.reduce((/** @type {number} */ sum, /** @type {any} */ it) => sum + it.quantity, 0);
}
