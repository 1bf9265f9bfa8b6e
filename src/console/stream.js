// Talking to the engine: the stream of ticks, single calls, and the token for both.

const TOKEN_KEY = 'firstcome.token';

/** Longest silence of a stream that sends every second, before it counts as gone. */
const SILENCE_MAX_MS = 10_000;

/** Seconds to wait after so many failures in a row: 1, 2, 4, … at most 15. */
export const backoffSeconds = (failures) => Math.min(15, 2 ** failures);

/** Takes bytes of an event stream, cut anywhere, and gives whole events. */
export class EventParser {
  #decoder = new TextDecoder();
  #rest = '';
  #name = '';
  #data = [];

  /** Events that are complete with these bytes, as `{name, data}`. */
  push(bytes) {
    // A carriage return at the end stays: a line feed may follow it.
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    return lines.flatMap((line) => this.#take(line));
  }

  #take(line) {
    if (line === '') {
      const events = this.#data.length ? [{ name: this.#name || 'message', data: this.#data.join('\n') }] : [];
      [this.#name, this.#data] = ['', []];
      return events;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === 'data') this.#data.push(value);
    if (field === 'event') this.#name = value;
    return [];
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN_KEY),
  set: (value) => sessionStorage.setItem(TOKEN_KEY, value),
  forget: () => sessionStorage.removeItem(TOKEN_KEY),
};

/** A problem (RFC 9457) as an error; its message is for people. */
export class Refused extends Error {
  constructor(status, { title = `HTTP ${status}`, detail, code } = {}) {
    const told = detail && detail !== title ? `${title}: ${detail}` : title;
    super(code ? `${told} (${code})` : told);
    this.status = status;
  }
}

/** Calls the engine; gives its JSON, or nothing where there is none. Throws `Refused`, or an error that says why not. */
export async function call(method, path, body) {
  const headers = body === undefined ? {} : { 'Content-Type': 'application/json' };
  const response = await send(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await response.text();
  return text === '' ? undefined : JSON.parse(text);
}

async function send(path, options) {
  const headers = { ...options.headers };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: 'no-store' });
  } catch {
    throw new Error('The engine cannot be reached');
  }
  if (response.ok) return response;
  const isProblem = response.headers.get('Content-Type')?.startsWith('application/problem+json');
  throw new Refused(response.status, isProblem ? await response.json().catch(() => ({})) : {});
}

/**
 * Follows the stream for as long as the page lives. `onTick(tick)`; `onGone(why)` when it ends or cannot begin, and it
 * is tried again; `askToken(why)` when a token is needed: gives a promise for when there is one.
 */
export async function follow({ onTick, onGone, askToken }) {
  for (let failures = 0; ; failures += 1) {
    try {
      await read((tick) => {
        failures = 0;
        onTick(tick);
      });
      onGone('The engine ended the stream');
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        await askToken(error.message);
        failures = -1;
        continue;
      }
      onGone(error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, backoffSeconds(failures) * 1000));
  }
}

/** Reads one stream to its end. */
async function read(onTick) {
  const silence = new AbortController();
  let timer;
  const listen = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MAX_MS);
  };
  const cut = () => {
    throw new Error(silence.signal.aborted ? 'The engine is silent' : 'The connection broke');
  };
  try {
    listen();
    const response = await send('/console/stream', { headers: { Accept: 'text/event-stream' }, signal: silence.signal });
    const [reader, parser] = [response.body.getReader(), new EventParser()];
    for (;;) {
      const { done, value } = await reader.read().catch(cut);
      if (done) return;
      listen();
      for (const { name, data } of parser.push(value)) if (name === 'tick') onTick(JSON.parse(data));
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}
