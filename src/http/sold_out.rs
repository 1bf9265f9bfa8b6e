//! Sold-out memory: what scripts told this node a moment ago, it says by itself, without Redis.
//!
//! Only in a rush, and only that *nothing* is left. docs/decisions/0021 says what that changes, and why it is right.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::AppState;
use crate::cell::splitmix64;
use crate::config::Settings;
use crate::idempotency::Idempotency;
use crate::ids::{ProductId, UserId};
use crate::pool::Pool;
use crate::product::SkuId;
use crate::scripts::ScriptError;
use crate::scripts::idempotency_read::{IdempotencyRead, idempotency_read};

/// How many callers who were not alone scripts must refuse within the time of the memory, before it begins. Low enough
/// that a rush pays for it within a millisecond; high enough that a few buyers who meet by chance hear the script, and so
/// the first refusal in the contract's order.
const RUSH: u32 = 16;

/// Things that can be remembered at once, in some 400 KB. Each has one place; of two things with the same place the one
/// that came first is remembered, and the other one asks Redis.
const PLACES: usize = 4_096;

/// Where a pool is remembered.
fn place_of(pool: Pool) -> usize {
    let mixed = match pool {
        Pool::Stock(SkuId { product, option }) => splitmix64(splitmix64(product.get()) ^ option.get()),
        Pool::Coupon(coupon) => splitmix64(!coupon.get()),
    };
    mixed as usize % PLACES
}

/// When a request asks, and in which epochs of its cells its node works then.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    at: Instant,
    epochs: u64,
}

impl Asking {
    /// Taken before a script is called, so that what the script says was true at that moment or later.
    pub fn now(app: &AppState) -> Self {
        Self { at: Instant::now(), epochs: app.scripts.epochs() }
    }
}

/// The memory of one node.
pub struct SoldOut {
    began: Instant,
    lasts: Duration,
    /// Empty where the memory is switched off.
    places: Box<[Place]>,
    stock_answers: metrics::Counter,
    coupon_answers: metrics::Counter,
}

#[derive(Default)]
struct Place {
    /// Read without a lock.
    known: ArcSwapOption<Known>,
    /// When anybody last heard that the thing is sold out, from a script or from memory; in nanoseconds since the
    /// memory began, 0: never. Who has asked before that was not alone.
    last_heard_ns: AtomicU64,
    told: Mutex<Told>,
}

/// That a thing is sold out.
struct Known {
    thing: Pool,
    epochs: u64,
    until: Instant,
    /// From then on one request asks the script, while the others go on hearing this.
    probe_from: Instant,
    is_probed: AtomicBool,
}

/// What scripts told of the thing that has a place.
#[derive(Default)]
struct Told {
    thing: Option<Pool>,
    /// The newest call that was told.
    newest: Option<Instant>,
    /// The first call that is counted, and the number of those.
    since: Option<Instant>,
    count: u32,
    /// What was asked until then may be over.
    forgotten: Option<Instant>,
}

impl SoldOut {
    pub fn new(settings: &Settings) -> Self {
        const ANSWERS: &str = "firstcome_sold_out_from_memory_total";
        metrics::describe_counter!(ANSWERS, "Requests that were told \"sold out\" without asking Redis");
        let [stock_answers, coupon_answers] = ["stock", "coupon"].map(|kind| {
            let count = metrics::counter!(ANSWERS, "kind" => kind);
            count.increment(0);
            count
        });
        let lasts = Duration::from_millis(settings.sold_out_memory_ms);
        let places = if lasts.is_zero() { 0 } else { PLACES };
        Self {
            began: Instant::now(),
            lasts,
            places: (0..places).map(|_| Place::default()).collect(),
            stock_answers,
            coupon_answers,
        }
    }

    /// Until when the node may say that nothing is left, where it knows that at this moment. `None`, too, for the one who is
    /// to ask anew.
    fn knows(&self, thing: Pool, asking: Asking) -> Option<Instant> {
        let known = self.place(thing)?.known.load();
        let known = known.as_ref().filter(|it| it.thing == thing && asking.epochs == it.epochs)?;
        let holds = asking.at < known.until
            && (asking.at < known.probe_from || known.is_probed.swap(true, Ordering::Relaxed));
        holds.then_some(known.until)
    }

