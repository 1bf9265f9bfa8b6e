//! Runs a sequence on the real scripts and on the model, and compares all that there is.

use std::time::Duration;

use firstcome::cell::CellId;
use firstcome::coupon::{CouponDescription, Discount, IssueId};
use firstcome::event::Event;
use firstcome::idempotency::Fingerprint;
use firstcome::ids::OptionId;
use firstcome::order::{OrderItem, merge_items};
use firstcome::scripts::balance_get::balance_get;
use firstcome::scripts::clock_read::clock_read;
use firstcome::scripts::coupon_forget::{Forgetting, coupon_forget};
use firstcome::scripts::coupon_list::coupon_list;
use firstcome::scripts::coupon_set::coupon_set;
use firstcome::scripts::events_read::events_read;
use firstcome::scripts::events_trim::events_trim;
use firstcome::scripts::idempotency_read::idempotency_read;
use firstcome::scripts::order_end::OrderEnding;
use firstcome::scripts::order_get::{OrderGet, order_get};
use firstcome::scripts::orders_due::orders_due;
use firstcome::scripts::product_delete::{Deletion, product_delete};
use firstcome::scripts::product_list::{Which, product_list};
use firstcome::scripts::product_set::{ProductDescription, SkuDescription, product_set};
use firstcome::scripts::ranking_roll::ranking_roll;
use firstcome::scripts::ranking_top::ranking_top;
use firstcome::scripts::user_create::user_create;
use proptest::test_runner::TestCaseError;

use super::operations::{Asker, Cut, Operation, Read};
use super::outcomes::Seen;
use super::picks::{coupon_id, sku, user};
use super::requests::{Asked, Request};
use super::rules::{EPOCH, Model};
use super::world::World;

const CELL: CellId = CellId(0);

/// How long a step may take before it is taken for endless. Generous: a slow machine fails no test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sequence on its way.
pub struct Run<'a> {
    pub world: &'a World,
    pub model: Model,
    /// Requests that had a key, the newest last.
    pub keyed: Vec<Request>,
    /// What the scripts answered so far.
    pub seen: Seen,
}

impl<'a> Run<'a> {
    /// Takes a sequence from an empty shop to its end.
    pub async fn all(world: &'a World, operations: &[Operation]) -> Result<Seen, TestCaseError> {
        let model = world.begin().await;
        let mut run = Run { world, model, keyed: Vec::new(), seen: Seen::new() };
        // As a worker does when it starts.
        run.step(&Operation::Roll).await?;
        for (index, operation) in operations.iter().enumerate() {
            let step = tokio::time::timeout(PATIENCE, run.step(operation)).await;
            let done = step.unwrap_or_else(|_| Err(TestCaseError::fail("no end of it")));
            done.map_err(|error| at(index, operation, &error))?;
        }
        run.compare_events().await?;
        let (held, expected) = (world.keys().await, run.model.expected_keys());
        for key in held.keys().chain(expected.keys()) {
            same("what Redis holds at the end", key, held.get(key), expected.get(key))?;
        }
        Ok(run.seen)
    }

