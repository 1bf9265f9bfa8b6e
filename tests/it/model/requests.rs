//! Requests that can have an idempotency key: what is asked, on both sides.

use firstcome::cell::CellId;
use firstcome::coupon::IssueId;
use firstcome::idempotency::{Fingerprint, Idempotency, IdempotencyKey};
use firstcome::ids::{CouponId, OrderId, UserId};
use firstcome::order::OrderItem;
use firstcome::product::SkuId;
use firstcome::scripts::balance_charge::{ChargeRequest, balance_charge};
use firstcome::scripts::coupon_issue::coupon_issue;
use firstcome::scripts::coupon_release::{ReleaseRequest, coupon_release};
use firstcome::scripts::key_note::key_note;
use firstcome::scripts::order_end::{EndRequest, OrderEnding, order_end};
use firstcome::scripts::order_pay::{PayRequest, order_pay};
use firstcome::scripts::order_place::{PlaceRequest, order_place};
use firstcome::scripts::product_restock::product_restock;
use proptest::test_runner::TestCaseError;

use super::operations::{Asker, Key, Read};
use super::picks::user;
use super::rules::{KEY_TTL_MS, PAY_WITHIN_MS, WALLET_LIMIT};
use super::run::Run;

const CELL: CellId = CellId(0);

/// A request that can have a key, with its orders and users found.
#[derive(Debug, Clone)]
pub struct Request {
    pub asked: Asked,
    caller: Option<UserId>,
    key: Key,
}

/// What the key is compared by.
#[derive(Debug, Clone)]
pub enum Asked {
    Charge { user: UserId, amount: i64, create: bool },
    Restock { sku: SkuId, delta: i64 },
    Claim { issue: IssueId, create: bool },
    Place { user: UserId, items: Vec<OrderItem>, coupon: Option<CouponId>, later: bool },
    Pay { order: OrderId, coupon: Option<CouponId> },
    End { order: OrderId, ending: OrderEnding, read: Read },
    Release { order: OrderId, coupon: CouponId },
    Note { order: OrderId },
}

impl Request {
    pub fn idempotency(&self) -> Option<Idempotency> {
        let key = IdempotencyKey::new(&format!("key {}", self.key?.number)).expect("plain text");
        let text = match &self.asked {
            // What its caller has read of the order is not part of the request.
            Asked::End { order, ending, .. } => format!("{ending:?} {order}"),
            asked => format!("{asked:?}"),
        };
        Some(Idempotency { key, fingerprint: Fingerprint::of("POST", "/", text.as_bytes()) })
    }
}

impl Run<'_> {
    /// Sends a request, and remembers it where it has a key.
    pub async fn ask(&mut self, asked: Asked, asker: Asker, key: Key) -> Result<(), TestCaseError> {
        let order = match asked {
            Asked::Pay { order, .. } | Asked::End { order, .. } | Asked::Release { order, .. } => Some(order),
            _ => None,
        };
        let owner = order.map_or(user(1), |it| self.model.owner(it));
        let caller = match asker {
            Asker::Anybody => None,
            Asker::Owner => Some(owner),
            Asker::Stranger => Some(user(owner.get() % 3 + 1)),
        };
        let request = Request { asked, caller, key };
        self.request(&request).await?;
        if key.is_some_and(|it| it.twice) {
            self.request(&request).await?;
        }
        if key.is_some() {
            self.keyed.push(request);
        }
        Ok(())
    }

    pub async fn request(&mut self, request: &Request) -> Result<(), TestCaseError> {
        let (scripts, caller, idempotency_ttl_ms) = (&self.world.scripts, request.caller, KEY_TTL_MS);
        let idempotency = request.idempotency();
        let idempotency = idempotency.as_ref();
        match request.asked.clone() {
            Asked::Charge { user, amount, create } => {
                let wallet_limit = WALLET_LIMIT;
                let charge =
                    ChargeRequest { user, amount, wallet_limit, create, idempotency, idempotency_ttl_ms };
                let told = self.model.balance_charge(&charge);
                self.check(balance_charge(scripts, charge).await, told)
            }
            Asked::Restock { sku, delta } => {
                let told = self.model.product_restock(sku, delta, idempotency);
                self.check(product_restock(scripts, sku, delta, idempotency, KEY_TTL_MS, None, 0).await, told)
            }
            Asked::Claim { issue, create } => {
                let told = self.model.coupon_issue(issue, create, idempotency);
                self.check(coupon_issue(scripts, issue, create, idempotency, KEY_TTL_MS).await, told)
            }
            Asked::Place { user, items, coupon, later } => {
                let pay_within_ms = later.then_some(PAY_WITHIN_MS);
                let place = PlaceRequest {
                    user,
                    items: &items,
                    coupon,
                    pay_within_ms,
                    idempotency,
                    idempotency_ttl_ms,
                };
                let told = self.model.order_place(&place);
                self.check(order_place(scripts, place).await, told)
            }
            Asked::Pay { order, coupon } => {
                let pay = PayRequest { order, caller, coupon, idempotency, idempotency_ttl_ms };
                let told = self.model.order_pay(&pay);
                self.check(order_pay(scripts, CELL, pay).await, told)
            }
            Asked::End { order, ending, read } => {
                let read = if ending == OrderEnding::Refunded { self.model.read(order, read) } else { None };
                let read = read.as_ref();
                let end = EndRequest { order, ending, caller, idempotency, idempotency_ttl_ms, read };
                let told = self.model.order_end(&end);
                self.check(order_end(scripts, CELL, end).await, told)
            }
            Asked::Note { order } => {
                let (user, idempotency) = (self.model.owner(order), idempotency.expect("it has a key"));
                let paid = self.model.payment(order).expect("it was paid");
                let told = self.model.key_note(user, idempotency, &paid);
                self.check(
                    key_note(scripts, CELL, Some(user), idempotency, KEY_TTL_MS, &paid.to_string()).await,
                    told,
                )
            }
            Asked::Release { order, coupon } => {
                let release = ReleaseRequest { order, coupon, caller, idempotency, idempotency_ttl_ms };
                let told = self.model.coupon_release(&release);
                self.check(coupon_release(scripts, CELL, release).await, told)
            }
        }
    }
}
