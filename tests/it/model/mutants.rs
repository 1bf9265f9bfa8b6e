//! Promise of the model test itself: a script that breaks a rule turns it red. Each mutant is one wrong line in one script.
//! A proxy in front of Redis calls the mutant in the script's place, so nothing is compiled anew.

use std::sync::Mutex;

use firstcome::cell::{CellId, Cells, Fence};
use firstcome::scripts::{Script, loaded_text};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::net::TcpListener;

use super::super::test_redis::stopped_redis;
use super::proxy::{Swap, proxy};
use super::rules::EPOCH;
use super::world::{STARTS_AT_MS, STREAM_BOUND, World};
use super::{SEQUENCES, fixed, run_sequences, runtime};

/// A script with something wrong in it: `from`, which it has once, is `to`.
pub struct Mutant {
    pub script: Script,
    pub wrong: &'static str,
    pub from: &'static str,
    pub to: &'static str,
}

/// Mutants at once.
const WORLDS: usize = 4;

#[rustfmt::skip]
const MUTANTS: &[Mutant] = &[
    Mutant { script: Script::BalanceCharge, wrong: "the limit itself is refused", from: "balance > tonumber(ARGV[3])", to: "balance >= tonumber(ARGV[3])" },
    Mutant { script: Script::BalanceCharge, wrong: "the key is not remembered", from: "if ARGV[5] ~= '' then\n  redis.call('SET'", to: "if false then\n  redis.call('SET'" },
    Mutant { script: Script::BalanceCharge, wrong: "a charge always creates the wallet", from: "if not held and ARGV[4] ~= '1' then", to: "if false then" },
    Mutant { script: Script::CouponIssue, wrong: "one more than there are", from: "if remaining < 0 then", to: "if remaining < -1 then" },
    Mutant { script: Script::CouponIssue, wrong: "issuing goes on at its end", from: "now_ms >= tonumber(coupon[3])", to: "now_ms > tonumber(coupon[3])" },
    Mutant { script: Script::CouponIssue, wrong: "twice to one user", from: "ARGV[2]) == 1 then return {'ALREADY_ISSUED'", to: "ARGV[2]) == 2 then return {'ALREADY_ISSUED'" },
    Mutant { script: Script::CouponIssue, wrong: "sold out before already issued", from: "if redis.call('HEXISTS', KEYS[5], ARGV[2]) == 1 then return {'ALREADY_ISSUED', '', 0} end\nlocal remaining = coupon[1] - 1\nif remaining < 0 then return {'SOLD_OUT', '', 0} end", to: "local remaining = coupon[1] - 1\nif remaining < 0 then return {'SOLD_OUT', '', 0} end\nif redis.call('HEXISTS', KEYS[5], ARGV[2]) == 1 then return {'ALREADY_ISSUED', '', 0} end" },
    Mutant { script: Script::CouponIssue, wrong: "the event hides a created wallet", from: "exists and 0 or 1", to: "0" },
    Mutant { script: Script::CouponSet, wrong: "what is issued comes back to the pool", from: "local remaining = ARGV[7] - issued", to: "local remaining = ARGV[7] - 0" },
    Mutant { script: Script::CouponForget, wrong: "what was set just now is forgotten", from: "math.max(coupon[1], coupon[2], coupon[3])", to: "math.max(coupon[1], coupon[2])" },
    Mutant { script: Script::CouponRelease, wrong: "the coupon stays held", from: "if issued_at then redis.call('HSET', KEYS[4]", to: "if false then redis.call('HSET', KEYS[4]" },
    Mutant { script: Script::CouponRelease, wrong: "an overdue order lets go", from: " or now_ms >= tonumber(expires_at) then", to: " then" },
    Mutant { script: Script::CouponRelease, wrong: "another order's coupon is freed", from: "if holder ~= ARGV[1] then issued_at = nil end", to: "" },
    Mutant { script: Script::KeyNote, wrong: "the key is not remembered", from: "redis.call('SET', KEYS[3]", to: "redis.call('ECHO', 'x') local _ = string.format('x', KEYS[3]" },
    Mutant { script: Script::KeyNote, wrong: "any request of the key is a replay", from: "~= ARGV[2] then return {'KEY_REUSED', ''} end", to: "== '' then return {'KEY_REUSED', ''} end" },
    Mutant { script: Script::OrderEnd, wrong: "the limit does not come back", from: "if born and placed_seq > tonumber(born) then", to: "if false then" },
    Mutant { script: Script::OrderEnd, wrong: "a new life's limit is touched", from: "if born and placed_seq > tonumber(born) then", to: "if born then" },
    Mutant { script: Script::OrderEnd, wrong: "one event too few makes stale", from: "seq > read_seq + 1)", to: "seq > read_seq + 2)" },
    Mutant { script: Script::OrderEnd, wrong: "an older epoch is not stale", from: "if epoch > read_epoch or", to: "if" },
    Mutant { script: Script::OrderEnd, wrong: "another order's coupon is freed", from: "if of == ARGV[1] then", to: "if of then" },
    Mutant { script: Script::OrderEnd, wrong: "the window's ranking is not corrected", from: "ipairs({hour_key, KEYS[6]})", to: "ipairs({hour_key})" },
    Mutant { script: Script::OrderEnd, wrong: "what left the ranking is taken out again", from: "if refunds and redis.call('ZSCORE', hour_key, member) then", to: "if refunds then" },
    Mutant { script: Script::OrderEnd, wrong: "a refund keeps the units", from: "  if sku_key then\n    redis.call('HINCRBY'", to: "  if sku_key and not refunds then\n    redis.call('HINCRBY'" },
    Mutant { script: Script::OrderEnd, wrong: "a refund pays the discount out", from: "'balance', string.format('%d', total - discount))", to: "'balance', string.format('%d', total))" },
    Mutant { script: Script::OrderEnd, wrong: "expires early", from: "if ARGV[2] == 'expired' and not is_due then", to: "if false then" },
    Mutant { script: Script::OrderEnd, wrong: "an overdue order is cancelled", from: "if ARGV[2] == 'cancelled' and is_due then", to: "if false then" },
    Mutant { script: Script::OrderEnd, wrong: "a second refund", from: "if status ~= (refunds and 'paid' or 'pending') then", to: "if not refunds and status ~= 'pending' then" },
    Mutant { script: Script::OrderEnd, wrong: "it stays due", from: "redis.call('ZREM', KEYS[4], ARGV[1])", to: "" },
    Mutant { script: Script::OrderEnd, wrong: "a stranger may end it", from: "if ARGV[3] ~= '' and ARGV[3] ~= user then return {'NOT_FOUND', ''} end", to: "" },
    Mutant { script: Script::OrderPay, wrong: "the least total is ignored", from: "if terms[4] and total < tonumber(terms[4]) then", to: "if false then" },
    Mutant { script: Script::OrderPay, wrong: "the replaced coupon is used up", from: "(coupon == held and 'used ' or 'issued ')", to: "'used '" },
    Mutant { script: Script::OrderPay, wrong: "paid at the deadline", from: "now_ms >= tonumber(expires_at)", to: "now_ms > tonumber(expires_at)" },
    Mutant { script: Script::OrderPay, wrong: "never settled, so its hash stays for good", from: "redis.call('ZADD', KEYS[6], seq, ARGV[1])", to: "" },
    Mutant { script: Script::OrderPay, wrong: "sold in the hour of placing", from: "math.floor(time[1] / 3600)", to: "math.floor(placed_at / 3600000)" },
    Mutant { script: Script::OrderPay, wrong: "another order's coupon is used", from: "if holder ~= ARGV[1] then held_since = nil end", to: "" },
    Mutant { script: Script::OrderPay, wrong: "the whole wallet cannot be spent", from: "if balance < 0 then", to: "if balance <= 0 then" },
    Mutant { script: Script::OrderPlace, wrong: "the limit counts one line at a time", from: "local had = limited[product] or tonumber(", to: "local had = tonumber(" },
    Mutant { script: Script::OrderPlace, wrong: "a percentage is rounded up", from: "(hundredfold - hundredfold % 100) / 100", to: "math.ceil(hundredfold / 100)" },
    Mutant { script: Script::OrderPlace, wrong: "a percentage has no bound", from: "if coupon[3] then discount", to: "if false then discount" },
    Mutant { script: Script::OrderPlace, wrong: "stock before the limit", from: "if over then return {'LIMIT_EXCEEDED', '', over, over_left} end\nif short then return {'OUT_OF_STOCK', '', short, short_left} end", to: "if short then return {'OUT_OF_STOCK', '', short, short_left} end\nif over then return {'LIMIT_EXCEEDED', '', over, over_left} end" },
    Mutant { script: Script::OrderPlace, wrong: "the last unit is kept", from: "if left < 0 and not short", to: "if left <= 0 and not short" },
    Mutant { script: Script::OrderPlace, wrong: "a pending order uses the coupon", from: "(later and 'held ' or 'used ')", to: "'used '" },
    Mutant { script: Script::OrderPlace, wrong: "sold at the end of the sale", from: "now_ms >= tonumber(sku[4])", to: "now_ms > tonumber(sku[4])" },
    Mutant { script: Script::OrderPlace, wrong: "a pending order needs money", from: "if balance < 0 and not later then", to: "if balance < 0 then" },
    Mutant { script: Script::OrderPlace, wrong: "the key is forgotten early", from: "string.format('%d', now_ms + ARGV[4])", to: "string.format('%d', now_ms + ARGV[4] - 1)" },
    Mutant { script: Script::ProductSet, wrong: "a change sets the stock anew", from: "known[2] or initial}", to: "initial}" },
    Mutant { script: Script::ProductSet, wrong: "options left out are still sold", from: "redis.call('HDEL', sku_key .. option, 'price',", to: "redis.call('HDEL', sku_key .. option," },
    Mutant { script: Script::ProductSet, wrong: "every change begins a new life", from: "local born = before[1] and before[3] or seq", to: "local born = seq" },
    Mutant { script: Script::ProductDelete, wrong: "what was bought is remembered", from: "{KEYS[3], KEYS[5], sku_key .. '0'}", to: "{KEYS[3], sku_key .. '0'}" },
    Mutant { script: Script::ProductRestock, wrong: "below zero", from: "if remaining < 0 or remaining", to: "if remaining" },
    Mutant { script: Script::RankingRoll, wrong: "the wrong sign", from: "integer(-sold[i + 1])", to: "integer(sold[i + 1] * 1)" },
    Mutant { script: Script::RankingRoll, wrong: "one hour too few", from: "/ 3600) - ARGV[1]", to: "/ 3600) - ARGV[1] - 1" },
    Mutant { script: Script::RankingTop, wrong: "an hour that left is shown", from: "if rolled_to and", to: "if false and" },
    Mutant { script: Script::OrdersDue, wrong: "the deadline itself is not due", from: "'-inf', now_ms, 'BYSCORE'", to: "'-inf', '(' .. now_ms, 'BYSCORE'" },
    Mutant { script: Script::EventsTrim, wrong: "an order's hash goes one event early", from: "'-inf', '(' .. before,", to: "'-inf', before," },
    Mutant { script: Script::UserCreate, wrong: "an existing wallet is emptied", from: "if balance then", to: "if false then" },
];

