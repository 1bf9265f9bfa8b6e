// The engine over HTTP: one request, and one with its retries. Every answer is compared with the contract's shape.

import http from 'k6/http';
import { sleep } from 'k6';
import { expect, retried, shed, unresolved } from './counts.js';
import { BASE_URL, BATCH, PATIENCE_SECONDS, TIMEOUT_SECONDS, TOKEN } from './settings.js';

// A refusal is an answer: only what no buyer should meet counts as failed in k6's own http_req_failed.
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 399 }, 400, 404, 409, 422));

/**
 * @typedef {object} Answer
 * @property {number} status  0: none came
 * @property {string} code  of a problem; '' of a success; 'no_answer'
 * @property {any} body  parsed; undefined where there is none
 * @property {string} text  the body as it came
 * @property {Record<string, string>} headers
 * @property {boolean} isUnknown  nobody knows whether the request was carried out
 * @property {boolean} mayPass  the same request can be sent again, and then may be answered
 * @property {boolean} gaveUp  `mayPass`, and patience has run out
 */

/**
 * @typedef {object} Request
 * @property {string} method
 * @property {string} path
 * @property {string} name  the operation; latencies are told by it
 * @property {any} [body]
 * @property {string} [key]  the Idempotency-Key
 * @property {Record<string, string>} [headers]
 * @property {'buyer' | 'run'} [by]  `run`: of setup and teardown, which no bound of latency counts
 * @property {number} [patienceSeconds]
 * @property {number} [timeoutSeconds]
 */

/**
 * Sends a request once.
 *
 * @param {Request} request
 * @returns {Answer}
 */
export function send(request) {
  const { method, url, body, params } = prepared(request);
  return answerOf(http.request(method, url, body, params));
}

/**
 * Reads. Sends the request again while it is answered 429, 503 or not at all.
 *
 * @param {string} path
 * @param {string} name
 * @param {Partial<Request>} [more]
 * @returns {Answer}
 */
export function read(path, name, more = {}) {
  const request = { method: 'GET', path, name, ...more };
  return patiently(request, send(request));
}

/**
 * Reads many at once. The answers are in the order of the paths.
 *
 * @param {string[]} paths
 * @param {string} name
 * @returns {Answer[]}
 */
export function readAll(paths, name) {
  return sendAll(paths.map((path) => ({ method: 'GET', path, name, by: 'run' })));
}

/**
 * Sends many requests at once, each of which can be sent again. The answers are in the order of the requests.
 *
 * @param {Request[]} requests
 * @returns {Answer[]}
 */
export function sendAll(requests) {
  /** @type {Answer[]} */
  const answers = [];
  const until = Date.now() + PATIENCE_SECONDS * 1000;
  let open = requests.map((request, index) => ({ request, index }));
  for (;;) {
    for (let from = 0; from < open.length; from += BATCH) {
      const some = open.slice(from, from + BATCH);
      const responses = http.batch(some.map((it) => prepared(it.request)));
      some.forEach(({ index }, at) => {
        answers[index] = answerOf(/** @type {import('k6/http').Response} */ (responses[at]));
      });
    }
    open = open.filter(({ index }) => answers[index]?.mayPass);
    const first = answers[open[0]?.index ?? -1];
    if (first === undefined) {
      return answers;
    }
    if (Date.now() >= until) {
      open.forEach(({ index }) => Object.assign(answers[index] ?? {}, { gaveUp: true }));
      return answers;
    }
    retried.add(open.length, { why: first.code });
    sleep(pauseSeconds(first));
  }
}

/**
 * Changes something. After 429, 503 or no answer it asks again under the same key, so that it is done once, and its
 * outcome becomes known. A request that surely did nothing is given up when its patience ends; one that may have been
 * carried out is asked for no less than PATIENCE.
 *
 * @param {Request} request  with a key, or one that may be sent twice
 * @returns {Answer}
 */
export function change(request) {
  unresolved.add(1);
  const answer = patiently(request, send(request));
  if (!answer.isUnknown) {
    unresolved.add(-1);
  }
  return answer;
}

/**
 * @param {Request} request
 * @param {Answer} first
 * @returns {Answer} `isUnknown`: even now
 */
