// The demo shop: what it knows, what a click does, and how it stays up to date.

import { Api, isSettled, keeper } from './api.js';
import { byId, hush, hushFields, make, setText, tell, tellField, tickCountdowns, translate } from './page.js';
import { QUANTITY_MAX, mergeOrders, wholeNumber } from './rules.js';
import { showAll, wantedOf } from './views.js';
import { WORDS, chooseLanguage, wordsIn } from './words.js';

/**
 * Between two looks at the stock, and at what is left of coupons: a second, more or less. Looks at odd times tell more of
 * the server's clock, and a thousand pages that were opened at once do not ask at once.
 */
const pollMs = () => 800 + 400 * Math.random();

/** Every so many looks, the ranking is read too, and what could not be loaded is tried again. */
const SLOW_LOOKS = 5;

/** Between two steps of the countdowns: they show seconds, and a sale shall not open late. */
const TICK_MS = 250;

/** After the last key, before the stock is asked about a quantity. */
const TYPING_MS = 250;

const kept = keeper(() => localStorage);
const api = new Api({
  store: keeper(() => sessionStorage),
  language: () => shop.words.language,
  again: () => tell('error', shop.words, shop.words.say('askingAgain'), { code: 'network' }),
});

const list = (path) => ({ path, listed: [], entries: [], more: false, state: 'loading', pages: 1, turn: 0 });

const shop = {
  words: wordsIn(chooseLanguage(kept.read('language'), navigator.languages)),
  user: wholeNumber(kept.read('user') ?? '') ?? anyUser(),
  balance: undefined,
  lists: {
    products: list(() => 'products'),
    coupons: list(() => 'coupons'),
    ranking: list(() => 'products/top?limit=5'),
    orders: list((user) => `users/${user}/orders`),
    myCoupons: list((user) => `users/${user}/coupons`),
    history: list((user) => `users/${user}/balance/history`),
  },
  /** By order: the coupons that a pending one could use. */
  validCoupons: new Map(),
  /** By id: orders as actions were told of them, until the list has caught up. */
  told: new Map(),
  /** By id: products that are in orders and not on the page; null: no longer listed. */
  otherProducts: new Map(),
  productOf: (id) => shop.lists.products.entries.find((it) => it.id === id) ?? shop.otherProducts.get(id),
  nowMs: () => api.nowMs(),
};

const MINE = ['orders', 'myCoupons', 'history'];

function anyUser() {
  return 1_000_000 + Math.floor(Math.random() * 8_000_001);
}

const render = () => showAll(shop);

// ---- Loading

/** Reads a list anew. Of answers that overtake each other, that to the newest question counts. */
async function load(name) {
  const list = shop.lists[name];
  const turn = (list.turn += 1);
  const answer = await api.list(list.path(shop.user), list.pages);
  if (turn === list.turn) {
    list.state = answer.ok ? 'ready' : 'failed';
    if (answer.ok) [list.listed, list.more] = [answer.entries, answer.more];
    list.entries = name === 'orders' ? mergeOrders(list.listed, shop.told) : list.listed;
  }
  return answer;
}

let mineTurn = 0;

/** Reads all that belongs to the user. */
async function loadMine() {
  const turn = (mineTurn += 1);
  const [balance] = await Promise.all([api.get(`users/${shop.user}/balance`), ...MINE.map(load)]);
  if (turn !== mineTurn) return;
  if (balance.ok) shop.balance = balance.body.balance;
  await Promise.all([loadValidCoupons(), loadOtherProducts()]);
  render();
}

async function loadValidCoupons() {
  const hasSome = shop.lists.myCoupons.entries.some((it) => it.status === 'issued' || it.status === 'held');
  const pending = shop.lists.orders.entries.filter((it) => hasSome && it.status === 'pending');
  const answers = await Promise.all(pending.map((it) => api.get(`coupons/valid?orderId=${it.orderId}`)));
  const found = pending.map((it, index) => [it.orderId, answers[index]]).filter(([, answer]) => answer.ok);
  shop.validCoupons = new Map(found.map(([id, answer]) => [id, answer.body]));
}