    async fn step(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        let scripts = &self.world.scripts;
        match operation.clone() {
            Operation::CreateUser { user: id } => {
                let told = self.model.user_create(user(id));
                self.check(user_create(scripts, user(id)).await, told)
            }
            Operation::Charge { user: id, amount, create, key } => {
                self.ask(Asked::Charge { user: user(id), amount, create }, Asker::Anybody, key).await
            }
            Operation::SetProduct { product, options, price, stock, window, limit } => {
                let described = |(index, option): (usize, u64)| SkuDescription {
                    option: OptionId::new(option).expect("small"),
                    name: format!("option {option} at {price}"),
                    // So that the cheapest is not always the first.
                    price: if index == 1 { price / 2 } else { price },
                    stock,
                };
                let set = ProductDescription {
                    id: sku(product, 0).product,
                    name: format!("product {product} of \"{price}\""),
                    starts_at_ms: window.0.map(|it| self.model.now_ms + it),
                    ends_at_ms: window.1.map(|it| self.model.now_ms + it),
                    limit_per_user: limit,
                    skus: options.into_iter().enumerate().map(described).collect(),
                };
                let told = self.model.product_set(&set);
                self.check(product_set(scripts, CELL, &set, None).await, told)
            }
            Operation::Restock { product, option, delta, key } => {
                let sku = self.model.sku(product, option);
                self.ask(Asked::Restock { sku, delta }, Asker::Anybody, key).await
            }
            Operation::DeleteProduct { product, ended_ago_ms } => {
                let before_ms = ended_ago_ms.map(|it| self.model.now_ms - it);
                let product = sku(product, 0).product;
                let deletion = before_ms.map_or(Deletion::Asked, |before_ms| Deletion::Ended { before_ms });
                let told = self.model.product_delete(product, before_ms);
                self.check(product_delete(scripts, CELL, product, deletion).await, told)
            }
            Operation::SetCoupon { coupon, discount, min_order, quantity, window } => {
                let starts_at_ms = self.model.now_ms + window.0;
                let set = CouponDescription {
                    id: coupon_id(coupon),
                    name: format!("coupon {coupon} of {quantity}"),
                    discount: match discount {
                        Cut::Fixed(amount) => Discount::Fixed(amount),
                        Cut::Percent(value, max_amount) => Discount::Percent { value, max_amount },
                    },
                    min_order_amount: min_order,
                    quantity,
                    starts_at_ms,
                    ends_at_ms: starts_at_ms + window.1,
                    expires_at_ms: starts_at_ms + window.1 + window.2,
                };
                let told = self.model.coupon_set(&set);
                self.check(coupon_set(scripts, CELL, &set, None).await, told)
            }
            Operation::Claim { user: id, coupon, create, key } => {
                let issue = IssueId { coupon: coupon_id(coupon), user: user(id) };
                self.ask(Asked::Claim { issue, create }, Asker::Anybody, key).await
            }
            Operation::ForgetCoupon { coupon, ended_ago_ms } => {
                let (coupon, before_ms) = (coupon_id(coupon), self.model.now_ms - ended_ago_ms);
                let told = self.model.coupon_forget(coupon, before_ms);
                self.check(coupon_forget(scripts, CELL, coupon, Forgetting::Ended { before_ms }).await, told)
            }
            Operation::Place { user: id, items, coupon, later, key } => {
                let items: Vec<OrderItem> = items
                    .into_iter()
                    .map(|(product, option, quantity)| OrderItem {
                        sku: self.model.sku(product, option),
                        quantity,
                    })
                    .collect();
                // More than the contract's 1,000 units are refused before any script.
                let Ok(items) = merge_items(&items) else { return Ok(()) };
                let coupon = coupon.and_then(|it| self.model.coupon(it, user(id), None));
                let asked = Asked::Place { user: user(id), items, coupon, later };
                self.ask(asked, Asker::Anybody, key).await
            }
            Operation::Pay { order, coupon, caller, key } => {
                let order = self.model.find(order);
                let buyer = self.model.owner(order);
                let coupon = coupon.and_then(|it| self.model.coupon(it, buyer, None));
                self.ask(Asked::Pay { order, coupon }, caller, key).await
            }
            Operation::End { order, ending, caller, read, key } => {
                let order = self.model.find(order);
                self.ask(Asked::End { order, ending, read }, caller, key).await
            }
            Operation::Release { order, coupon, caller, key } => {
                let order = self.model.find(order);
                let coupon =
                    self.model.coupon(coupon, self.model.owner(order), Some(order)).unwrap_or(coupon_id(1));
                self.ask(Asked::Release { order, coupon }, caller, key).await
            }
            Operation::Note { order, key } => {
                let order = self.model.find(order);
                if self.model.payment(order).is_none() {
                    return Ok(());
                }
                self.ask(Asked::Note { order }, Asker::Anybody, Some(key)).await
            }
            Operation::Sweep => {
                let due = self.model.orders_due();
                self.check(orders_due(scripts, CELL, 100).await, ("READ", due.clone()))?;
                for order in due {
                    let asked = Asked::End { order, ending: OrderEnding::Expired, read: Read::Nothing };
                    self.ask(asked, Asker::Anybody, None).await?;
                }
                Ok(())
            }
            Operation::Again { which } => {
                let Some(index) = self.keyed.len().checked_sub(which + 1) else { return Ok(()) };
                let request = self.keyed[index].clone();
                self.request(&request).await
            }
            Operation::LookAtKey { which, other } => {
                let Some(index) = self.keyed.len().checked_sub(which + 1) else { return Ok(()) };
                let request = &self.keyed[index];
                let scope = match request.asked {
                    Asked::Charge { user, .. } | Asked::Place { user, .. } => user,
                    Asked::Claim { issue, .. } => issue.user,
                    Asked::Pay { order, .. }
                    | Asked::End { order, .. }
                    | Asked::Release { order, .. }
                    | Asked::Note { order } => self.model.owner(order),
                    // An administrator's, which no user's key is.
                    Asked::Restock { .. } => user(1),
                };
                let mut asked = request.idempotency().expect("it has a key");
                if other {
                    asked.fingerprint = Fingerprint::of("", "", b"");
                }
                let told = self.model.idempotency_read(scope, &asked);
                self.check(idempotency_read(scripts, CELL, Some(scope), &asked).await, told)
            }
            Operation::LookAtOrder { order } => {
                let order = self.model.find(order);
                let (word, expected) = self.model.order_get(order);
                let got = order_get(scripts, CELL, order).await.map(|it| match it {
                    OrderGet::NotFound => None,
                    OrderGet::Held(order) => Some((order, None)),
                    OrderGet::Logged { position, paid } => {
                        Some((paid.order(CELL, position).expect("small"), Some(position)))
                    }
                });
                self.check(got, (word, expected))
            }
            Operation::LookAtLists { user: id } => {
                let told = self.model.balance_get(user(id));
                self.check(balance_get(scripts, user(id)).await, told)?;
                let listed = ("FOUND", (self.model.product_list(), self.model.now_ms));
                let all = Which::Behind { after: 0, limit: 200 };
                let page = product_list(scripts, CELL, all).await.map(|it| (it.products, it.now_ms));
                self.check(page, listed)?;
                self.check(coupon_list(scripts, CELL, 0, 200).await, ("FOUND", self.model.coupon_list()))?;
                self.check(clock_read(scripts, CELL).await, ("NOW", self.model.now_ms))
            }
            Operation::Roll => {
                let words = self.model.ranking_roll();
                self.check_all(ranking_roll(scripts, CELL).await, &words, ())
            }
            Operation::Top { limit } => {
                let (words, expected) = self.model.ranking_top(limit);
                self.check_all(ranking_top(scripts, CELL, limit).await, &words, expected)
            }
            Operation::Trim { keep, behind } => {
                self.compare_events().await?;
                let persisted = self.model.newest - behind.min(self.model.newest - self.model.oldest);
                let told = self.model.events_trim(keep, self.model.newest - persisted);
                self.check(events_trim(scripts, CELL, EPOCH, persisted, keep).await, told)
            }
            Operation::Pass { ms } => {
                self.pass_to(self.model.now_ms + ms);
                Ok(())
            }
            Operation::PassTo { which, off_ms } => {
                if let Some(edge_ms) = self.model.edges().get(which) {
                    self.pass_to((edge_ms + off_ms).max(self.model.now_ms));
                }
                Ok(())
            }
        }
    }