function patiently(request, first) {
  const { patienceSeconds = PATIENCE_SECONDS } = request;
  const began = Date.now();
  let answer = first;
  // An attempt that came to nothing says nothing of one before it. A read changes nothing, so it has no such doubt.
  let isUnknown = false;
  while (answer.mayPass) {
    isUnknown = isUnknown || (answer.isUnknown && request.method !== 'GET');
    const patience = isUnknown ? Math.max(patienceSeconds, PATIENCE_SECONDS) : patienceSeconds;
    if (Date.now() >= began + patience * 1000) {
      if (!isUnknown) {
        shed.add(1);
      }
      return { ...answer, isUnknown, gaveUp: true };
    }
    retried.add(1, { why: answer.code });
    sleep(pauseSeconds(answer));
    answer = send(request);
  }
  return answer;
}

/**
 * @param {Answer} answer
 * @returns {number} what the answer asks to wait, and up to half as much more, so that not all come back at once
 */
function pauseSeconds(answer) {
  const askedSeconds = Number(answer.headers['Retry-After']) || 0.5;
  return Math.min(askedSeconds, 10) * (1 + Math.random() / 2);
}

/**
 * @param {Request} request
 * @returns {{ method: string, url: string, body: string | null, params: import('k6/http').RefinedParams<'text'> }}
 */
function prepared({ method, path, name, body, key, headers = {}, by = 'buyer', timeoutSeconds = TIMEOUT_SECONDS }) {
  /** @type {Record<string, string>} */
  const all = { ...headers };
  if (body !== undefined) {
    all['Content-Type'] = 'application/json';
  }
  if (key !== undefined) {
    all['Idempotency-Key'] = key;
  }
  if (TOKEN) {
    all['Authorization'] = `Bearer ${TOKEN}`;
  }
  const params = { headers: all, tags: { name, by }, timeout: timeoutSeconds * 1000, redirects: 0 };
  return {
    method,
    url: BASE_URL + path,
    body: body === undefined ? null : JSON.stringify(body),
    params: { ...params, responseType: /** @type {const} */ ('text') },
  };
}

/**
 * @param {import('k6/http').Response} response
 * @returns {Answer}
 */
function answerOf(response) {
  const { status, headers } = response;
  const text = typeof response.body === 'string' ? response.body : '';
  if (status === 0 || status === 502 || status === 504) {
    // No answer, or one by a proxy that had none.
    const code = 'no_answer';
    return { status, code, body: undefined, text, headers, isUnknown: true, mayPass: true, gaveUp: false };
  }
  const body = parsed(text);
  const fault = faultOf(status, headers, body);
  expect('every answer has the shape of the contract', fault === '', () => {
    const { method, url } = response.request;
    return { fault, status, text: text.slice(0, 200), request: `${method} ${url}` };
  });
  return {
    status,
    code: status < 400 ? '' : String(body?.code ?? status),
    body,
    text,
    headers,
    isUnknown: status === 500 || body?.outcome === 'unknown',
    mayPass: status === 429 || status === 503 || status === 500,
    gaveUp: false,
  };
}

/** @param {string} text */
function parsed(text) {
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch (_) {
    return undefined;
  }
}

/**
 * @param {number} status
 * @param {Record<string, string>} headers
 * @param {any} body
 * @returns {string} what is wrong with an answer, whatever was asked; '' for nothing
 */
function faultOf(status, headers, body) {
  const id = headers['X-Request-Id'];
  if (!id) {
    return 'no X-Request-Id';
  }
  if (status < 400) {
    return status === 204 || status === 304 || body !== undefined ? '' : 'not JSON';
  }
  if (!(headers['Content-Type'] || '').startsWith('application/problem+json') || !body) {
    return 'not a problem document';
  }
  if (body.status !== status || body.requestId !== id || !String(body.type).endsWith(`/problems/${body.code}`)) {
    return 'status, requestId or type do not fit the code';
  }
  if (!body.title || !body.detail) {
    return 'no title or no detail';
  }
  if ((status === 429 || status === 503) && !/^[1-9]\d*$/.test(headers['Retry-After'] || '')) {
    return 'no Retry-After';
  }
  return status >= 500 && status !== 503 ? 'an error of the server' : '';
}