async function loadOtherProducts() {
  const ids = shop.lists.orders.entries.flatMap((order) => order.items.map((it) => it.productId));
  const unknown = [...new Set(ids)].filter((id) => shop.productOf(id) === undefined);
  await Promise.all(unknown.map(async (id) => {
    const answer = await api.get(`products/${id}`);
    if (isSettled(answer.status)) shop.otherProducts.set(id, answer.ok ? answer.body : null);
  }));
}

/** Makes the user where they are new, and reads what is theirs. */
async function enter() {
  const { user } = shop;
  kept.write('user', String(user));
  const answer = await api.put(`users/${user}`);
  if (user !== shop.user) return;
  if (answer.ok) shop.balance = answer.body.balance;
  await loadMine();
}

let looks = 0;
let looking = false;
let next;

/** Looks at what changes by itself, again and again; not while nobody sees the page. */
async function look() {
  if (looking || document.hidden) return;
  looking = true;
  clearTimeout(next);
  const isSlow = looks % SLOW_LOOKS === 0;
  looks += 1;
  try {
    const names = isSlow ? ['products', 'coupons', 'ranking'] : ['products', 'coupons'];
    const [products] = await Promise.all([...names.map(load), askAboutOverdue()]);
    if (isSlow && MINE.some((it) => shop.lists[it].state === 'failed')) enter();
    showState(products);
    render();
  } finally {
    looking = false;
    next = setTimeout(look, pollMs());
  }
}

/** An order whose time is over expires some moments later; one order, asked for by itself, is exact. */
async function askAboutOverdue() {
  const isOverdue = (it) => it.status === 'pending' && Date.parse(it.expiresAt) <= api.nowMs();
  const overdue = shop.lists.orders.entries.filter(isOverdue);
  const answers = await Promise.all(overdue.map((it) => api.get(`orders/${it.orderId}`)));
  const ended = answers.filter((it) => it.ok && it.body.status !== 'pending' && it.body.userId === shop.user);
  for (const { body } of ended) shop.told.set(body.orderId, body);
  if (ended.length > 0) await loadMine();
}

function showState({ ok, status }) {
  byId('shop').dataset.state = ok ? 'ready' : 'offline';
  const { say } = shop.words;
  setText(byId('offline'), ok ? '' : `${say(status === 0 ? 'noConnection' : 'unavailable')} ${say('waiting')}`);
}

// ---- Acting

/**
 * Does what a button stands for, and says how it went. `fields`: inputs by pointers and codes of problems about them.
 * `send` makes one request; asked for again, it is the same one, with the same key.
 */
async function act(button, send, done, fields = {}) {
  if (button.hasAttribute('aria-disabled')) return;
  const place = button.closest('li, form');
  const { user } = shop;
  hushFields(place);
  button.setAttribute('aria-disabled', 'true');
  const answer = await send();
  button.removeAttribute('aria-disabled');
  if (user !== shop.user) return;
  if (answer.ok) {
    learn(answer);
    const text = answer.replayed ? shop.words.say('replayed') : done(answer.body, shop.words);
    tell('ok', shop.words, text, { extra: answer.body.status === 'pending' ? [linkToOrders()] : [] });
  } else {
    complain(answer, fields, () => {
      button.focus({ preventScroll: true });
      act(button, send, done, fields);
    });
  }
  const hadFocus = document.activeElement === button;
  render();
  await Promise.all([load('products'), load('coupons'), loadMine()]);
  render();
  // A button that has done its work may be gone: then the keyboard stays at its place.
  const isLost = document.activeElement === document.body || document.activeElement === button;
  if (hadFocus && isLost && (button.hidden || button.disabled)) place.focus({ preventScroll: true });
}

/** Takes over what an answer tells. That of a replay is of its first time: the order may be further by now. */
function learn({ body, replayed }) {
  if (body.balance !== undefined && !replayed) shop.balance = body.balance;
  if (!body.items) return;
  shop.told.set(body.orderId, body);
  shop.lists.orders.entries = mergeOrders(shop.lists.orders.listed, shop.told);
}

