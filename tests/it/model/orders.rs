//! The rules of orders: placed and paid at once, or placed and then paid, cancelled, expired, refunded.

use std::collections::BTreeMap;

use firstcome::cell::{CellId, Position, order_id};
use firstcome::coupon::{IssueId, IssueState};
use firstcome::event::{Event, OrderEndedEvent, OrderPaidEvent, OrderSettledEvent, PaidLine};
use firstcome::idempotency::Seen;
use firstcome::ids::{CouponId, OrderId, ProductId, UserId};
use firstcome::money::{AMOUNT_MAX, Amount};
use firstcome::order::{FactLine, Order, OrderFacts, OrderStatus};
use firstcome::ranking::hour_of;
use firstcome::scripts::coupon_release::{CouponRelease, ReleaseRequest};
use firstcome::scripts::order_end::{EndRequest, OrderEnd, OrderEnding};
use firstcome::scripts::order_pay::{OrderPay, PayRequest};
use firstcome::scripts::order_place::{OrderPlace, PlaceRequest};
use firstcome::scripts::settled::SettledOrder;

use super::rules::{EPOCH, FirstAnswer, Met, Model, OrderRecord, Told, stored};

const CELL: CellId = CellId(0);

impl Model {
    pub fn order_place(&mut self, request: &PlaceRequest<'_>) -> Told<OrderPlace> {
        let user = request.user;
        match self.met(user.get(), request.idempotency) {
            Met::Free => {}
            Met::Replayed(FirstAnswer::Placed(order, balance)) => {
                return ("REPLAYED", OrderPlace::Placed { order, balance, seen: Seen::Replayed });
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
        (word, OrderPlace::Placed { order, balance, seen: Seen::New })
    }

    /// The lines and their total, or the first refusal in the contract's order that is about the items.
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
            let had =
                had.entry(product).or_insert_with(|| self.bought.get(&(product, user)).copied().unwrap_or(0));
            let remaining = (limit - *had).max(0);
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
    fn discount(&self, user: UserId, coupon: CouponId, total: Amount) -> Result<Amount, &'static str> {
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
            return ("ALREADY_PAID", OrderPay::Paid { paid, seen: Seen::New });
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

    /// Gives a user's unit back that this order has. `false`: its campaign was forgotten, whatever stands there now.
    fn let_go(&mut self, user: UserId, coupon: CouponId, order: OrderId) -> bool {
        let issue =
            self.issues.get_mut(&IssueId { coupon, user }).filter(|it| it.state.order() == Some(order));
        issue.is_some_and(|it| {
            it.state = IssueState::Issued;
            true
        })
    }

    fn is_overdue(&self, facts: &OrderFacts) -> bool {
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
    fn count_sold(&mut self, facts: &OrderFacts, sign: i64) {
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
