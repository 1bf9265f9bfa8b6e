// node --test src/console/shop/shop.test.js

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { Api, Intents, isSettled, keeper, nextPage, retried } from './api.js';
import {
  UNKNOWN_CLOCK, clockAheadMs, couponState, discountAmount, mergeOrders, narrowedClock, quantityMax, saleChangesAt,
  saleState, skuOf, wholeNumber,
} from './rules.js';
import { WORDS, chooseLanguage, count, wordsIn } from './words.js';

const [korean, english] = [wordsIn('ko'), wordsIn('en')];
const at = (time) => Date.parse(`2026-11-20T${time}Z`);
const sold = { saleStartsAt: '2026-11-20T11:00:00.000Z', saleEndsAt: '2026-11-20T12:00:00.000Z', stock: 3 };

test('money is grouped and wears its currency as each language does', () => {
  assert.equal(korean.money(39_000), '39,000원');
  assert.equal(english.money(39_000), '₩39,000');
  assert.deepEqual([korean.money(0), english.money(-1_000)], ['0원', '−₩1,000']);
  assert.equal(count(9_999_999_999_999), '9,999,999,999,999');
});

test('a countdown is zero only when the time has come', () => {
  const written = [-5, 0, 1, 1_000, 1_001, 59_999, 3_599_001, 90_061_000].map(english.countdown);
  assert.deepEqual(written, ['00:00', '00:00', '00:01', '00:01', '00:02', '01:00', '1:00:00', '1d 1:01:01']);
  assert.equal(korean.countdown(2 * 86_400_000), '2일 0:00:00');
});

