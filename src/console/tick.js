// What the ticks of /console/stream mean: rates, quantiles, what is missing and why. No page is needed for any of it.

import { count, duration } from './format.js';

/** The order chart's series. Orders and payments that were answered, by what came of them. */
export const ORDER_SERIES = ['accepted', 'sold out', 'refused for money', 'other'];

/** The claim chart's series. */
export const CLAIM_SERIES = ['issued', 'sold out', 'already issued', 'other'];

const ORDER_OUTCOMES = {
  'order_place PAID': 0,
  'order_place PLACED': 0,
  'order_pay PAID': 0,
  'order_place OUT_OF_STOCK': 1,
  'order_place BALANCE_TOO_LOW': 2,
  'order_pay BALANCE_TOO_LOW': 2,
};
const CLAIM_OUTCOMES = {
  'coupon_issue ISSUED': 0,
  'coupon_issue SOLD_OUT': 1,
  'coupon_issue ALREADY_ISSUED': 2,
};
const OTHER = 3;

/** A message that waits longer than this is worth a look; in a rush one does for moments. */
const PUBLISH_LAG_MS = 10_000;

/** What a tick counts since its node started, in one map, and the bounds of its durations in seconds. */
export function totalsOf(tick) {
  const counts = new Map();
  const add = (key, count) => counts.set(key, (counts.get(key) ?? 0) + count);
  for (const { script, outcome, count } of tick.outcomes) add(`${script} ${outcome}`, count);
  for (const { code, count } of tick.problems) add(`problem ${code}`, count);
  let bounds = [];
  for (const { route, method, upperSeconds, counts: below } of tick.durations ?? []) {
    if (route !== '/orders' || method !== 'POST') continue;
    bounds = upperSeconds;
    below.forEach((count, index) => add(`bucket ${index}`, count));
  }
  return { atMs: Date.parse(tick.at), uptimeSeconds: tick.uptimeSeconds, counts, bounds };
}

/** Per second between two totals, by key; `null` where they are not of one run of a node, so that no rate is negative. */
export function ratesBetween(before, now) {
  if (!before || now.uptimeSeconds < before.uptimeSeconds) return null;
  const seconds = (now.atMs - before.atMs) / 1000;
  if (!(seconds > 0)) return null;
  for (const [key, count] of before.counts) {
    if (!(now.counts.get(key) >= count)) return null;
  }
  const rates = new Map();
  for (const [key, count] of now.counts) rates.set(key, (count - (before.counts.get(key) ?? 0)) / seconds);
  return rates;
}

/** Rates of the order chart, in the order of `ORDER_SERIES`. */
export function orderRates(rates) {
  return grouped(rates, ['order_place ', 'order_pay '], ORDER_OUTCOMES, 'problem out_of_stock');
}

/** Rates of the claim chart, in the order of `CLAIM_SERIES`. */
export function claimRates(rates) {
  return grouped(rates, ['coupon_issue '], CLAIM_OUTCOMES, 'problem coupon_sold_out');
}

function grouped(rates, scripts, seriesOf, soldOutProblem) {
  if (!rates) return [null, null, null, null];
  const sums = [0, 0, 0, 0];
  for (const [key, rate] of rates) {
    if (scripts.some((it) => key.startsWith(it))) sums[seriesOf[key] ?? OTHER] += rate;
  }
  // In a rush a node tells "sold out" from memory: no script runs, but the problem is counted.
  sums[1] = Math.max(sums[1], rates.get(soldOutProblem) ?? 0);
  return sums;
}

/** Seconds within which the shares `qs` of the last orders were answered; `null` each where there were none. */
export function latencies(rates, bounds, qs) {
  const buckets = rates ? [...bounds, Infinity].map((_, index) => rates.get(`bucket ${index}`) ?? 0) : [];
  return qs.map((q) => quantile(bounds, buckets, q));
}

/**
 * The value below which a share `q` lies, by linear interpolation inside a bucket. `cumulative` has one count per bound
 * and one for all. Nothing is known inside the first and the last bucket: there it is the lowest or the highest bound.
 */
export function quantile(bounds, cumulative, q) {
  const all = cumulative.at(-1);
  if (!(all > 0)) return null;
  const rank = q * all;
  const index = cumulative.findIndex((it) => it >= rank);
  if (index === 0) return bounds[0];
  if (index >= bounds.length) return bounds.at(-1);
  const [from, to] = [cumulative[index - 1], cumulative[index]];
  return bounds[index - 1] + ((bounds[index] - bounds[index - 1]) * (rank - from)) / (to - from);
}

/** A field's sum over cells; `null` where a cell does not tell it. */
export function sumOf(cells, field) {
  return cells.reduce((sum, it) => (sum === null || it[field] == null ? null : sum + it[field]), 0);
}

/** A field's largest value over cells; `null` where a cell does not tell it. */
export function largestOf(cells, field) {
  return cells.reduce((most, it) => (most === null || it[field] == null ? null : Math.max(most, it[field])), 0);
}

/** Why there is no rate: it takes two ticks of one run of a node. */
export const NEXT_SECOND = 'From the next second on';

export const MYSQL_AWAY = 'MySQL does not answer';
export const REDIS_AWAY = 'Redis does not answer';

/** Why something that Redis tells is missing. Behind a shut gate Redis answers, but nothing about the shop. */
export function whyNoRedis(tick) {
  const shut = tick.cells.find((it) => !it.sells);
  return !shut || isRedisAway(shut) ? REDIS_AWAY : `Cell ${shut.cell} is closed`;
}

/** Why there is no backlog: it is the distance between what Redis tells and what MySQL does. */
export function whyNoBacklog(tick) {
  if (tick.cells.some((it) => it.newestSeq == null)) return whyNoRedis(tick);
  return tick.mysqlReachable ? 'Not told while the epoch changes' : MYSQL_AWAY;
}

/** `redis refuses: …` and `redis did not answer: …` are what the engine says then. */
function isRedisAway(cell) {
  return !cell.sells && /^redis /.test(cell.reason ?? '');
}

/** What somebody should look at now, in sentences. */
export function troubles(tick) {
  const found = [];
  if (tick.cells.some(isRedisAway) || (!tick.products && tick.cells.every((it) => it.sells))) {
    found.push(`${REDIS_AWAY}.`);
  }
  if (!tick.mysqlReachable) found.push(`${MYSQL_AWAY}. Sales go on, and their events wait in Redis.`);
  for (const it of tick.cells) {
    const { cell, sells, reason } = it;
    if (!sells && !isRedisAway(it)) found.push(`Cell ${cell} does not sell: ${reason ?? 'no reason told'}.`);
  }
  const waitsMs = largestOf(tick.cells, 'publishLagMs');
  if (waitsMs > PUBLISH_LAG_MS) {
    const messages = count(sumOf(tick.cells, 'outboxMessages'));
    found.push(`RabbitMQ is behind: of ${messages} messages the oldest waits for ${duration(waitsMs)}. Sales go on, and the messages wait in MySQL.`);
  }
  const dead = tick.cells.reduce((sum, it) => sum + (it.deadEvents ?? 0), 0);
  if (dead === 1) found.push('1 dead event waits for somebody: firstcome events list.');
  if (dead > 1) found.push(`${dead} dead events wait for somebody: firstcome events list.`);
  return found;
}