function complain({ status, problem }, fields, again) {
  const { say, count, language } = shop.words;
  const errors = problem.errors ?? [];
  for (const { pointer, detail } of errors) {
    const text = faultOf(pointer);
    // A detail is in English whatever the language.
    if (fields[pointer]) tellField(fields[pointer], text ?? detail, text ? language : 'en');
  }
  const text = problem.detail ?? problem.title ?? say(status === 0 ? 'noConnection' : 'failed');
  if (fields[problem.code]) tellField(fields[problem.code], text, language);
  const more = [
    problem.remaining > 0 && say('left', { count: count(problem.remaining) }),
    WORDS[`reason.${problem.reason}`] && say(`reason.${problem.reason}`),
    ...errors.filter((it) => !fields[it.pointer]).map((it) => `${it.pointer ?? it.parameter}: ${it.detail}`),
    !isSettled(status) && say('sameKey'),
  ];
  const retry = make('button', 'again', say('again'));
  retry.type = 'button';
  retry.addEventListener('click', again);
  const extra = isSettled(status) ? [] : [retry];
  tell('error', shop.words, [text, ...more.filter(Boolean)].join(' · '), { code: problem.code, extra });
}

/** What is wrong with a part of what the shop sends, in the shopper's words. */
function faultOf(pointer) {
  const { say, count } = shop.words;
  return {
    '#/items/0/quantity': say('quantityBounds', { most: count(QUANTITY_MAX) }),
    '#/items/0/optionId': say('chooseOption'),
  }[pointer];
}

function linkToOrders() {
  const link = make('a', '', shop.words.say('toOrders'));
  link.href = '#orders-title';
  return link;
}

/** Says that a field holds no whole number, before anything is sent. */
function refuse(input, key) {
  const text = shop.words.say(key);
  hushFields(input.closest('li, form'));
  tellField(input, text, shop.words.language);
  tell('error', shop.words, text, { code: 'invalid_request' });
  input.focus();
}

function order(button, payment) {
  const card = button.closest('.product');
  const product = shop.productOf(Number(card.dataset.id));
  const { quantity, optionId, couponId } = wantedOf(card, product);
  const field = (selector) => card.querySelector(selector);
  const [quantityField, optionField, couponField] = ['.quantity', '.option', '.coupon-select'].map(field);
  if (!quantity) return refuse(quantityField, 'wholeQuantity');
  const items = [{ productId: product.id, optionId, quantity }];
  const body = { userId: shop.user, items, couponId, payment };
  const fields = {
    '#/items/0/quantity': quantityField,
    '#/items/0/optionId': optionField,
    '#/couponId': couponField,
    purchase_limit_exceeded: quantityField,
    out_of_stock: quantityField,
    invalid_coupon: couponField,
  };
  const done = (it, { say, money }) => it.status === 'pending'
    ? say('ordered', { order: it.orderId })
    : say('bought', { order: it.orderId, paid: money(it.paid), balance: money(it.balance) });
  return act(button, () => api.post('orders', body), done, fields);
}

function pay(button) {
  const { id, entry } = orderOf(button);
  const select = button.closest('.order').querySelector('.coupon-select');
  const chosen = Number(select.value) || undefined;
  const body = { orderId: id, couponId: chosen === entry.couponId ? undefined : chosen };
  const done = (it, { say, money }) => say('bought', { order: id, paid: money(it.paid), balance: money(it.balance) });
  return act(button, () => api.post('payments', body), done, { '#/couponId': select, invalid_coupon: select });
}

function endOrder(button, ending, key) {
  const { id } = orderOf(button);
  const done = (it, { say, money }) => say(key, { order: id, balance: money(it.balance ?? 0) });
  return act(button, () => api.post(`orders/${id}/${ending}`, {}), done);
}

function orderOf(button) {
  const id = Number(button.closest('.order').dataset.id);
  return { id, entry: shop.lists.orders.entries.find((it) => it.orderId === id) };
}

function claim(button) {
  const body = { userId: shop.user, couponId: Number(button.closest('.coupon').dataset.id) };
  return act(button, () => api.post('coupons', body), (_, { say }) => say('claimed'));
}