/// The script as the engine loads it.
fn loaded(body: &str) -> String {
    loaded_text(body, CellId(0), Cells::new(1).unwrap(), &Fence { epoch: EPOCH, replid: None }, STREAM_BOUND)
}

/// Tries mutants until none is left; the names of those that no sequence told from the script.
fn survivors(next: &Mutex<std::slice::Iter<'_, Mutant>>) -> Vec<String> {
    let (runtime, swap) = (runtime(), Swap::default());
    let world = runtime.block_on(async {
        let (redis, clock) = stopped_redis(STARTS_AT_MS).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let to = redis.url().trim_start_matches("redis://").trim_end_matches('/').to_owned();
        tokio::spawn(proxy(listener, to, swap.clone()));
        World::open(url, redis.into(), clock).await
    });
    let mut survivors = Vec::new();
    loop {
        let mutant = next.lock().unwrap().next();
        let Some(Mutant { script, wrong, from, to }) = mutant else { return survivors };
        let name = format!("{}: {wrong}", script.stem());
        assert_eq!(script.text().matches(from).count(), 1, "{name}: {from}");
        let called = redis::Script::new(&loaded(script.text())).get_hash().to_owned();
        let instead = runtime.block_on(async {
            let mut connection = world.connection.clone();
            let mut exists = redis::cmd("SCRIPT");
            exists.arg("EXISTS").arg(&called);
            let exists: (bool,) = exists.query_async(&mut connection).await.unwrap();
            assert!(exists.0, "{name}: the script is loaded in another form");
            let text = loaded(&script.text().replace(from, to));
            redis::cmd("SCRIPT").arg("LOAD").arg(text).query_async::<String>(&mut connection).await.unwrap()
        });
        *swap.lock().unwrap() = [(called, instead)].into();
        // Always the same sequences: a mutant is found in every run or in none.
        let config =
            Config { cases: SEQUENCES, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let by_fixed = fixed::run_all(&world, &runtime).is_err();
        if by_fixed {
            println!("by a fixed sequence: {name}");
        } else {
            match run_sequences(&world, &runtime, runner) {
                (tally, Err(_)) => println!("after {:4} sequences: {name}", tally.sequences),
                (_, Ok(())) => {
                    println!("survives: {name}");
                    survivors.push(name);
                }
            }
        }
        swap.lock().unwrap().clear();
    }
}

#[test]
fn every_mutant_is_found() {
    let next = Mutex::new(MUTANTS.iter());
    let survivors: Vec<String> = std::thread::scope(|threads| {
        let worlds: Vec<_> = (0..WORLDS).map(|_| threads.spawn(|| survivors(&next))).collect();
        worlds.into_iter().flat_map(|it| it.join().expect("a survivor is a result")).collect()
    });
    assert!(survivors.is_empty(), "nobody notices: {survivors:#?}");
}
