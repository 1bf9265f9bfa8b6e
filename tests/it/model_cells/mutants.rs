//! Promise of this test itself: a script that breaks a rule turns it red. Each mutant is one wrong line in one script.

use std::sync::Mutex;

use firstcome::cell::{CellId, Fence};
use firstcome::scripts::{Script, loaded_text};
use tokio::net::TcpListener;

use super::super::model::mutants::Mutant;
use super::super::model::proxy::{Swap, proxy};
use super::super::model::runtime;
use super::super::test_redis::stopped_redis;
use super::rules::cells;
use super::run::{Carriers, EPOCHS_MAX};
use super::world::{STARTS_AT_MS, STREAM_BOUND, World};
use super::{SEQUENCES, always_the_same, run_sequences};

/// Mutants at once.
const WORLDS: usize = 3;

#[rustfmt::skip]
const MUTANTS: &[Mutant] = &[
    Mutant { script: Script::QuotaTake, wrong: "units come twice", from: "if tonumber(number) >= tonumber(ARGV[4]) then return {'ALREADY', epoch .. '-' .. seq} end\nif number + 1 ~= tonumber(ARGV[4]) then return {'OUT_OF_TURN', ''} end", to: "" },
    Mutant { script: Script::QuotaTake, wrong: "any number is taken", from: "if number + 1 ~= tonumber(ARGV[4]) then return {'OUT_OF_TURN', ''} end", to: "" },
    Mutant { script: Script::QuotaTake, wrong: "units of an earlier life are taken", from: "if life > tonumber(ARGV[3]) then return {'VOID', ''} end", to: "" },
    Mutant { script: Script::QuotaTake, wrong: "units of a later life are taken", from: "if life < tonumber(ARGV[3]) then return {'UNKNOWN', ''} end", to: "if not pool[2] then return {'UNKNOWN', ''} end" },
    Mutant { script: Script::QuotaTake, wrong: "what came does not count as moved", from: "redis.call('HINCRBY', KEYS[3], 'moved', ARGV[5])", to: "" },
    Mutant { script: Script::QuotaTake, wrong: "the number is forgotten", from: "redis.call('HSET', KEYS[4], 'in' .. ARGV[2]", to: "redis.call('HSET', KEYS[4], 'on' .. ARGV[2]" },
    Mutant { script: Script::QuotaTake, wrong: "nothing is held", from: "if ARGV[6] ~= '0' then", to: "if false then" },
    Mutant { script: Script::QuotaGive, wrong: "a recall does not look at what is under way", from: "if redis.call('SISMEMBER'", to: "if ARGV[5] ~= '0' and redis.call('SISMEMBER'" },
    Mutant { script: Script::QuotaGive, wrong: "the home does not look at what is under way", from: "if redis.call('SISMEMBER'", to: "if ARGV[5] == '0' and redis.call('SISMEMBER'" },
    Mutant { script: Script::QuotaGive, wrong: "what went does not count as moved", from: "redis.call('HINCRBY', KEYS[3], 'moved', minus)", to: "" },
    Mutant { script: Script::QuotaGive, wrong: "no event", from: "redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'quota_given:1', ", to: "(function() return EPOCH .. '-999' end)(" },
    Mutant { script: Script::QuotaGive, wrong: "whoever comes is served first", from: "local free = remaining - before", to: "local free = remaining" },
    Mutant { script: Script::QuotaGive, wrong: "what is held is recalled", from: "if now_ms < tonumber(redis.call('HGET', KEYS[4], 'hold') or '0') then", to: "if false then" },
    Mutant { script: Script::QuotaGive, wrong: "more than there is", from: "given = math.min(free, waiting", to: "given = math.max(free, waiting" },
    Mutant { script: Script::QuotaGive, wrong: "who was served stays in line", from: "if waiting then\n", to: "if false then\n" },
    Mutant { script: Script::QuotaGive, wrong: "a part is given while cells wait", from: "waiting and wanted or math.max(", to: "math.max(" },
    Mutant { script: Script::QuotaGive, wrong: "the arrival is not waited for", from: "redis.call('SADD', KEYS[5], ARGV[1] .. ' ' .. to)", to: "" },
    Mutant { script: Script::QuotaSettle, wrong: "a newer transfer is forgotten", from: "number ~= ARGV[3] or ", to: "" },
    Mutant { script: Script::QuotaSettle, wrong: "a transfer of a later life is forgotten", from: "if redis.call('HGET', KEYS[5], 'life') ~= ARGV[4] then return {'OTHER'} end", to: "" },
    Mutant { script: Script::QuotaAsk, wrong: "who asks again goes to the end", from: "'NX', ", to: "" },
    Mutant { script: Script::QuotaAsk, wrong: "ready before one's turn", from: "if pool[1] - before >=", to: "if tonumber(pool[1]) >=" },
    Mutant { script: Script::QuotaAsk, wrong: "a question counts for ever", from: "if now_ms < tonumber(ends) then", to: "if true then" },
    Mutant { script: Script::QuotaAsk, wrong: "nobody can leave the line", from: "if ARGV[3] == '0' then", to: "if false then" },
    Mutant { script: Script::QuotaAsk, wrong: "whose turn it is loses its place", from: "if has_place then counts_for(ARGV[3] / 5) end", to: "redis.call('ZREM', KEYS[5], ARGV[1])" },
    Mutant { script: Script::QuotaGive, wrong: "too few are given", from: "if given < least then return {'WAIT', 0, 0, '', life, 1} end", to: "" },
    Mutant { script: Script::QuotaRead, wrong: "increases are not told", from: "'increases', 'life')", to: "'increased', 'life')" },
    Mutant { script: Script::QuotaGifts, wrong: "a campaign's are not told", from: "(kind == 's' and 'sku:' or 'coupon:')", to: "'sku:'" },
    Mutant { script: Script::OrderEnd, wrong: "what comes back is no increase", from: "if CELLS > 1 then redis.call('HINCRBY', sku_key, 'increases', '1') end", to: "" },
    Mutant { script: Script::ProductRestock, wrong: "what is put in is no increase", from: "if CELLS > 1 then redis.call('HINCRBY', KEYS[3], 'increases', '1') end", to: "" },
    Mutant { script: Script::ProductRestock, wrong: "what moved counts twice", from: "ARGV[9] - (sku[4] or 0)", to: "tonumber(ARGV[9])" },
    Mutant { script: Script::ProductDelete, wrong: "its transfers stay under way", from: "redis.call('SREM', KEYS[6], gift)", to: "" },
    Mutant { script: Script::ProductDelete, wrong: "its numbers stay", from: "keys[#keys + 1] = tag .. 'quota:' .. pool", to: "" },
    Mutant { script: Script::ProductDelete, wrong: "a newer one goes", from: "if ARGV[3] ~= '' and tonumber(product[5])", to: "if false and tonumber(product[5])" },
    Mutant { script: Script::ProductSet, wrong: "an older copy overwrites a newer one", from: "if tonumber(before[4]) >= tonumber(version) then", to: "if false then" },
    Mutant { script: Script::ProductSet, wrong: "units of an earlier life stay", from: "if before[5] ~= life then", to: "if false then" },
    Mutant { script: Script::CouponSet, wrong: "a copy has units of its own", from: "remaining = tonumber(before[2] or '0')", to: "" },
    Mutant { script: Script::CouponSet, wrong: "what is put in is no increase", from: "redis.call('HINCRBY', KEYS[3], 'increases', '1')", to: "" },
    Mutant { script: Script::CouponForget, wrong: "its transfers stay under way", from: "redis.call('SREM', KEYS[6]", to: "redis.call('SISMEMBER', KEYS[6]" },
    Mutant { script: Script::CopiesMade, wrong: "a later change is forgotten", from: "if redis.call('ZSCORE', KEYS[3], ARGV[1]) ~= ARGV[2] then return {'CHANGED'} end", to: "" },
];

