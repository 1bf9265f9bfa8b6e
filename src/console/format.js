// How numbers and times are written: grouped, local, with units.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
/** Two digits: an axis may go in steps of a quarter. */
const short = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 2 });
const clockOf = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const dayOf = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export const count = (value) => whole.format(value);
export const rate = (value) => (value < 10 ? tenths : whole).format(value);
export const compact = (value) => short.format(value);

/** A time of day; with its date where that is not today's. */
export function clock(time) {
  const at = new Date(time);
  return (at.toDateString() === new Date().toDateString() ? clockOf : dayOf).format(at);
}

export function duration(ms) {
  if (ms < 1000) return `${whole.format(ms)} ms`;
  if (ms < 60_000) return `${tenths.format(ms / 1000)} s`;
  const seconds = Math.floor(ms / 1000);
  const parts = [[86_400, 'd'], [3_600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([unit]) => seconds >= unit);
  const [[large, name], [small, smallName]] = parts.slice(first, first + 2);
  return `${Math.floor(seconds / large)} ${name} ${Math.floor((seconds % large) / small)} ${smallName}`;
}

/** A latency out of buckets, which do not tell what is below the first bound or above the last. */
export function latency(seconds, bounds) {
  const text = (value) => (value < 1 ? `${tenths.format(value * 1000)} ms` : `${tenths.format(value)} s`);
  if (seconds <= bounds[0]) return `below ${text(bounds[0])}`;
  return seconds >= bounds.at(-1) ? `${text(bounds.at(-1))} or more` : text(seconds);
}