function release(button) {
  const id = Number(button.closest('.my-coupon').dataset.id);
  const { orderId } = shop.lists.myCoupons.entries.find((it) => it.couponId === id);
  return act(button, () => api.post(`coupons/${id}/cancel`, { orderId }), (_, { say }) => say('released'));
}

function charge() {
  const input = byId('charge-amount');
  const amount = wholeNumber(input.value);
  if (!amount) return refuse(input, 'wholeAmount');
  const fields = { '#/amount': input, invalid_amount: input, balance_limit_exceeded: input };
  const done = (it, { say, money }) => say('charged', { amount: money(amount), balance: money(it.balance) });
  return act(byId('charge'), () => api.post(`users/${shop.user}/balance`, { amount }), done, fields);
}

function addToAmount(button) {
  const input = byId('charge-amount');
  input.value = shop.words.count((wholeNumber(input.value) ?? 0) + Number(button.dataset.amount));
}

function showMore(button) {
  shop.lists[button.dataset.list].pages += 1;
  return load(button.dataset.list).then(render);
}

function beSomebodyElse() {
  shop.user = anyUser();
  shop.balance = undefined;
  mineTurn += 1;
  for (const name of MINE) shop.lists[name] = list(shop.lists[name].path);
  for (const known of [shop.told, shop.validCoupons]) known.clear();
  hushFields(document);
  render();
  tell('ok', shop.words, shop.words.say('nowUser', { user: shop.user }));
  return enter();
}

let typing;

/** Asks whether so many could be bought now, once nobody types any more. */
function checkStock(card) {
  clearTimeout(typing);
  const product = shop.productOf(Number(card.dataset.id));
  const { quantity, optionId } = wantedOf(card, product);
  setText(card.querySelector('.hint'), '');
  if (!quantity || quantity > 1000) return;
  const option = optionId ? `&optionId=${optionId}` : '';
  typing = setTimeout(async () => {
    const answer = await api.get(`products/${product.id}/stock-check?quantity=${quantity}${option}`);
    const { say, count } = shop.words;
    if (!answer.ok || answer.body.available) return;
    const left = say('left', { count: count(answer.body.stock) });
    setText(card.querySelector('.hint'), `${say('notAvailable')} · ${left}`);
  }, TYPING_MS);
}

// ---- The page

function speak() {
  const { words } = shop;
  document.documentElement.lang = words.language;
  document.title = words.say('title');
  byId('language').value = words.language;
  hush();
  hushFields(document);
  translate(document, words);
  render();
}

const DEEDS = {
  buy: (button) => order(button, 'now'),
  'order-later': (button) => order(button, 'later'),
  pay,
  cancel: (button) => endOrder(button, 'cancel', 'cancelled'),
  refund: (button) => endOrder(button, 'refund', 'refunded'),
  claim,
  release,
  add: addToAmount,
  more: showMore,
  'somebody-else': beSomebodyElse,
};

document.addEventListener('click', ({ target }) => {
  const button = target.closest('button[data-do]');
  if (button) DEEDS[button.dataset.do](button);
});
// A key that is held down is one wish.
document.addEventListener('keydown', (event) => {
  if (event.repeat && event.key === 'Enter' && event.target.closest('button')) event.preventDefault();
});
document.addEventListener('input', ({ target }) => {
  if (target.hasAttribute('aria-invalid')) hushFields(target.closest('li, form'));
  const card = target.closest('.product');
  if (card && 'check' in target.dataset) checkStock(card);
  if (target.closest('.product, .order')) render();
});
byId('charge-form').addEventListener('submit', (event) => {
  event.preventDefault();
  charge();
});
byId('language').addEventListener('change', ({ target }) => {
  kept.write('language', target.value);
  shop.words = wordsIn(target.value);
  speak();
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  look();
  loadMine();
});
window.addEventListener('online', look);
setInterval(() => {
  if (!document.hidden && tickCountdowns(api.nowMs(), shop.words)) render();
}, TICK_MS);

speak();
look();
enter();
