-- wrk: purchases of one unit by users 1 to USERS (environment), each request by a random one.
-- KEYS=1: half of the requests carry an idempotency key of their own.
local users = tonumber(os.getenv('USERS') or '10000')
local product = os.getenv('PRODUCT') or '1'
local with_keys = os.getenv('KEYS') == '1'
local thread, sent = 0, 0
local threads = {}

function setup(t)
  t:set('thread', #threads)
  threads[#threads + 1] = t
end

function init()
  math.randomseed(os.time() + thread * 7919)
  wrk.method = 'POST'
  wrk.headers['Content-Type'] = 'application/json'
  not_created = 0
end

function request()
  sent = sent + 1
  local body = string.format('{"userId":%d,"items":[{"productId":%s,"quantity":1}]}', math.random(users), product)
  local headers = wrk.headers
  if with_keys and sent % 2 == 0 then
    headers = { ['Content-Type'] = 'application/json', ['Idempotency-Key'] = string.format('%d-%d-%d', os.time(), thread, sent) }
  end
  return wrk.format('POST', '/orders', headers, body)
end

function response(status)
  if status ~= 201 then not_created = not_created + 1 end
end

function done(summary, latency)
  local refused = 0
  for _, t in ipairs(threads) do refused = refused + t:get('not_created') end
  local created = summary.requests - refused
  io.write(string.format('RESULT created_per_s %.0f not_created %d errors %d p50_ms %.2f p99_ms %.2f p999_ms %.2f\n',
    created / (summary.duration / 1e6), refused,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000))
end