    /// A caller is told from memory.
    fn answers(&self, thing: Pool, now: Instant) {
        if let Some(place) = self.place(thing) {
            place.last_heard_ns.store(self.nanos(now), Ordering::Relaxed);
        }
        match thing {
            Pool::Stock(_) => self.stock_answers.increment(1),
            Pool::Coupon(_) => self.coupon_answers.increment(1),
        }
    }

    /// A script that was called at `asking` has said that nothing is left.
    pub fn told(&self, thing: Pool, asking: Asking) {
        self.told_at(thing, asking, Instant::now());
    }

    fn told_at(&self, thing: Pool, asking: Asking, now: Instant) {
        let (Some(place), epochs) = (self.place(thing), asking.epochs) else { return };
        let mut told = place.told.lock().expect("no panic while held");
        if told.forgotten.is_some_and(|it| asking.at <= it) {
            return;
        }
        if told.thing != Some(thing) {
            if told.newest.is_some_and(|it| now < it + self.lasts) {
                return;
            }
            *told = Told { thing: Some(thing), forgotten: told.forgotten, ..Told::default() };
            place.last_heard_ns.store(0, Ordering::Relaxed);
        }
        told.newest = told.newest.max(Some(asking.at));
        // Who asks one by one, however fast, asks again only after the answer.
        let was_alone = self.nanos(asking.at) >= place.last_heard_ns.load(Ordering::Relaxed);
        place.last_heard_ns.store(self.nanos(now), Ordering::Relaxed);
        if was_alone {
            return;
        }
        if told.since.is_none_or(|it| asking.at > it + self.lasts) {
            (told.since, told.count) = (Some(asking.at), 0);
        }
        told.count += 1;
        let known = place.known.load();
        let known = known.as_ref().filter(|it| it.thing == thing && it.epochs == epochs);
        let until = asking.at + self.lasts;
        let goes_on = known.is_some_and(|it| asking.at < it.until);
        if (goes_on || told.count >= RUSH) && known.is_none_or(|it| it.until < until) {
            let probe_from = asking.at + self.lasts / 2;
            let is_probed = AtomicBool::new(false);
            place.known.store(Some(Known { thing, epochs, until, probe_from, is_probed }.into()));
        }
    }

    /// There may be units again: nothing that was asked until now counts.
    pub fn forget(&self, thing: Pool) {
        let Some(place) = self.place(thing) else { return };
        let mut told = place.told.lock().expect("no panic while held");
        told.forgotten = Some(Instant::now());
        (told.since, told.count) = (None, 0);
        place.known.store(None);
    }

    /// The same for all that is sold of a product.
    pub fn forget_product(&self, product: ProductId) {
        for place in &self.places {
            let thing = place.told.lock().expect("no panic while held").thing;
            if let Some(thing) = thing.filter(|it| matches!(it, Pool::Stock(sku) if sku.product == product)) {
                self.forget(thing);
            }
        }
    }

    fn place(&self, thing: Pool) -> Option<&Place> {
        self.places.get(place_of(thing))
    }

    fn nanos(&self, at: Instant) -> u64 {
        at.duration_since(self.began).as_nanos() as u64
    }
}

/// Whether a user who asks for nothing but this thing is to hear that it is sold out, without a script. A request with
/// a key hears it only where the key has no record: whoever bought the last unit and lost the reply is told of that.
pub async fn is_sold_out(
    app: &AppState,
    thing: Pool,
    user: UserId,
    idempotency: Option<&Idempotency>,
) -> Result<bool, ScriptError> {
    let mut asking = Asking::now(app);
    let Some(until) = app.sold_out.knows(thing, asking) else { return Ok(false) };
    if let Some(idempotency) = idempotency {
        match idempotency_read(&app.scripts, app.scripts.cells().of_user(user), Some(user), idempotency)
            .await?
        {
            IdempotencyRead::Unused => {}
            IdempotencyRead::KeyReused | IdempotencyRead::Replayed { .. } => return Ok(false),
        }
        asking = Asking::now(app);
        // The time is still that of before the look-up: what was learnt since may follow from this very key's request.
        if asking.at >= until || app.sold_out.knows(thing, asking).is_none() {
            return Ok(false);
        }
    }
    app.sold_out.answers(thing, asking.at);
    Ok(true)
}

#[cfg(test)]
mod tests;