    fn pass_to(&mut self, at_ms: i64) {
        self.model.now_ms = at_ms;
        self.world.clock.stop_at(at_ms);
    }

    /// Compares the log with what happened since it was last compared.
    async fn compare_events(&mut self) -> Result<(), TestCaseError> {
        let expected = std::mem::take(&mut self.model.events);
        let after = Model::position(self.model.newest - expected.len() as u64);
        let read = events_read(&self.world.scripts, CELL, after, 1_000).await;
        let read = self.check_word(read, &["READ"])?;
        let length = self.model.newest - self.model.oldest + 1;
        let top = (read.length, read.newest);
        same("the log", "length and top", top, (length, Model::position(self.model.newest)))?;
        let events: Vec<(u64, Result<Event, _>)> =
            read.entries.iter().map(|it| (it.position.seq, it.event())).collect();
        same("the log", "events", events.len(), expected.len())?;
        for ((seq, event), expected) in events.into_iter().zip(expected) {
            same("the log", "event", (seq, event), (expected.0, Ok(expected.1)))?;
        }
        Ok(())
    }

    pub fn check<T, E>(&mut self, got: Result<T, E>, (word, expected): (&str, T)) -> Result<(), TestCaseError>
    where
        T: PartialEq + std::fmt::Debug,
        E: std::fmt::Display,
    {
        self.check_all(got, &[word], expected)
    }

    fn check_all<T, E>(&mut self, got: Result<T, E>, words: &[&str], expected: T) -> Result<(), TestCaseError>
    where
        T: PartialEq + std::fmt::Debug,
        E: std::fmt::Display,
    {
        let got = self.check_word(got, words)?;
        same("the answer", words.join(", "), got, expected)
    }

    /// Compares the outcomes that the scripts gave, and counts them.
    fn check_word<T, E>(&mut self, got: Result<T, E>, words: &[&str]) -> Result<T, TestCaseError>
    where
        E: std::fmt::Display,
    {
        let outcomes = self.world.outcomes.take();
        let got = got.map_err(|error| TestCaseError::fail(format!("{error} instead of {words:?}")))?;
        let seen: Vec<&str> = outcomes.iter().map(|(_, word)| word.as_str()).collect();
        same("the outcome", "of the script", seen.as_slice(), words)?;
        for outcome in outcomes {
            *self.seen.entry(outcome).or_default() += 1;
        }
        Ok(got)
    }
}

fn same<T>(what: &str, which: impl std::fmt::Display, got: T, expected: T) -> Result<(), TestCaseError>
where
    T: PartialEq + std::fmt::Debug,
{
    if got == expected {
        return Ok(());
    }
    let text = format!("{what} ({which}) differs:\n  Redis: {got:?}\n  model: {expected:?}");
    Err(TestCaseError::fail(text))
}

fn at(index: usize, operation: &Operation, error: &TestCaseError) -> TestCaseError {
    TestCaseError::fail(format!("step {index}, {operation:?}: {error}"))
}
