// node --test src/console

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { compact, duration, latency } from './format.js';
import { EventParser, Refused, backoffSeconds } from './stream.js';
import * as ticks from './tick.js';

const BOUNDS = [0.0005, 0.001, 0.0025, 10];

/** A tick of a node that has been up for `second` seconds. */
function tickAt(second, parts = {}) {
  const at = new Date(Date.UTC(2026, 0, 1) + second * 1000).toISOString();
  return { at, uptimeSeconds: second, mysqlReachable: true, cells: [], outcomes: [], problems: [], ...parts };
}

const outcome = (script, name, count) => ({ script, outcome: name, count });

function ratesOf(first, second) {
  return ticks.ratesBetween(ticks.totalsOf(first), ticks.totalsOf(second));
}

test('an event stream is read however its bytes are cut', () => {
  const first = ': hello\r\nevent: tick\r\ndata: {"name":"선착순 🎟"}\r\n\r\n';
  const text = `${first}data:a\ndata:  b\nid: 7\n\nevent: tick\rdata\r\r\n`;
  const expected = [
    { name: 'tick', data: '{"name":"선착순 🎟"}' },
    { name: 'message', data: 'a\n b' },
    { name: 'tick', data: '' },
  ];
  const bytes = new TextEncoder().encode(text);
  for (let from = 0; from <= bytes.length; from += 1) {
    for (let to = from; to <= bytes.length; to += 1) {
      const parser = new EventParser();
      const parts = [bytes.slice(0, from), bytes.slice(from, to), bytes.slice(to)];
      assert.deepEqual(parts.flatMap((it) => parser.push(it)), expected, `cut at ${from} and ${to}`);
    }
  }
});

test('an event that was cut off is not given', () => {
  const parser = new EventParser();
  assert.deepEqual(parser.push(new TextEncoder().encode('event: tick\ndata: {"at"')), []);
});

test('waits grow to fifteen seconds', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 60].map(backoffSeconds), [1, 2, 4, 8, 15, 15, 15]);
});

test('a problem is told with its title, detail and code', () => {
  const problem = { title: 'Closed', detail: 'Try again shortly', code: 'cell_closed' };
  assert.equal(new Refused(503, problem).message, 'Closed: Try again shortly (cell_closed)');
  assert.equal(new Refused(409, { title: 'Sold out', detail: 'Sold out' }).message, 'Sold out');
  assert.equal(new Refused(502).message, 'HTTP 502');
});

test('rates are differences by the time between the ticks, and what is new counts from zero', () => {
  const first = tickAt(10, { outcomes: [outcome('order_place', 'PAID', 100)] });
  const second = tickAt(12, {
    outcomes: [outcome('order_place', 'PAID', 150), outcome('order_place', 'OUT_OF_STOCK', 8)],
    problems: [{ code: 'out_of_stock', count: 8 }],
  });
  const rates = ratesOf(first, second);
  assert.equal(rates.get('order_place PAID'), 25);
  assert.equal(rates.get('problem out_of_stock'), 4);
});

test('there are no rates over a restart, without a tick before, or without time between', () => {
  const counted = (second, count) => tickAt(second, { outcomes: [outcome('order_place', 'PAID', count)] });
  assert.equal(ratesOf(counted(10, 100), counted(11, 99)), null);
  assert.equal(ratesOf(counted(10, 100), tickAt(11)), null);
  assert.equal(ratesOf(counted(10, 100), { ...counted(11, 200), uptimeSeconds: 1 }), null);
  assert.equal(ratesOf(counted(10, 100), counted(10, 100)), null);
  assert.equal(ticks.ratesBetween(null, ticks.totalsOf(counted(1, 1))), null);
  assert.deepEqual(ticks.orderRates(null), [null, null, null, null]);
});

test('orders and claims are grouped by what came of them', () => {
  const rates = ratesOf(tickAt(1), tickAt(2, {
    outcomes: [
      outcome('order_place', 'PAID', 5),
      outcome('order_place', 'PLACED', 2),
      outcome('order_pay', 'PAID', 1),
      outcome('order_place', 'OUT_OF_STOCK', 3),
      outcome('order_pay', 'BALANCE_TOO_LOW', 4),
      outcome('order_place', 'LIMIT_EXCEEDED', 6),
      outcome('order_get', 'FOUND', 99),
      outcome('coupon_issue', 'ISSUED', 7),
      outcome('coupon_issue', 'ALREADY_ISSUED', 8),
      outcome('coupon_issue', 'CLOSED', 9),
    ],
  }));
  assert.deepEqual(ticks.orderRates(rates), [8, 3, 4, 6]);
  assert.deepEqual(ticks.claimRates(rates), [7, 0, 8, 9]);
});

test('what is told sold out from memory counts, though no script ran', () => {
  const rates = ratesOf(tickAt(1), tickAt(2, {
    outcomes: [outcome('order_place', 'OUT_OF_STOCK', 3)],
    problems: [{ code: 'out_of_stock', count: 500 }, { code: 'coupon_sold_out', count: 20 }],
  }));
  assert.deepEqual(ticks.orderRates(rates), [0, 500, 0, 0]);
  assert.deepEqual(ticks.claimRates(rates), [0, 20, 0, 0]);
});

