// What a run is told by its environment. A variable that is empty counts as not set.

/**
 * @param {string} name
 * @param {string} usual
 * @returns {string}
 */
export function text(name, usual) {
  return __ENV[name] || usual;
}

/**
 * @param {string} name
 * @param {number} usual
 * @param {number} [least]
 * @returns {number}
 */
export function integer(name, usual, least = 1) {
  const given = __ENV[name];
  if (!given) {
    return usual;
  }
  if (!/^\d{1,15}$/.test(given) || Number(given) < least) {
    throw new Error(`${name}=${given}: must be an integer of at least ${least}`);
  }
  return Number(given);
}

const UNIT_SECONDS = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };

/**
 * A duration as k6 writes it (`90s`, `1h30m`), or a plain number of seconds.
 *
 * @param {string} name
 * @param {number} usualSeconds
 * @returns {number} in seconds
 */
export function seconds(name, usualSeconds) {
  const given = __ENV[name];
  if (!given) {
    return usualSeconds;
  }
  if (/^\d+(\.\d+)?$/.test(given)) {
    return Number(given);
  }
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(given)) {
    throw new Error(`${name}=${given}: must be a duration such as 90s, 5m or 1h30m`);
  }
  let sumSeconds = 0;
  for (const part of given.match(/\d+(\.\d+)?(ms|s|m|h|d)/g) || []) {
    const unit = part.replace(/[\d.]/g, '');
    sumSeconds += parseFloat(part) * UNIT_SECONDS[/** @type {keyof typeof UNIT_SECONDS} */ (unit)];
  }
  return sumSeconds;
}

/** The engine, without a slash at the end. */
export const BASE_URL = text('BASE_URL', 'http://127.0.0.1:8080').replace(/\/+$/, '');

/** Sent with every request where it is set: of scope `admin`, because a run acts for many users. */
export const TOKEN = text('TOKEN', '');

/** How long a request is sent again that was answered 429, 503 or not at all, before its buyer gives up. */
export const PATIENCE_SECONDS = seconds('PATIENCE', 60);

/** Longest wait for one answer. Then its outcome is unknown. */
export const TIMEOUT_SECONDS = seconds('TIMEOUT', 10);

/** Whether the run ends with an audit: it reads everything that the engine has, so it takes long where that is much. */
export const AUDITS = text('AUDIT', '1') !== '0';

/** Where the report goes, from the folder where k6 was started; it must exist. */
export const OUT = text('OUT', 'target/loadtest').replace(/\/+$/, '');

/** Bounds of latency, for the requests of buyers, in milliseconds. */
export const P95_MS = integer('P95_MS', 1000);
export const P99_MS = integer('P99_MS', 3000);

/** Requests at once in setup and teardown. */
export const BATCH = 50;

/** What all runs have in common. Setup and teardown take long with many buyers, and so does an audit of much. */
export const OPTIONS = {
  summaryTrendStats: ['count', 'avg', 'min', 'med', 'p(90)', 'p(95)', 'p(99)', 'p(99.9)', 'max'],
  batch: BATCH,
  batchPerHost: BATCH,
  setupTimeout: '30m',
  teardownTimeout: '60m',
};

/**
 * How long iterations may go on at the end: one that is cut off leaves outcomes that nobody knows. It has a few
 * requests, each with its patience.
 */
export const GRACEFUL_STOP = `${Math.ceil(6 * PATIENCE_SECONDS) + 30}s`;

/**
 * @param {number} durationSeconds
 * @returns {string} as k6 takes it
 */
export function span(durationSeconds) {
  return `${Math.max(1, Math.ceil(durationSeconds))}s`;
}

/**
 * Buyers who come all at once, or `RATE` of them each second. `DURATION` only bounds it.
 *
 * @param {number} buyers
 * @param {number} vus
 * @returns {import('k6/options').Scenario}
 */
export function rush(buyers, vus) {
  const rate = integer('RATE', 0);
  if (rate > 0) {
    return {
      executor: 'constant-arrival-rate',
      rate,
      duration: span(Math.min(buyers / rate, seconds('DURATION', Infinity))),
      preAllocatedVUs: vus,
      gracefulStop: GRACEFUL_STOP,
    };
  }
  return {
    executor: 'shared-iterations',
    vus: Math.min(vus, buyers),
    iterations: buyers,
    maxDuration: span(seconds('DURATION', 600)),
    gracefulStop: GRACEFUL_STOP,
  };
}

/**
 * `vus` buyers, each of whom begins anew when through; or `RATE` iterations each second, by so many at most.
 *
 * @param {number} vus
 * @param {number} durationSeconds
 * @param {number} [usualRate]
 * @returns {import('k6/options').Scenario}
 */
export function steady(vus, durationSeconds, usualRate = 0) {
  const rate = integer('RATE', usualRate);
  const duration = span(seconds('DURATION', durationSeconds));
  if (rate > 0) {
    return {
      executor: 'constant-arrival-rate',
      rate,
      duration,
      preAllocatedVUs: vus,
      gracefulStop: GRACEFUL_STOP,
    };
  }
  return { executor: 'constant-vus', vus, duration, gracefulStop: GRACEFUL_STOP };
}
