// The page: follows the stream, and gives each tick to the parts that show it.

import { prepareAudit, showLastAudit } from './audit.js';
import { LiveChart } from './charts.js';
import { byId, fill, make, setText } from './dom.js';
import { clock, compact, count, duration, latency, rate } from './format.js';
import { showCells, showCoupons, showRanking, showRefusals, showStock } from './panels.js';
import { prepareRush, showRush } from './rush.js';
import { follow, token } from './stream.js';
import * as ticks from './tick.js';

const THEME_KEY = 'firstcome.theme';
const QUANTILES = { p99: 0.99, p95: 0.95, p50: 0.5 };

/** Totals of the tick before, in the same stream. */
let before = null;
let bounds = [];
let lastAt = null;
/** When the present state began. */
let since = null;

const charts = {
  orders: new LiveChart('orders-per-second', { names: ticks.ORDER_SERIES, write: rate, total: true }),
  claims: new LiveChart('claims-per-second', { names: ticks.CLAIM_SERIES, write: rate, total: true }),
  latency: new LiveChart('latency', {
    names: Object.keys(QUANTILES),
    write: (ms) => latency(ms / 1000, bounds),
    axis: (ms) => `${compact(ms)} ms`,
    floor: 1,
  }),
  backlog: new LiveChart('backlog', { names: ['events'], write: count }),
  lag: new LiveChart('lag', { names: ['lag'], write: duration, axis: (ms) => `${compact(ms / 1000)} s`, floor: 1000 }),
  outbox: new LiveChart('outbox', { names: ['messages'], write: count }),
};

function showTick(tick) {
  setState('connected');
  lastAt = tick.at;
  setText(byId('version'), tick.version);
  setText(byId('uptime'), ` · up ${duration(tick.uptimeSeconds * 1000)}`);
  showTroubles(ticks.troubles(tick));

  const now = ticks.totalsOf(tick);
  const rates = ticks.ratesBetween(before, now);
  before = now;
  if (now.bounds.length) bounds = now.bounds;
  showCharts(tick, rates);
  showCells(tick);
  showStock(tick);
  showCoupons(tick);
  showRanking(tick);
  showRefusals(tick, rates);
  showLastAudit(tick);
  showRush(tick.rush);
}

function showCharts(tick, rates) {
  charts.orders.push(ticks.orderRates(rates), ticks.NEXT_SECOND);
  charts.claims.push(ticks.claimRates(rates), ticks.NEXT_SECOND);
  const seconds = ticks.latencies(rates, bounds, Object.values(QUANTILES));
  charts.latency.push(seconds.map((it) => (it === null ? null : it * 1000)), rates ? 'No orders in the last second' : ticks.NEXT_SECOND);
  const mark = tick.mysqlReachable ? '' : `As this node last knew: ${ticks.MYSQL_AWAY}`;
  charts.backlog.push([ticks.sumOf(tick.cells, 'backlogEvents')], ticks.whyNoBacklog(tick), mark);
  charts.lag.push([ticks.largestOf(tick.cells, 'lagMs')], ticks.whyNoRedis(tick), mark);
  charts.outbox.push([ticks.sumOf(tick.cells, 'outboxMessages')], ticks.MYSQL_AWAY);
}

/** `connected`, `disconnected` or `token`; with since when, which stays while the state does. */
function setState(name) {
  const state = byId('state');
  if (state.dataset.state === name && since) return;
  since = new Date();
  state.dataset.state = name;
  const words = { connected: '● Connected', disconnected: '✕ Disconnected', token: '◆ Needs a token' };
  setText(state, `${words[name]} since ${clock(since)}`);
  byId('token').hidden = name !== 'token';
  byId('parts').hidden = name === 'token';
  document.body.classList.toggle('stale', name !== 'connected');
  byId('forget').hidden = name !== 'connected' || !token.get();
}

function showTroubles(sentences) {
  fill(byId('troubles'), sentences, (it) => it, (it) => make('li', {}, `▲ ${it}`), () => {});
}

/** Nothing that follows may be compared with what was: it may be another node, or another run of this one. */
function cut() {
  before = null;
  for (const chart of Object.values(charts)) chart.cut();
}

follow({
  onTick: showTick,
  onGone(why) {
    if (byId('state').dataset.state === 'connected') cut();
    setState('disconnected');
    const old = lastAt ? ` What is shown is from ${clock(lastAt)}.` : '';
    showTroubles([`${why}. Trying again.${old}`]);
  },
  askToken(why) {
    cut();
    setState('token');
    showTroubles([]);
    setText(byId('token-why'), token.get() ? `The token was refused. ${why}` : why);
    byId('token-text').focus();
    return new Promise((resolve) => {
      byId('token').onsubmit = (event) => {
        event.preventDefault();
        token.set(byId('token-text').value.trim());
        byId('token-text').value = '';
        resolve();
      };
    });
  },
});

function prepareTheme() {
  const [root, choice] = [document.documentElement, byId('theme')];
  const apply = () => {
    root.dataset.theme = choice.value;
    for (const chart of Object.values(charts)) chart.redraw();
  };
  choice.value = localStorage.getItem(THEME_KEY) ?? 'auto';
  choice.addEventListener('change', () => {
    localStorage.setItem(THEME_KEY, choice.value);
    apply();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', apply);
  apply();
}

prepareTheme();
prepareAudit();
prepareRush();
byId('forget').addEventListener('click', () => {
  token.forget();
  location.reload();
});
