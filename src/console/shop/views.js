// The lists of the page. Each function makes one of them say what the shop knows.

import { byId, copyOf, fill, fillSelect, put, putButton, putCountdown, setText } from './page.js';
import { pictureOf } from './pictures.js';
import { couponState, discountAmount, quantityMax, saleChangesAt, saleState, skuOf, wholeNumber } from './rules.js';

/** From so many units on, what is left is said with urgency. */
const FEW = 10;

const joined = (...parts) => parts.filter(Boolean).join(' · ');

/** One list: its entries, what it says where there are none, and whether there are more. */
function show(shop, name, { id = name, template, idOf, empty }, update) {
  const { entries, more, state } = shop.lists[name];
  fill(byId(id), entries, idOf, () => copyOf(template, shop.words), update);
  const note = { loading: 'loading', failed: 'notLoaded', ready: entries.length === 0 && empty }[state];
  setText(document.querySelector(`.note[data-list="${name}"]`), note ? shop.words.say(note) : '');
  const button = document.querySelector(`.more[data-list="${name}"]`);
  if (button) button.hidden = !more;
}

export function showAll(shop) {
  for (const showOne of [showProducts, showOrders, showWallet, showHistory, showCoupons, showMyCoupons, showRanking]) {
    showOne(shop);
  }
}

function showProducts(shop) {
  const { say, count, money } = shop.words;
  show(shop, 'products', { template: 'product', idOf: (it) => it.id, empty: 'noProducts' }, (card, product) => {
    const nowMs = shop.nowMs();
    const sale = saleState(product, nowMs);
    const isFew = product.stock <= FEW;
    Object.assign(card.dataset, { stock: product.stock, sale, few: isFew });
    showPicture(card, product);
    put(card, '.name', product.name);
    put(card, '.price', hasPrices(product) ? say('from', { amount: money(product.price) }) : money(product.price));
    const stock = { open: isFew ? 'onlyLeft' : 'left', soon: 'left', ended: 'ended', soldout: 'soldout' }[sale];
    put(card, '.stock', say(stock, { count: count(product.stock) }));
    put(card, '.limit', product.limitPerUser && say('perUser', { count: product.limitPerUser }));
    const until = saleChangesAt(product, nowMs);
    putCountdown(card, until && say(sale === 'soon' ? 'opensIn' : 'endsIn'), until, nowMs, shop.words);
    showFields(shop, card, product, sale);
  });
}

/** Whether a product's options differ in price. */
function hasPrices(product) {
  return product.options.some((it) => it.price !== product.price);
}

function showPicture(card, { id, name }) {
  const picture = card.querySelector('.picture');
  if (picture.dataset.of === name) return;
  picture.dataset.of = name;
  picture.replaceChildren(pictureOf(name));
  card.style.setProperty('--hue', (id * 67) % 360);
}

/** What a buyer chooses, what that costs, and whether it can be bought now. */
function showFields(shop, card, product, sale) {
  const { say, count, money } = shop.words;
  card.querySelector('.fields').hidden = sale !== 'open';
  card.querySelector('.option-choice').hidden = product.options.length === 0;
  fillSelect(card.querySelector('.option'), product.options.map(({ id, name, price, stock }) => {
    const left = stock > 0 ? say('left', { count: count(stock) }) : say('soldout');
    return { id, text: joined(name, hasPrices(product) && money(price), left), disabled: stock === 0 };
  }));
  const { sku, quantity } = wantedOf(card, product);
  card.querySelector('.quantity').max = quantityMax(product, sku);
  if (sale !== 'open' || quantity <= sku.stock) setText(card.querySelector('.hint'), '');

  const total = sku.price * (quantity ?? 1);
  const coupon = showOwnCoupons(shop, card, total);
  const discount = coupon ? discountAmount(coupon.discount, total) : 0;
  const amounts = { total: money(total), discount: money(discount), payable: money(total - discount) };
  put(card, '.sum', sale === 'open' && quantity && say(discount > 0 ? 'sumLess' : 'sum', amounts));

  const canBuy = sale === 'open' && sku.stock > 0;
  const buy = sale === 'open' ? (canBuy ? 'buy' : 'soldout') : sale;
  putButton(card, '.buy', say(buy), product.name, canBuy);
  putButton(card, '.order-later', canBuy ? say('orderLater') : '', product.name, canBuy);
}

/** What a product's card asks for; without a quantity where that is no whole number. */
export function wantedOf(card, product) {
  const chosen = (selector) => Number(card.querySelector(selector).value) || undefined;
  const optionId = chosen('.option');
  const quantity = wholeNumber(card.querySelector('.quantity').value);
  return { sku: skuOf(product, optionId), optionId, quantity, couponId: chosen('.coupon-select') };
}

/** The buyer's coupons to choose from, and the chosen one. The least total that one needs is the campaign's to say. */
function showOwnCoupons(shop, card, total) {
  const { say, money } = shop.words;
  const own = shop.lists.myCoupons.entries.filter((it) => it.status === 'issued');
  const choices = own.map(({ couponId, name }) => {
    const least = shop.lists.coupons.entries.find((it) => it.couponId === couponId)?.minOrderAmount ?? 0;
    const text = joined(name, least > 0 && say('minimum', { amount: money(least) }));
    return { id: couponId, text, disabled: total < least };
  });
  const select = card.querySelector('.coupon-select');
  card.querySelector('.coupon-choice').hidden = own.length === 0;
  fillSelect(select, [{ id: '', text: say('noCoupon') }, ...choices]);
  if (select.selectedOptions[0]?.disabled) select.value = '';
  return own.find((it) => String(it.couponId) === select.value);
}

