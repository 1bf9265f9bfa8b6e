//! The rules of what becomes of an order that was placed: paid, cancelled, expired, refunded; and of its coupon.

use firstcome::coupon::{IssueId, IssueState};
use firstcome::event::{Event, OrderEndedEvent, OrderSettledEvent};
use firstcome::idempotency::Seen;
use firstcome::order::OrderStatus;
use firstcome::scripts::coupon_release::{CouponRelease, ReleaseRequest};
use firstcome::scripts::order_end::{EndRequest, OrderEnd, OrderEnding};
use firstcome::scripts::order_pay::{OrderPay, PayRequest};
use firstcome::scripts::settled::SettledOrder;

use super::rules::{EPOCH, FirstAnswer, Met, Model, Told, stored};

impl Model {
    pub fn order_pay(&mut self, request: &PayRequest<'_>) -> Told<OrderPay> {
        let not_found = ("NOT_FOUND", OrderPay::NotFound);
        let Some(order) = self.orders.get(&request.order).filter(|it| it.is_held).cloned() else {
            return not_found;
        };
        let mut facts = order.facts;
        let user = facts.user;
        if request.caller.is_some_and(|it| it != user) {
            return not_found;
        }
        match self.met(user.get(), request.idempotency) {
            Met::Free => {}
            Met::Replayed(FirstAnswer::Settled(paid)) => {
                return ("REPLAYED", OrderPay::Paid { paid, seen: Seen::Replayed });
            }
            Met::Reused | Met::Replayed(_) => return ("KEY_REUSED", OrderPay::KeyReused),
        }
        if order.status == OrderStatus::Paid {
            let paid = order.payment.expect("it was paid later");
            return ("ALREADY_PAID", OrderPay::AlreadyPaid { paid });
        }
        if order.status != OrderStatus::Pending || self.is_overdue(&facts) {
            return ("NOT_PAYABLE", OrderPay::NotPayable);
        }
        let held = facts.coupon;
        if let Some(coupon) = request.coupon.filter(|it| held != Some(*it)) {
            match self.discount(user, coupon, facts.total) {
                Ok(discount) => (facts.coupon, facts.discount) = (Some(coupon), discount),
                Err(reason) => {
                    return ("COUPON_INVALID", OrderPay::CouponInvalid { reason: reason.to_owned() });
                }
            }
        }
        let balance = self.wallets[&user] - facts.total + facts.discount;
        if balance < 0 {
            return ("BALANCE_TOO_LOW", OrderPay::BalanceTooLow);
        }

        let at_ms = self.now_ms;
        facts.paid_at_ms = Some(at_ms);
        self.wallets.insert(user, balance);
        self.count_sold(&facts, 1);
        let freed = held.filter(|it| facts.coupon != Some(*it) && self.let_go(user, *it, request.order));
        if let Some(issue) = facts.coupon.and_then(|coupon| self.issues.get_mut(&IssueId { coupon, user })) {
            // The one that it held may be of a campaign that was forgotten, and a new one's by now.
            if held != facts.coupon || issue.state == IssueState::Held(request.order) {
                issue.state = IssueState::Used(request.order);
            }
        }
        let key = stored(request.idempotency);
        let event =
            OrderSettledEvent { at_ms, order: request.order, facts: facts.clone(), balance, freed, key };
        let seq = self.happened(Event::OrderSettled(event));
        let paid = SettledOrder { seq, at_ms, balance: Some(balance), facts: facts.clone() };
        let text = format!("{seq} {at_ms} {balance} {facts}");
        self.remember(user.get(), request.idempotency, text, FirstAnswer::Settled(paid.clone()));
        let order = self.orders.get_mut(&request.order).expect("it is held");
        (order.status, order.facts, order.last) = (OrderStatus::Paid, facts, seq);
        (order.paid, order.payment) = (Some((seq, balance)), Some(paid.clone()));
        ("PAID", OrderPay::Paid { paid, seen: Seen::New })
    }

