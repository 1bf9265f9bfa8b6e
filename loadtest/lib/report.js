// The end of a run, as text on standard output, and as JSON and HTML in files. The page needs nothing from elsewhere.

import { SHOWN } from './counts.js';
import { BASE_URL, OUT } from './settings.js';

/**
 * @typedef {object} Metric
 * @property {string} type
 * @property {Record<string, number>} values
 * @property {Record<string, { ok: boolean }>} [thresholds]
 */

/**
 * What k6 hands to handleSummary().
 *
 * @typedef {object} Summary
 * @property {Record<string, Metric>} metrics
 * @property {{ testRunDurationMs: number }} state
 * @property {Group} root_group
 */

/**
 * Rules that were looked at; setup and teardown are groups of their own.
 *
 * @typedef {object} Group
 * @property {Rule[]} checks
 * @property {Group[]} groups
 */

/** @typedef {{ name: string, passes: number, fails: number }} Rule */

/** @typedef {{ what: string, told: number, held: number, ok: boolean }} Comparison */
/** @typedef {{ bound: string, ok: boolean }} Bound */
/** @typedef {{ name: string, values: Record<string, number> }} Trend */

/**
 * @typedef {object} Report
 * @property {string} scenario
 * @property {'passed' | 'failed'} verdict
 * @property {string} finishedAt
 * @property {string} baseUrl
 * @property {number} seconds
 * @property {Record<string, string | number>} settings
 * @property {Record<string, number>} counts
 * @property {Comparison[]} comparisons
 * @property {Bound[]} bounds
 * @property {Rule[]} rules
 * @property {Trend[]} trends
 */

/** What is shown of each trend, and its heading. */
const COLUMNS = Object.entries({
  count: 'requests', avg: 'mean', med: 'p50', 'p(95)': 'p95', 'p(99)': 'p99', 'p(99.9)': 'p99.9', max: 'longest',
});

const COUNTS = [
  'accepted', 'sold_out', 'refused', 'replayed', 'retried', 'shed', 'wrong', 'unresolved', 'units_sold',
  'units_returned', 'iterations', 'dropped_iterations', 'http_reqs',
];

/**
 * The function that k6 calls at the end of a run.
 *
 * @param {string} scenario
 * @param {Record<string, string | number>} settings  what the run was told
 * @param {{ sellsOut?: boolean }} [what]  sellsOut: nothing comes back, so who is told "sold out" is right for good
 */
export function reporting(scenario, settings, { sellsOut = false } = {}) {
  return (/** @type {Summary} */ summary) => {
    const report = reportOf(scenario, settings, sellsOut, summary);
    return {
      stdout: textOf(report),
      [`${OUT}/${scenario}.json`]: `${JSON.stringify({ ...report, metrics: summary.metrics }, null, 2)}\n`,
      [`${OUT}/${scenario}.html`]: pageOf(report),
    };
  };
}

/**
 * @param {string} scenario
 * @param {Record<string, string | number>} settings
 * @param {boolean} sellsOut
 * @param {Summary} summary
 * @returns {Report}
 */
function reportOf(scenario, settings, sellsOut, { metrics, state, root_group: root }) {
  const value = (/** @type {string} */ name) => metrics[name]?.values['count'] ?? metrics[name]?.values['value'];
  /** @type {Record<string, number>} */
  const counts = {};
  COUNTS.forEach((name) => { counts[name] = value(name) ?? 0; });
  /** @type {Bound[]} */
  const bounds = [];
  /** @type {Trend[]} */
  const trends = [];
  for (const name of Object.keys(metrics).sort()) {
    const { type, values = {}, thresholds = {} } = metrics[name] ?? {};
    const sources = Object.keys(thresholds);
    if (type === 'trend' && sources.length > 0) {
      const [, by, of] = /([a-z]+):([^:]+)\}$/.exec(name) ?? [];
      trends.push({ name: of === undefined ? name : by === 'name' ? of : `(${by} ${of})`, values });
    }
    sources.filter((it) => it !== SHOWN).forEach((it) => {
      bounds.push({ bound: `${name}: ${it}`, ok: thresholds[it]?.ok === true });
    });
  }
  const comparisons = comparisonsOf(value, sellsOut);
  const isPassed = bounds.length > 0 && bounds.every((it) => it.ok) && comparisons.every((it) => it.ok);
  return {
    scenario,
    verdict: isPassed ? 'passed' : 'failed',
    finishedAt: new Date().toISOString(),
    baseUrl: BASE_URL,
    seconds: state.testRunDurationMs / 1000,
    settings,
    counts,
    comparisons,
    bounds,
    rules: rulesOf(root),
    trends,
  };
}

