//! The rules of placing orders, to be paid at once or later, and of finding them.

use std::collections::BTreeMap;

use firstcome::cell::{CellId, Position, order_id};
use firstcome::coupon::{IssueId, IssueState};
use firstcome::event::{Event, OrderPaidEvent, PaidLine};
use firstcome::idempotency::Seen;
use firstcome::ids::{CouponId, OrderId, ProductId, UserId};
use firstcome::money::{AMOUNT_MAX, Amount};
use firstcome::order::{FactLine, Order, OrderFacts, OrderStatus};
use firstcome::ranking::hour_of;
use firstcome::scripts::order_place::{Fewest, OrderPlace, PlaceRequest};

use super::rules::{FirstAnswer, Met, Model, OrderRecord, Told, stored};

const CELL: CellId = CellId(0);

impl Model {
    pub fn order_place(&mut self, request: &PlaceRequest<'_>) -> Told<OrderPlace> {
        let user = request.user;
        match self.met(user.get(), request.idempotency) {
            Met::Free => {}
            Met::Replayed(FirstAnswer::Placed(order, balance)) => {
                return (
                    "REPLAYED",
                    OrderPlace::Placed { order, balance, seen: Seen::Replayed, fewest: None },
                );
            }
            Met::Reused | Met::Replayed(_) => return ("KEY_REUSED", OrderPlace::KeyReused),
        }
        let Some(held) = self.wallets.get(&user).copied() else {
            return ("USER_NOT_FOUND", OrderPlace::UserNotFound);
        };
        let (lines, total) = match self.orderable(user, request) {
            Ok(orderable) => orderable,
            Err(refused) => return refused,
        };
        let discount = match request.coupon.map_or(Ok(0), |it| self.discount(user, it, total)) {
            Ok(discount) => discount,
            Err(reason) => {
                return ("COUPON_INVALID", OrderPlace::CouponInvalid { reason: reason.to_owned() });
            }
        };
        let is_paid = request.pay_within_ms.is_none();
        let balance = held - total + discount;
        if is_paid && balance < 0 {
            return ("BALANCE_TOO_LOW", OrderPlace::BalanceTooLow);
        }

        let at_ms = self.now_ms;
        let mut left = Vec::new();
        for line in &lines {
            let sku = self.skus.get_mut(&line.sku).expect("it is sold");
            sku.remaining -= i64::from(line.quantity);
            left.push(sku.remaining);
            if line.limited {
                *self.bought.entry((line.sku.product, user)).or_default() += i64::from(line.quantity);
            }
        }
        let facts = OrderFacts {
            user,
            total,
            discount,
            coupon: request.coupon,
            placed_at_ms: at_ms,
            expires_at_ms: request.pay_within_ms.map(|it| at_ms + it as i64),
            paid_at_ms: is_paid.then_some(at_ms),
            lines,
        };
        let fewest =
            left.iter().enumerate().min_by_key(|it| it.1).map(|(item, left)| Fewest { item, left: *left });
        let key = stored(request.idempotency);
        let seq = if is_paid {
            self.wallets.insert(user, balance);
            self.count_sold(&facts, 1);
            let lines = facts.lines.iter().zip(&left).map(|(line, remaining)| PaidLine {
                sku: line.sku,
                quantity: line.quantity,
                unit_price: line.unit_price,
                remaining: *remaining,
                limited: line.limited,
            });
            let (coupon, lines) = (request.coupon, lines.collect());
            self.happened(Event::OrderPaid(OrderPaidEvent {
                at_ms,
                user,
                total,
                discount,
                balance,
                coupon,
                lines,
                key,
            }))
        } else {
            self.happened(Event::OrderPlaced { at_ms, facts: facts.clone(), remaining: left, key })
        };
        let id = order_id(CELL, seq).expect("few events");
        let status = if is_paid { OrderStatus::Paid } else { OrderStatus::Pending };
        if let Some(coupon) = request.coupon {
            let state = if is_paid { IssueState::Used(id) } else { IssueState::Held(id) };
            self.issues.get_mut(&IssueId { coupon, user }).expect("it is issued").state = state;
        }
        let (order, balance) = (facts.order(id, status, None), is_paid.then_some(balance));
        let prices: Vec<String> = facts.lines.iter().map(|it| it.unit_price.to_string()).collect();
        let mut text = format!(
            "{seq} {at_ms} {total} {discount} {} {} {}",
            balance.map_or("-".to_owned(), |it| it.to_string()),
            request.coupon.map_or(0, CouponId::get),
            prices.join(",")
        );
        if let Some(expires_at_ms) = facts.expires_at_ms {
            text += &format!(" {expires_at_ms}");
        }
        self.remember(user.get(), request.idempotency, text, FirstAnswer::Placed(order.clone(), balance));
        let record = OrderRecord {
            status,
            facts,
            placed: seq,
            paid: balance.map(|it| (seq, it)),
            payment: None,
            ended_at_ms: None,
            last: seq,
            is_held: !is_paid,
        };
        self.orders.insert(id, record);
        let word = if is_paid { "PAID" } else { "PLACED" };
        (word, OrderPlace::Placed { order, balance, seen: Seen::New, fewest })
    }