/// The script as the engine loads it.
fn loaded(body: &str, cell: CellId, epoch: u64) -> String {
    loaded_text(body, cell, cells(), &Fence { epoch, replid: None }, STREAM_BOUND)
}

/// Has the mutant called in the script's place, in all cells and epochs.
async fn put_in_place(world: &World, swap: &Swap, mutant: &Mutant, name: &str) {
    let Mutant { script, from, to, .. } = mutant;
    assert_eq!(script.text().matches(from).count(), 1, "{name}: {from}");
    let mut connection = world.connection(CellId(0));
    swap.lock().unwrap().clear();
    for (cell, epoch) in cells().all().flat_map(|cell| (1..=EPOCHS_MAX).map(move |epoch| (cell, epoch))) {
        let called = redis::Script::new(&loaded(script.text(), cell, epoch)).get_hash().to_owned();
        let text = loaded(&script.text().replace(from, to), cell, epoch);
        let mut load = redis::cmd("SCRIPT");
        let instead = load.arg("LOAD").arg(text).query_async::<String>(&mut connection).await.unwrap();
        swap.lock().unwrap().insert(called, instead);
    }
}

/// Tries mutants until none is left; the names of those that no sequence told from the script.
fn survivors(next: &Mutex<std::slice::Iter<'_, Mutant>>) -> Vec<String> {
    let (runtime, swap) = (runtime(), Swap::default());
    let world = runtime.block_on(async {
        let (redis, clock) = stopped_redis(STARTS_AT_MS).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let world = World::open(url, redis.into(), clock).await;
        tokio::spawn(proxy(listener, world.address(), swap.clone()));
        world
    });
    let mut survivors = Vec::new();
    loop {
        let mutant = next.lock().unwrap().next();
        let Some(mutant) = mutant else { return survivors };
        let name = format!("{}: {}", mutant.script.stem(), mutant.wrong);
        runtime.block_on(put_in_place(&world, &swap, mutant, &name));
        let runner = always_the_same(SEQUENCES);
        match run_sequences(&world, None, Carriers::KeepTheRules, &runtime, runner) {
            (tally, Err(_)) => println!("after {:4} sequences: {name}", tally.sequences),
            (_, Ok(())) => {
                println!("survives: {name}");
                survivors.push(name);
            }
        }
    }
}

#[test]
fn every_mutant_of_several_cells_is_found() {
    let next = Mutex::new(MUTANTS.iter());
    let survivors: Vec<String> = std::thread::scope(|threads| {
        let worlds: Vec<_> = (0..WORLDS).map(|_| threads.spawn(|| survivors(&next))).collect();
        worlds.into_iter().flat_map(|it| it.join().expect("a survivor is a result")).collect()
    });
    assert!(survivors.is_empty(), "nobody notices: {survivors:#?}");
}