/**
 * @param {Group} root
 * @returns {Rule[]} each once
 */
function rulesOf(root) {
  /** @type {Map<string, Rule>} */
  const rules = new Map();
  const add = (/** @type {Group} */ { checks, groups }) => {
    checks.forEach(({ name, passes, fails }) => {
      const before = rules.get(name) ?? { name, passes: 0, fails: 0 };
      rules.set(name, { name, passes: before.passes + passes, fails: before.fails + fails });
    });
    groups.forEach(add);
  };
  add(root);
  return [...rules.values()];
}

/**
 * What buyers were told against what the engine holds, each computed anew from what both sides counted.
 *
 * @param {(name: string) => number | undefined} value
 * @param {boolean} sellsOut
 * @returns {Comparison[]}
 */
function comparisonsOf(value, sellsOut) {
  /** @type {Comparison[]} */
  const comparisons = [];
  const compare = (/** @type {string} */ what, /** @type {number} */ told, /** @type {number | undefined} */ held) => {
    comparisons.push({ what, told, held: held ?? NaN, ok: told === held });
  };
  if (value('units_unaccounted') !== undefined) {
    const units = (value('units_sold') ?? 0) - (value('units_returned') ?? 0);
    compare('units that buyers were told they have, and the stock lost', units, value('sold_by_stock'));
    compare('the same, and paid order rows', units, value('sold_by_orders'));
  }
  if (value('claims_unaccounted') !== undefined) {
    const claims = (value('coupons_given') ?? NaN) + (value('claims_unaccounted') ?? NaN);
    compare('coupons that users were told they have, and campaigns gave', claims, value('coupons_given'));
    compare('the same, and lists of users', claims, value('coupons_of_users'));
  }
  if (value('money_unaccounted') !== undefined) {
    compare('money that neither buyers nor wallets account for', value('money_unaccounted') ?? NaN, 0);
  }
  if (sellsOut && (value('sold_out') ?? 0) > 0) {
    compare('left, where buyers were told that nothing is', value('stock_left') ?? value('coupons_left') ?? NaN, 0);
  }
  return comparisons;
}

/**
 * @param {number} number
 * @returns {string} with commas, and two digits behind the point where it is no integer; NaN: nobody knows
 */
function shown(number) {
  if (Number.isNaN(number)) {
    return 'unknown';
  }
  const [whole, rest] = (Number.isInteger(number) ? String(number) : number.toFixed(2)).split('.');
  const grouped = String(whole).replace(/\B(?=(\d{3})+$)/g, ',');
  return rest === undefined ? grouped : `${grouped}.${rest}`;
}

/**
 * @param {Report} report
 * @returns {string}
 */