    /// The lines and their total, or the first refusal in the contract's order that is about the items.
    #[expect(clippy::result_large_err, reason = "no step is that fast")]
    fn orderable(
        &self,
        user: UserId,
        request: &PlaceRequest<'_>,
    ) -> Result<(Vec<FactLine>, Amount), Told<OrderPlace>> {
        let mut lines = Vec::new();
        for (item, wanted) in request.items.iter().enumerate() {
            match self.skus.get(&wanted.sku).and_then(|it| Some((it.price?, it.terms.limit.is_some()))) {
                Some((unit_price, limited)) => {
                    lines.push(FactLine { sku: wanted.sku, quantity: wanted.quantity, unit_price, limited });
                }
                None if self.needs_option(wanted.sku) => {
                    return Err(("OPTION_REQUIRED", OrderPlace::OptionRequired { item }));
                }
                None => return Err(("NOT_FOUND", OrderPlace::NotFound { item })),
            }
        }
        let total = lines.iter().map(|it| it.unit_price * i64::from(it.quantity)).sum();
        if total > AMOUNT_MAX {
            return Err(("TOTAL_TOO_LARGE", OrderPlace::TotalTooLarge));
        }
        let terms = |line: &FactLine| self.skus[&line.sku].terms;
        let is_closed = |line: &FactLine| {
            terms(line).starts_at_ms.is_some_and(|it| self.now_ms < it)
                || terms(line).ends_at_ms.is_some_and(|it| self.now_ms >= it)
        };
        if let Some(item) = lines.iter().position(is_closed) {
            return Err(("SALE_NOT_OPEN", OrderPlace::SaleNotOpen { item }));
        }
        // The limit counts all options of a product, so the items before count too.
        let mut had: BTreeMap<ProductId, i64> = BTreeMap::new();
        for (item, line) in lines.iter().enumerate() {
            let Some(limit) = terms(line).limit else { continue };
            let product = line.sku.product;
            let before = self.bought.get(&(product, user)).copied().unwrap_or(0);
            let had = had.entry(product).or_insert(before);
            let remaining = (limit - before).max(0);
            if i64::from(line.quantity) > limit - *had {
                return Err(("LIMIT_EXCEEDED", OrderPlace::LimitExceeded { item, remaining }));
            }
            *had += i64::from(line.quantity);
        }
        let left = |line: &FactLine| self.skus[&line.sku].remaining;
        match lines.iter().position(|it| i64::from(it.quantity) > left(it)) {
            Some(item) => {
                Err(("OUT_OF_STOCK", OrderPlace::OutOfStock { item, remaining: left(&lines[item]) }))
            }
            None => Ok((lines, total)),
        }
    }

    /// What a user's unit of a coupon takes off, or why it cannot be used.
    pub fn discount(&self, user: UserId, coupon: CouponId, total: Amount) -> Result<Amount, &'static str> {
        match self.issues.get(&IssueId { coupon, user }).map(|it| it.state) {
            None => return Err("not_issued"),
            Some(IssueState::Held(_)) => return Err("held"),
            Some(IssueState::Used(_)) => return Err("used"),
            Some(IssueState::Issued) => {}
        }
        let campaign = &self.campaigns[&coupon];
        if self.now_ms >= campaign.expires_at_ms {
            Err("expired")
        } else if campaign.min_order.is_some_and(|it| total < it) {
            Err("below_minimum")
        } else {
            Ok(campaign.discount.amount(total))
        }
    }

    /// Gives a user's unit back that this order has. `false`: its campaign was forgotten, whatever stands there now.
    pub fn let_go(&mut self, user: UserId, coupon: CouponId, order: OrderId) -> bool {
        let issue =
            self.issues.get_mut(&IssueId { coupon, user }).filter(|it| it.state.order() == Some(order));
        issue.is_some_and(|it| {
            it.state = IssueState::Issued;
            true
        })
    }

    pub fn is_overdue(&self, facts: &OrderFacts) -> bool {
        facts.expires_at_ms.is_some_and(|it| self.now_ms >= it)
    }

    /// Pending orders whose time is over, the longest overdue first.
    pub fn orders_due(&self) -> Vec<OrderId> {
        let pending = self.orders.iter().filter(|(_, it)| it.status == OrderStatus::Pending);
        let overdue = pending.filter(|(_, it)| self.is_overdue(&it.facts));
        let mut due: Vec<_> = overdue.map(|(id, it)| (it.facts.expires_at_ms, id.to_string(), *id)).collect();
        due.sort();
        due.into_iter().map(|(_, _, id)| id).collect()
    }

    /// Where Redis has an order: in a hash, or in the log at the event that placed it; how it stands there.
    pub fn order_get(&self, order: OrderId) -> Told<Option<(Order, Option<Position>)>> {
        match self.orders.get(&order) {
            Some(it) if it.is_held => {
                ("HELD", Some((it.facts.order(order, it.status, it.ended_at_ms), None)))
            }
            Some(it) if it.facts.expires_at_ms.is_none() && it.placed >= self.oldest => {
                let shown = it.facts.order(order, OrderStatus::Paid, None);
                ("LOGGED", Some((shown, Some(Self::position(it.placed)))))
            }
            _ => ("NOT_FOUND", None),
        }
    }

    /// Counts what was sold when it was paid, or takes it back while its hour is in the ranking.
    pub fn count_sold(&mut self, facts: &OrderFacts, sign: i64) {
        let hour = hour_of(facts.paid_at_ms.unwrap_or(self.now_ms));
        for line in &facts.lines {
            let entry = (hour, line.sku.product);
            if sign > 0 || self.sold.contains_key(&entry) {
                *self.sold.entry(entry).or_default() += sign * i64::from(line.quantity);
                if self.sold[&entry] == 0 {
                    self.sold.remove(&entry);
                }
            }
        }
    }
}