test('every text is there in both languages with the same values, and the page names none that is not', async () => {
  const values = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((it) => it[1]).sort();
  for (const [key, [ko, en]] of Object.entries(WORDS)) assert.deepEqual(values(ko), values(en), key);
  const read = (name) => readFile(new URL(name, import.meta.url), 'utf8');
  const [html, ...scripts] = await Promise.all(['shop.html', 'shop.js', 'views.js', 'page.js'].map(read));
  const named = [...html.matchAll(/data-say="([^"]+)"/g)];
  for (const script of scripts) named.push(...script.matchAll(/\bsay\('([\w.]+)'/g));
  assert.ok(named.length > 60);
  for (const [, key] of named) assert.ok(WORDS[key], key);
});

test('the page brings nothing that its policy forbids', async () => {
  const html = await readFile(new URL('shop.html', import.meta.url), 'utf8');
  assert.doesNotMatch(html, /\sstyle=|\son\w+=|<style|https?:|<script(?![^>]*\ssrc=)/);
});

test('a value in a text stays text', () => {
  assert.equal(english.say('order', { order: '<b>$&' }), 'Order <b>$&');
});

test('the chosen language counts first, then those of the browser', () => {
  assert.equal(chooseLanguage('ko', ['en-US']), 'ko');
  assert.equal(chooseLanguage(undefined, ['fr', 'ko-KR', 'en']), 'ko');
  assert.equal(chooseLanguage('xx', ['fr']), 'en');
  assert.equal(chooseLanguage(null), 'en');
});

test('a sale opens at its start and is over at its end', () => {
  const state = (time, product = sold) => saleState(product, at(time));
  const around = ['10:59:59.999', '11:00:00', '11:59:59.999', '12:00:00'].map((it) => state(it));
  assert.deepEqual(around, ['soon', 'open', 'open', 'ended']);
  assert.equal(state('11:30:00', { ...sold, stock: 0 }), 'soldout');
  assert.equal(state('10:00:00', { ...sold, stock: 0 }), 'soon');
  assert.equal(state('10:00:00', { stock: 1 }), 'open');
  assert.equal(saleChangesAt(sold, at('10:00:00')), sold.saleStartsAt);
  assert.equal(saleChangesAt({ ...sold, stock: 0 }, at('11:00:00')), sold.saleEndsAt);
  assert.deepEqual([saleChangesAt(sold, at('12:00:00')), saleChangesAt({ stock: 1 }, 0)], [undefined, undefined]);
});

test('a claim meets time, then who has it, then what is left', () => {
  const coupon = { startsAt: sold.saleStartsAt, endsAt: sold.saleEndsAt, remaining: 0 };
  const state = (time, isMine, remaining = 0) => couponState({ ...coupon, remaining }, isMine, at(time));
  assert.deepEqual([state('10:00:00', true), state('12:00:00', true)], ['soon', 'ended']);
  const within = [state('11:00:00', true), state('11:00:00', false), state('11:00:00', false, 1)];
  assert.deepEqual(within, ['mine', 'soldout', 'open']);
});

test('a discount is rounded down and exceeds neither its cap nor the total', () => {
  assert.equal(discountAmount({ kind: 'percent', value: 15 }, 99), 14);
  assert.equal(discountAmount({ kind: 'percent', value: 15, maxAmount: 10 }, 99), 10);
  assert.equal(discountAmount({ kind: 'percent', value: 100 }, 9_999_999_999_999), 9_999_999_999_999);
  assert.equal(discountAmount({ kind: 'fixed', value: 500 }, 99), 99);
});

test('the option is what is sold, where there are some', () => {
  const product = { stock: 60, limitPerUser: 2, options: [{ id: 1, stock: 10 }, { id: 2, stock: 0 }] };
  assert.equal(skuOf(product, '2').id, 2);
  assert.equal(skuOf(product, undefined), product);
  assert.equal(quantityMax(product, product.options[0]), 2);
  assert.equal(quantityMax(product, product.options[1]), 1);
  assert.equal(quantityMax({}, { stock: 5_000 }), 1_000);
});

test('a whole number is read as people type it, and nothing else is', () => {
  assert.deepEqual(['7', ' 10,000 ', '1 000'].map(wholeNumber), [7, 10_000, 1_000]);
  for (const text of ['', '0', '-1', '1.5', '1e3', '９', '9007199254740992', 'x']) {
    assert.equal(wholeNumber(text), undefined, text);
  }
});

test('what an action told of an order holds until the list has caught up', () => {
  const order = (orderId, status) => ({ orderId, status });
  const told = new Map([[8, order(8, 'paid')], [9, order(9, 'pending')], [3, order(3, 'refunded')]]);
  const merged = mergeOrders([order(8, 'pending'), order(3, 'refunded')], told);
  assert.deepEqual(merged, [order(9, 'pending'), order(8, 'paid'), order(3, 'refunded')]);
  assert.deepEqual([...told.keys()], [8, 9]);
  assert.deepEqual(mergeOrders([order(9, 'expired'), order(8, 'paid')], told), [order(9, 'expired'), order(8, 'paid')]);
  assert.equal(told.size, 0);
});

test('answers narrow what the server’s clock can be, until a clock is set', () => {
  // The server is 10,300 ms ahead. Its Date has whole seconds.
  const ahead = 10_300;
  let clock = UNKNOWN_CLOCK;
  assert.equal(clockAheadMs(clock), 0);
  for (let sent = 0; sent < 20_000; sent += 1_130) {
    clock = narrowedClock(clock, Math.floor((sent + 15 + ahead) / 1000) * 1000, sent, sent + 40);
  }
  assert.ok(clock.least <= ahead && ahead <= clock.most);
  assert.ok(Math.abs(clockAheadMs(clock) - ahead) < 100, String(clockAheadMs(clock)));
  const jumped = narrowedClock(clock, 500_000, 30_000, 30_010);
  assert.deepEqual(jumped, { least: 469_990, most: 471_000 });
});

test('a try is repeated until the server says what became of it', async () => {
  assert.deepEqual([0, 429, 500, 503].map(isSettled), [false, false, false, false]);
  assert.deepEqual([200, 201, 400, 409, 422].map(isSettled), [true, true, true, true, true]);
  const answers = [{ status: 0 }, { status: 503, retryAfterMs: 60_000 }, { status: 201 }, { status: 201 }];
  const waits = [];
  const wait = async (ms) => waits.push(ms);
  assert.equal((await retried(async () => answers.shift(), { wait })).status, 201);
  assert.deepEqual(waits, [800, 5_000]);
  let made = 0;
  const down = async () => ({ status: 503, made: (made += 1) });
  assert.equal((await retried(down, { wait, tries: 2 })).made, 2);
});

test('an intent keeps its key until it is settled, over a reload too', () => {
  const store = keeper(() => undefined);
  const [one, two] = [new Intents(store).key('a'), new Intents(store).key('b')];
  assert.match(one, /^[0-9a-f]{32}$/);
  assert.notEqual(one, two);
  const later = new Intents(store);
  assert.equal(later.key('a'), one);
  later.settle('a');
  assert.notEqual(new Intents(store).key('a'), one);
  assert.equal(new Intents(store).key('b'), two);
  store.write('intents', 'not json');
  assert.match(new Intents(store).key('b'), /^[0-9a-f]{32}$/);
});

/** A server of one answer after another; `undefined` is a broken connection. */
function server(...answers) {
  const calls = [];
  const waits = [];
  const send = async (url, { method, headers, body }) => {
    const [key, tag] = [headers['Idempotency-Key'], headers['If-None-Match']];
    calls.push({ url, method, body, key, tag, language: headers['Accept-Language'] });
    const answer = answers.shift();
    if (!answer) throw new TypeError('the network is gone');
    const [status, json, more = {}] = answer;
    return new Response(status === 304 ? null : JSON.stringify(json), { status, headers: more });
  };
  const wait = (ms) => new Promise((resolve) => waits.push([ms, resolve])).then(() => undefined);
  const atOnce = async (ms) => void waits.push([ms]);
  const store = keeper(() => undefined);
  const api = (held = false) => new Api({ send, store, language: () => 'ko', wait: held ? wait : atOnce });
  return { calls, waits, api };
}

test('a lost answer is asked for again under the same key, and so is one that nobody got', async () => {
  const problem = { code: 'dependency_down' };
  const replay = [201, { orderId: 1 }, { 'Idempotency-Replayed': 'true' }];
  const shop = server(undefined, undefined, [503, problem], replay, [201, { orderId: 2 }]);
  const first = await shop.api().post('orders', { userId: 7 });
  assert.deepEqual([first.ok, first.status, first.problem], [false, 503, problem]);
  // The page was loaded anew: the order is still the same wish.
  const second = await shop.api().post('orders', { userId: 7 });
  assert.deepEqual([second.ok, second.replayed, second.body.orderId], [true, true, 1]);
  const third = await shop.api().post('orders', { userId: 7 });
  assert.equal(third.replayed, false);
  const keys = shop.calls.map((it) => it.key);
  assert.equal(new Set(keys.slice(0, 4)).size, 1);
  assert.notEqual(keys[4], keys[0]);
  assert.equal(shop.calls[0].language, 'ko');
});

test('a replay of a try of the same call is its answer, as if the first had not been lost', async () => {
  const shop = server(undefined, [201, { orderId: 1 }, { 'Idempotency-Replayed': 'true' }]);
  const answer = await shop.api().post('orders', { userId: 7 });
  assert.deepEqual([answer.ok, answer.replayed, shop.calls.length], [true, false, 2]);
});

test('a double click is one request; a later click is another', async () => {
  const refusal = [400, { code: 'out_of_stock' }];
  const shop = server([201, { orderId: 1 }], [201, { orderId: 2 }], refusal, [201, { orderId: 3 }]);
  const api = shop.api(true);
  const [one, same] = await Promise.all([api.post('orders', {}), api.post('orders', {})]);
  const late = await api.post('orders', {});
  assert.deepEqual([same, late], [one, one]);
  shop.waits.shift()[1]();
  await new Promise(setImmediate);
  assert.equal((await api.post('orders', {})).body.orderId, 2);
  // Another wish does not wait, and a refusal is no first half of anything.
  assert.equal((await api.post('orders', { other: 1 })).problem.code, 'out_of_stock');
  assert.equal((await api.post('orders', { other: 1 })).body.orderId, 3);
  assert.equal(new Set(shop.calls.map((it) => it.key)).size, 4);
});

test('what has not changed is not sent again, and lists go on where they are told to', async () => {
  const link = '<https://shop.example/products?limit=2&cursor=p2>; rel="next"';
  const pages = [[200, [1, 2], { ETag: '"a"', Link: link }], [200, [3], { ETag: '"b"' }]];
  const shop = server(...pages, [304], [304], [200, [9], { ETag: '"c"' }]);
  const api = shop.api();
  assert.deepEqual(await api.list('products?limit=2', 2), { ok: true, entries: [1, 2, 3], more: false });
  assert.deepEqual(await api.list('products?limit=2', 2), { ok: true, entries: [1, 2, 3], more: false });
  assert.deepEqual(await api.list('products?limit=2'), { ok: true, entries: [9], more: false });
  assert.deepEqual(shop.calls.map((it) => it.tag), [undefined, undefined, '"a"', '"b"', '"a"']);
  assert.equal(shop.calls[1].url, 'products?limit=2&cursor=p2');
  assert.equal(nextPage(null), undefined);
});

test('an answer that is not the shop’s is told as it is', async () => {
  const html = async () => new Response('<html>', { status: 200 });
  const gateway = async () => new Response('<html>', { status: 502 });
  const store = keeper(() => undefined);
  const get = (send) => new Api({ send, store, language: () => 'en' }).get('products');
  assert.deepEqual((await get(html)).problem, { code: 'network' });
  assert.deepEqual((await get(gateway)).problem, { code: 'http_502' });
});