    pub fn order_end(&mut self, request: &EndRequest<'_>) -> Told<OrderEnd> {
        let not_found = ("NOT_FOUND", OrderEnd::NotFound);
        let held = self.orders.get(&request.order).filter(|it| it.is_held).cloned();
        let facts = held.as_ref().map(|it| &it.facts).or(request.read.map(|it| &it.facts)).cloned();
        let Some(facts) = facts.filter(|it| request.caller.is_none_or(|caller| caller == it.user)) else {
            return not_found;
        };
        let user = facts.user;
        match self.met(user.get(), request.idempotency) {
            Met::Free => {}
            Met::Replayed(FirstAnswer::Settled(ended)) => {
                return ("REPLAYED", OrderEnd::Ended { ended, seen: Seen::Replayed });
            }
            Met::Reused | Met::Replayed(_) => return ("KEY_REUSED", OrderEnd::KeyReused),
        }
        if let (None, Some(read)) = (&held, request.read) {
            // Something may have happened to it of which neither the log nor the reader knows.
            if read.known_to.epoch < EPOCH || read.known_to.seq + 1 < self.oldest {
                return ("STALE", OrderEnd::Stale);
            }
        }
        let is_overdue = self.is_overdue(&facts);
        let status = self.orders[&request.order].status;
        let refused = match (request.ending, status) {
            (OrderEnding::Refunded, OrderStatus::Paid) => None,
            (OrderEnding::Cancelled, OrderStatus::Pending) if !is_overdue => None,
            (OrderEnding::Expired, OrderStatus::Pending) if is_overdue => None,
            (OrderEnding::Expired, OrderStatus::Pending) => Some(("NOT_DUE", OrderEnd::NotDue)),
            _ => Some(("NOT_NOW", OrderEnd::NotNow)),
        };
        if let Some(refused) = refused {
            return refused;
        }

        let (at_ms, refunds) = (self.now_ms, request.ending == OrderEnding::Refunded);
        let order = self.orders[&request.order].clone();
        let balance = refunds.then(|| self.wallets[&user] + facts.total - facts.discount);
        if let Some(balance) = balance {
            self.wallets.insert(user, balance);
            self.count_sold(&facts, -1);
        }
        let mut left = Vec::new();
        for line in &facts.lines {
            let (quantity, product) = (i64::from(line.quantity), line.sku.product);
            left.push(self.skus.get_mut(&line.sku).map(|sku| {
                sku.remaining += quantity;
                sku.remaining
            }));
            // A product that was deleted and listed again counts anew.
            if line.limited && self.products.get(&product).is_some_and(|it| it.born < order.placed) {
                let bought = self.bought.get_mut(&(product, user)).expect("it was counted");
                *bought -= quantity;
                if *bought == 0 {
                    self.bought.remove(&(product, user));
                }
            }
        }
        let freed = facts.coupon.filter(|it| self.let_go(user, *it, request.order));
        let paid_seq = if refunds { order.paid.expect("it was paid").0 } else { 0 };
        let seq = self.happened(Event::OrderEnded(OrderEndedEvent {
            at_ms,
            order: request.order,
            end: request.ending.status(),
            facts: facts.clone(),
            balance,
            remaining: left,
            freed,
            paid_seq,
            key: stored(request.idempotency),
        }));
        let text = format!("{seq} {at_ms} {} {facts}", balance.map_or("-".to_owned(), |it| it.to_string()));
        let ended = SettledOrder { seq, at_ms, balance, facts };
        self.remember(user.get(), request.idempotency, text, FirstAnswer::Settled(ended.clone()));
        let order = self.orders.get_mut(&request.order).expect("it is one");
        (order.status, order.ended_at_ms) = (request.ending.status(), Some(at_ms));
        (order.last, order.is_held) = (seq, true);
        ("ENDED", OrderEnd::Ended { ended, seen: Seen::New })
    }

    pub fn coupon_release(&mut self, request: &ReleaseRequest<'_>) -> Told<CouponRelease> {
        let not_found = ("NOT_FOUND", CouponRelease::NotFound);
        let Some(order) = self.orders.get(&request.order).filter(|it| it.is_held).cloned() else {
            return not_found;
        };
        let mut facts = order.facts;
        let user = facts.user;
        if request.caller.is_some_and(|it| it != user) {
            return not_found;
        }
        match self.met(user.get(), request.idempotency) {
            Met::Free => {}
            Met::Replayed(FirstAnswer::Released) => {
                return ("REPLAYED", CouponRelease::Released { seen: Seen::Replayed });
            }
            Met::Reused | Met::Replayed(_) => return ("KEY_REUSED", CouponRelease::KeyReused),
        }
        if order.status != OrderStatus::Pending || self.is_overdue(&facts) {
            return ("NOT_PAYABLE", CouponRelease::NotPayable);
        }
        if facts.coupon != Some(request.coupon) {
            return ("NOT_HELD", CouponRelease::NotHeld);
        }
        (facts.coupon, facts.discount) = (None, 0);
        self.let_go(user, request.coupon, request.order);
        self.orders.get_mut(&request.order).expect("it is held").facts = facts.clone();
        let (at_ms, coupon, key) = (self.now_ms, request.coupon, stored(request.idempotency));
        let seq = self.happened(Event::CouponReleased { at_ms, order: request.order, facts, coupon, key });
        self.remember(user.get(), request.idempotency, format!("{seq} {at_ms}"), FirstAnswer::Released);
        ("RELEASED", CouponRelease::Released { seen: Seen::New })
    }
}