function textOf(report) {
  const mark = (/** @type {boolean} */ ok) => (ok ? 'ok   ' : 'WRONG');
  const settings = Object.entries(report.settings).map(([name, it]) => `${name}=${it}`).join(' ');
  const lines = [
    '',
    `${report.scenario}: ${report.verdict.toUpperCase()}`,
    `  ${report.baseUrl}, ${shown(report.seconds)} s, ${report.finishedAt}`,
    `  ${settings}`,
    '',
    ...COUNTS.filter((it) => report.counts[it] !== 0).map((it) => (
      `  ${it.padEnd(22)}${shown(report.counts[it] ?? 0).padStart(11)}`
    )),
    '',
    ...report.comparisons.map((it) => `  ${mark(it.ok)}  ${it.what}: ${shown(it.told)}, ${shown(it.held)}`),
    ...report.bounds.map((it) => `  ${mark(it.ok)}  ${it.bound}`),
    ...report.rules.filter((it) => it.fails > 0).map((it) => `  WRONG  ${it.name}: not so ${shown(it.fails)} times`),
    '',
    `  ${'times in ms'.padEnd(22)}${COLUMNS.map(([, heading]) => heading.padStart(11)).join('')}`,
    ...report.trends.filter((it) => (it.values['count'] ?? 0) > 0).map(({ name, values }) => (
      `  ${name.padEnd(22)}${COLUMNS.map(([column]) => shown(values[column] ?? 0).padStart(11)).join('')}`
    )),
    '',
    `  ${OUT}/${report.scenario}.html`,
    '',
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * @param {unknown} text
 * @returns {string}
 */
function escaped(text) {
  return String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

/**
 * @param {string[]} headings
 * @param {Array<Array<string | number | boolean>>} rows  numbers to the right; a boolean is whether something is right
 * @returns {string}
 */
function table(headings, rows) {
  const cell = (/** @type {string | number | boolean} */ it) => {
    switch (typeof it) {
      case 'number': return `<td class="number">${shown(it)}</td>`;
      case 'boolean': return `<td class="${it ? 'right' : 'wrong'}">${it ? 'right' : 'wrong'}</td>`;
      default: return `<td>${escaped(it)}</td>`;
    }
  };
  const isNumber = (/** @type {number} */ column) => typeof rows[0]?.[column] === 'number';
  const head = headings.map((it, column) => (
    `<th scope="col"${isNumber(column) ? ' class="number"' : ''}>${escaped(it)}</th>`
  ));
  const body = rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`);
  return `<table><thead><tr>${head.join('')}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table>`;
}

/**
 * @param {Report} report
 * @returns {string}
 */
function pageOf(report) {
  const { scenario, verdict, counts, comparisons, bounds, rules, trends } = report;
  const times = trends.filter((it) => (it.values['count'] ?? 0) > 0);
  const failing = rules.filter((it) => it.fails > 0);
  const sections = [
    ['What was counted', table(['count', 'number'], COUNTS.map((it) => [it, counts[it] ?? 0]))],
    ['What buyers were told, and what the engine holds', table(
      ['comparison', 'told', 'held', ''],
      comparisons.map((it) => [it.what, it.told, it.held, it.ok]),
    )],
    ['Bounds', table(['bound', ''], bounds.map((it) => [it.bound, it.ok]))],
    ['Rules', table(
      ['rule', 'held', 'did not', ''],
      [...failing, ...rules.filter((it) => it.fails === 0)].map((it) => [it.name, it.passes, it.fails, it.fails === 0]),
    )],
    ['Times in ms, and what was watched', table(
      ['request', ...COLUMNS.map(([, heading]) => heading)],
      times.map(({ name, values }) => [name, ...COLUMNS.map(([column]) => values[column] ?? 0)]),
    )],
  ];
  const settings = Object.entries(report.settings).map(([name, it]) => `${name}=${it}`).join(' ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(scenario)}: ${verdict}</title>
<style>
:root { color-scheme: light dark; --line: #8886; --right: #17803d; --wrong: #c4291c; }
@media (prefers-color-scheme: dark) { :root { --right: #5dd28a; --wrong: #ff8a7d; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; }
section { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.right { color: var(--right); }
.wrong { color: var(--wrong); font-weight: 600; }
</style>
</head>
<body>
<h1>${escaped(scenario)}: <span class="${verdict === 'passed' ? 'right' : 'wrong'}">${verdict}</span></h1>
<p>${escaped(report.baseUrl)}, ${shown(report.seconds)} s, ${escaped(report.finishedAt)}</p>
<p><code>${escaped(settings)}</code></p>
${sections.map(([heading, body]) => `<h2>${escaped(heading)}</h2>\n<section>${body}</section>`).join('\n')}
</body>
</html>
`;
}
