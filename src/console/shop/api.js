// The calls of the shop. An answer is a value, never thrown: `{ok: true, body, …}` or `{ok: false, status, problem}`,
// with status 0 where no answer came.

import { UNKNOWN_CLOCK, clockAheadMs, narrowedClock } from './rules.js';

/** How long one request may take. */
const PATIENCE_MS = 10_000;

/** How often a change is sent before a person is asked. */
const TRIES = 3;

/** How long it waits at most before that, whatever the server asks for. */
const WAIT_MS_MAX = 5_000;

/** A click this soon after the same one was carried out is its second half. */
const DOUBLE_CLICK_MS = 500;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Whether an answer says what became of a change. With none, and with 429 or 5xx, it may have been carried out or not. */
export function isSettled(status) {
  return status >= 200 && status < 500 && status !== 429;
}

/** Makes `attempt` until it is settled, at most `tries` times; waits as long as the server asks, else ever longer. */
export async function retried(attempt, { tries = TRIES, wait = pause, again = () => {} } = {}) {
  for (let made = 1; ; made += 1) {
    const answer = await attempt();
    if (isSettled(answer.status) || made >= tries) return answer;
    again();
    await wait(Math.min(answer.retryAfterMs || 400 * 2 ** made, WAIT_MS_MAX));
  }
}

/** The idempotency keys of what was asked for and has no known outcome yet. They outlive a reload of the page. */
export class Intents {
  #keys;
  #store;

  constructor(store) {
    this.#store = store;
    this.#keys = new Map(Object.entries(parsed(store.read('intents') ?? '') ?? {}));
  }

  /** Whether it was asked for before, and nobody knows what became of it. */
  isOpen(intent) {
    return this.#keys.has(intent);
  }

  /** The key of an intent: the same one until it is settled. */
  key(intent) {
    if (!this.#keys.has(intent)) this.#keys.set(intent, newKey());
    this.#save();
    return this.#keys.get(intent);
  }

  settle(intent) {
    this.#keys.delete(intent);
    this.#save();
  }

  #save() {
    this.#store.write('intents', JSON.stringify(Object.fromEntries(this.#keys)));
  }
}

/** Not `randomUUID`, which pages have on secure origins only. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (it) => it.toString(16).padStart(2, '0')).join('');
}

/** Texts that outlive the page, under names of ours. Where the browser keeps nothing, they last as long as the page. */
export function keeper(storage) {
  const kept = new Map();
  const tried = (use) => {
    try {
      return use(storage());
    } catch {
      return undefined;
    }
  };
  return {
    read: (name) => tried((it) => it.getItem(`firstcome.${name}`)) ?? kept.get(name),
    write(name, text) {
      kept.set(name, text);
      tried((it) => it.setItem(`firstcome.${name}`, text));
    },
  };
}

export class Api {
  #clock = UNKNOWN_CLOCK;
  #held = new Map();
  #running = new Map();

  /** `send` is `fetch`; `again` is called before a change is sent once more. */
  constructor({ send = (...call) => fetch(...call), store, language, again, wait = pause }) {
    Object.assign(this, { send, language, again, wait, intents: new Intents(store) });
  }

  /** The server's time. */
  nowMs() {
    return Date.now() + clockAheadMs(this.#clock);
  }

  /** One read. What the server has an ETag for is sent only when it has changed. */
  async get(url) {
    const held = this.#held.get(url);
    const answer = await this.#ask('GET', url, held ? { 'If-None-Match': held.etag } : {});
    if (answer.status === 304) return held;
    if (answer.ok && answer.etag) this.#held.set(url, answer);
    return answer;
  }

  /** The first `pages` pages of a list, and whether there are more. */
  async list(path, pages = 1) {
    const entries = [];
    let url = path;
    for (let page = 1; ; page += 1) {
      const answer = await this.get(url);
      if (!answer.ok) return answer;
      entries.push(...answer.body);
      if (!answer.next || page >= pages) return { ok: true, entries, more: Boolean(answer.next) };
      url = `${path.split('?')[0]}${answer.next}`;
    }
  }

  /** Safe to repeat without a key. */
  put(url) {
    return this.#ask('PUT', url);
  }

  /** A change, made once: tries share a key, and so does asking again after an outcome that nobody knows. */
  post(url, body) {
    const intent = `${url} ${JSON.stringify(body)}`;
    const running = this.#running.get(intent) ?? this.#change(intent, url, body);
    this.#running.set(intent, running);
    return running;
  }

  async #change(intent, url, body) {
    const wasOpen = this.intents.isOpen(intent);
    const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': this.intents.key(intent) };
    const attempt = () => this.#ask('POST', url, headers, JSON.stringify(body));
    const answer = await retried(attempt, { wait: this.wait, again: this.again });
    if (isSettled(answer.status)) this.intents.settle(intent);
    if (answer.ok) this.wait(DOUBLE_CLICK_MS).then(() => this.#running.delete(intent));
    else this.#running.delete(intent);
    // A replay of what this very call sent before is no news to anybody.
    return { ...answer, replayed: Boolean(answer.replayed && wasOpen) };
  }

  async #ask(method, url, headers = {}, body = undefined) {
    const sentMs = Date.now();
    try {
      const response = await this.send(url, {
        method,
        body,
        headers: { 'Accept-Language': this.language(), ...headers },
        // The page keeps its own ETags, and an answer out of a cache would have an old Date.
        cache: 'no-store',
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const [dateMs, gotMs] = [Date.parse(response.headers.get('Date')), Date.now()];
      if (dateMs) this.#clock = narrowedClock(this.#clock, dateMs, sentMs, gotMs);
      return answerOf(response, await response.text());
    } catch {
      return { ok: false, status: 0, problem: { code: 'network' } };
    }
  }
}

/** Throws where a success is not JSON: then something else than the shop has answered. */
function answerOf(response, text) {
  const { status, ok, headers } = response;
  const etag = headers.get('ETag');
  if (status === 304) return { ok: true, status, etag };
  if (ok) {
    const replayed = headers.get('Idempotency-Replayed') === 'true';
    return { ok, status, etag, replayed, body: JSON.parse(text), next: nextPage(headers.get('Link')) };
  }
  const retryAfterMs = Number(headers.get('Retry-After')) * 1000;
  return { ok, status, retryAfterMs, problem: problemOf(text) ?? { code: `http_${status}` } };
}

function problemOf(text) {
  const problem = parsed(text);
  return typeof problem?.code === 'string' ? problem : undefined;
}

function parsed(json) {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** The query of the next page. Its path is known; its origin may be another name of this server. */
export function nextPage(link) {
  const [, url] = /<([^>]*)>\s*;\s*rel="next"/.exec(link ?? '') ?? [];
  return url && url.slice(url.indexOf('?'));
}