test('quantiles lie inside their bucket', () => {
  // 10 below 0.5 ms, 80 in 0.5 to 1 ms, 10 in 1 to 2.5 ms.
  const cumulative = [10, 90, 100, 100, 100];
  assert.equal(ticks.quantile(BOUNDS, cumulative, 0.05), 0.0005);
  assert.ok(Math.abs(ticks.quantile(BOUNDS, cumulative, 0.5) - 0.00075) < 1e-12);
  assert.ok(Math.abs(ticks.quantile(BOUNDS, cumulative, 0.95) - 0.00175) < 1e-12);
});

test('quantiles beyond the bounds are the bound, and of nothing there are none', () => {
  assert.equal(ticks.quantile(BOUNDS, [0, 0, 0, 0, 5], 0.99), 10);
  assert.equal(ticks.quantile(BOUNDS, [5, 5, 5, 5, 5], 0.99), 0.0005);
  assert.equal(ticks.quantile(BOUNDS, [0, 0, 0, 0, 0], 0.5), null);
  assert.equal(ticks.quantile([], [], 0.5), null);
});

test('the latency is that of POST /orders in the last second, whatever the answers were', () => {
  const durations = (...rows) => rows.map(([route, method, status, counts]) => ({
    route, method, status, counts, upperSeconds: BOUNDS,
  }));
  const first = tickAt(1, { durations: durations(['/orders', 'POST', '201', [1000, 1000, 1000, 1000, 1000]]) });
  const second = tickAt(2, {
    durations: durations(
      ['/orders', 'POST', '201', [1000, 1010, 1010, 1010, 1010]],
      ['/orders', 'POST', '400', [0, 0, 10, 10, 10]],
      ['/orders/{orderId}', 'GET', '200', [0, 0, 0, 0, 900]],
    ),
  });
  const [p50, p99] = ticks.latencies(ratesOf(first, second), ticks.totalsOf(second).bounds, [0.5, 0.99]);
  assert.equal(p50, 0.001);
  assert.ok(p99 > 0.001 && p99 < 0.0025);
  assert.deepEqual(ticks.latencies(null, BOUNDS, [0.5]), [null]);
  assert.deepEqual(ticks.latencies(ratesOf(tickAt(1), tickAt(2)), [], [0.5]), [null]);
});

test('a sum over cells is only told when every cell tells it', () => {
  assert.equal(ticks.sumOf([{ backlogEvents: 2 }, { backlogEvents: 3 }], 'backlogEvents'), 5);
  assert.equal(ticks.sumOf([{ backlogEvents: 2 }, {}], 'backlogEvents'), null);
  assert.equal(ticks.largestOf([{ lagMs: 2 }, { lagMs: 7 }], 'lagMs'), 7);
  assert.equal(ticks.largestOf([{}], 'lagMs'), null);
});

test('what is missing has its reason', () => {
  const cell = (reason) => [{ cell: 0, sells: false, state: 'open', reason }];
  assert.equal(ticks.whyNoRedis(tickAt(1, { cells: cell('redis refuses: connection refused') })), ticks.REDIS_AWAY);
  assert.equal(ticks.whyNoRedis(tickAt(1, { cells: cell('operator') })), 'Cell 0 is closed');
  assert.equal(ticks.whyNoRedis(tickAt(1, { cells: [{ cell: 0, sells: true }] })), ticks.REDIS_AWAY);
});

test('a missing backlog is put down to the server that does not tell its part', () => {
  const cells = [{ cell: 0, sells: true, newestSeq: 7 }];
  assert.equal(ticks.whyNoBacklog(tickAt(1, { cells, mysqlReachable: false })), ticks.MYSQL_AWAY);
  assert.equal(ticks.whyNoBacklog(tickAt(1, { cells })), 'Not told while the epoch changes');
  assert.equal(ticks.whyNoBacklog(tickAt(1, { cells: [{ cell: 0, sells: true }] })), ticks.REDIS_AWAY);
});

test('troubles are said in sentences, and a shop that is well has none', () => {
  const well = tickAt(1, { cells: [{ cell: 0, sells: true, deadEvents: 0 }], products: [] });
  assert.deepEqual(ticks.troubles(well), []);
  const ill = tickAt(1, { cells: [{ cell: 0, sells: false, reason: 'operator', deadEvents: 2 }], mysqlReachable: false });
  assert.deepEqual(ticks.troubles(ill), [
    'MySQL does not answer. Sales go on, and their events wait in Redis.',
    'Cell 0 does not sell: operator.',
    '2 dead events wait for somebody: firstcome events list.',
  ]);
  const behind = (publishLagMs) => {
    const cell = { cell: 0, sells: true, deadEvents: 0, outboxMessages: 521, publishLagMs };
    return ticks.troubles(tickAt(1, { cells: [cell], products: [] }));
  };
  assert.deepEqual(behind(10_000), []);
  assert.match(behind(12_000)[0], /^RabbitMQ is behind: of 521 messages the oldest waits for 12 s\./);
});

test('an axis names steps of a quarter', () => {
  assert.match(compact(0.25), /^0.25$/);
});

test('durations have units, and latencies say what the buckets do not tell', () => {
  assert.equal(duration(250), '250 ms');
  assert.match(duration(1500), /^1.5 s$/);
  assert.equal(duration(184_000), '3 min 4 s');
  assert.equal(duration(11_520_000), '3 h 12 min');
  assert.equal(duration(180_000_000), '2 d 2 h');
  assert.match(latency(0.0005, BOUNDS), /^below 0.5 ms$/);
  assert.match(latency(10, BOUNDS), /^10 s or more$/);
  assert.match(latency(0.00175, BOUNDS), /^1.8 ms$/);
});