function showOrders(shop) {
  const { say, count, money, moment } = shop.words;
  show(shop, 'orders', { template: 'order', idOf: (it) => it.orderId, empty: 'noOrders' }, (row, order) => {
    const nowMs = shop.nowMs();
    const isPending = order.status === 'pending';
    const isPayable = isPending && nowMs < Date.parse(order.expiresAt);
    const number = say('order', { order: order.orderId });
    row.dataset.status = order.status;
    put(row, '.name', order.items.map((it) => `${itemName(shop, it)} × ${count(it.quantity)}`).join(', '));
    put(row, '.badge', say(`status.${order.status}`));
    const discount = order.discount > 0 && say('discounted', { amount: money(order.discount) });
    put(row, '.facts', joined(number, moment(order.placedAt), money(order.total), discount));
    const label = isPending && say(isPayable ? 'payIn' : 'overdue');
    putCountdown(row, label, isPayable ? order.expiresAt : undefined, nowMs, shop.words);
    const payable = showValidCoupons(shop, row, order);
    putButton(row, '.pay', isPending ? say('pay', { amount: money(payable) }) : '', number, isPayable);
    putButton(row, '.cancel', isPending ? say('cancel') : '', number, isPayable);
    putButton(row, '.refund', order.status === 'paid' ? say('refund') : '', number);
  });
}

/** Offers what a pending order could use, the coupon that it holds chosen. What is then to pay. */
function showValidCoupons(shop, row, order) {
  const { say, money } = shop.words;
  const select = row.querySelector('.coupon-select');
  const valid = shop.validCoupons.get(order.orderId) ?? [];
  const choices = valid.map((it) => ({ id: it.couponId, text: joined(it.name, money(-it.discountAmount)) }));
  // A payment that names no coupon uses the one that is held: only a release takes that off.
  fillSelect(select, order.couponId ? choices : [{ id: '', text: say('noCoupon') }, ...choices]);
  const held = String(order.couponId ?? '');
  if (select.dataset.held !== held) select.value = held;
  // Not before it can be chosen: the order is often known before the coupons that fit it.
  if (select.value === held) select.dataset.held = held;
  row.querySelector('.coupon-choice').hidden = order.status !== 'pending' || valid.length === 0;
  const chosen = valid.find((it) => String(it.couponId) === select.value);
  return chosen?.payable ?? order.total - order.discount;
}

/** Orders know products by their ids only. */
function itemName(shop, { productId, optionId }) {
  const product = shop.productOf(productId);
  const option = product?.options.find((it) => it.id === optionId);
  const name = product?.name ?? shop.words.say('productNamed', { id: productId });
  return option ? `${name} (${option.name})` : name;
}

function showCoupons(shop) {
  const { say, count, money, discount } = shop.words;
  const mine = new Set(shop.lists.myCoupons.entries.map((it) => it.couponId));
  show(shop, 'coupons', { template: 'coupon', idOf: (it) => it.couponId, empty: 'noCoupons' }, (row, coupon) => {
    const { couponId, name, minOrderAmount = 0, remaining } = coupon;
    const state = couponState(coupon, mine.has(couponId), shop.nowMs());
    Object.assign(row.dataset, { remaining, state });
    put(row, '.name', name);
    const least = minOrderAmount > 0 && say('minimum', { amount: money(minOrderAmount) });
    put(row, '.facts', joined(discount(coupon.discount), least, say('left', { count: count(remaining) })));
    const until = { soon: coupon.startsAt, open: coupon.endsAt }[state];
    putCountdown(row, until && say(state === 'soon' ? 'claimIn' : 'claimEndsIn'), until, shop.nowMs(), shop.words);
    putButton(row, '.claim', say(state === 'open' ? 'claim' : `claim.${state}`), name, state === 'open');
  });
}

function showMyCoupons(shop) {
  const { say, discount, moment } = shop.words;
  const view = { id: 'my-coupons', template: 'my-coupon', idOf: (it) => it.couponId, empty: 'noMyCoupons' };
  show(shop, 'myCoupons', view, (row, coupon) => {
    row.dataset.status = coupon.status;
    put(row, '.name', coupon.name);
    put(row, '.badge', say(`coupon.${coupon.status}`));
    const order = coupon.orderId && say('order', { order: coupon.orderId });
    const until = say('until', { time: moment(coupon.expiresAt) });
    put(row, '.facts', joined(discount(coupon.discount), order, until));
    putButton(row, '.release', coupon.status === 'held' ? say('release') : '', coupon.name);
  });
}

function showWallet(shop) {
  const { say, money } = shop.words;
  setText(byId('balance'), shop.balance === undefined ? '…' : money(shop.balance));
  byId('balance').dataset.balance = shop.balance ?? '';
  setText(byId('user'), say('guest', { user: shop.user }));
  byId('user').dataset.user = shop.user;
  for (const button of document.querySelectorAll('.add')) {
    setText(button, `+${money(Number(button.dataset.amount))}`);
  }
}

function showHistory(shop) {
  const { say, money, moment } = shop.words;
  show(shop, 'history', { template: 'entry', idOf: (it) => it.seq, empty: 'noHistory' }, (row, entry) => {
    put(row, '.name', say(`kind.${entry.kind}`));
    put(row, '.change', `${entry.amount > 0 ? '+' : ''}${money(entry.amount)}`);
    const order = entry.orderId && say('order', { order: entry.orderId });
    put(row, '.facts', joined(moment(entry.at), order, `${say('balance')} ${money(entry.balance)}`));
  });
}

function showRanking(shop) {
  show(shop, 'ranking', { template: 'ranked', idOf: (it) => it.id, empty: 'noRanking' }, (row, ranked) => {
    put(row, '.name', ranked.name);
    put(row, '.facts', shop.words.say('sold', { count: shop.words.count(ranked.sold) }));
  });
}
