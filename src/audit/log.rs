//! The stretch of the event log that an audit looks at.

use std::collections::{HashMap, VecDeque};

use crate::cell::{CellId, Position};
use crate::event::{Entry, Event, Holding};
use crate::ids::{CouponId, ProductId};
use crate::order::{FactLine, OrderFacts, OrderStatus};
use crate::ranking::{Hour, hour_of};

/// What the events of a stretch of the log carry: all in `(from, to]`.
pub(super) struct Log {
    cell: CellId,
    pub(super) from: Position,
    pub(super) to: Position,
    pub(super) changes: VecDeque<Change>,
    /// How many changes were forgotten: the number of the first one kept.
    pub(super) forgotten: u64,
    /// The number of each item's newest change.
    pub(super) newest: HashMap<Holding, u64>,
    campaigns: HashMap<CouponId, Campaign>,
    sold: VecDeque<Sold>,
}

pub(super) struct Change {
    at: Position,
    item: Holding,
    /// `None`: it is gone.
    value: Option<i64>,
    /// The number of this item's change before, kept or forgotten.
    before: Option<u64>,
}

/// What happened to a campaign's issues as a whole, oldest first.
#[derive(Default)]
struct Campaign {
    /// One user more has a unit.
    issued: VecDeque<Position>,
    /// All issues are gone with the campaign.
    forgotten: VecDeque<Position>,
}

/// Units of a product that the ranking counts from an event on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sold {
    at: Position,
    pub(super) product: ProductId,
    /// In which they were paid.
    pub(super) hour: Hour,
    pub(super) units: i64,
}

impl Log {
    /// Of no entries yet.
    pub(super) fn of(cell: CellId) -> Self {
        Self {
            cell,
            from: Position::default(),
            to: Position::default(),
            changes: VecDeque::new(),
            forgotten: 0,
            newest: HashMap::new(),
            campaigns: HashMap::new(),
            sold: VecDeque::new(),
        }
    }

    /// Forgets what is not behind `from`; begins anew where the log does not reach.
    pub(super) fn begin_behind(&mut self, from: Position) {
        if from < self.from || from > self.to {
            *self = Self { from, to: from, ..Self::of(self.cell) };
            return;
        }
        self.from = from;
        while let Some(change) = self.changes.pop_front_if(|it| it.at <= from) {
            if self.newest.get(&change.item) == Some(&self.forgotten) {
                self.newest.remove(&change.item);
            }
            self.forgotten += 1;
        }
        self.campaigns.retain(|_, it| it.begin_behind(from));
        while self.sold.pop_front_if(|it| it.at <= from).is_some() {}
    }

    /// Adds the next entry. False: it is not the very next one.
    pub(super) fn append(&mut self, entry: &Entry) -> bool {
        let event = entry.event().ok();
        if !entry.follows(self.to) {
            return false;
        }
        self.to = entry.position;
        // An entry that nobody can read ends up in the dead events, and shows there.
        if let Some(event) = event {
            event.absolute_values(self.cell, entry.position, |item, value| self.change(item, value));
            self.note(&event);
        }
        true
    }

    fn change(&mut self, item: Holding, value: Option<i64>) {
        let number = self.forgotten + self.changes.len() as u64;
        let before = self.newest.insert(item, number);
        self.changes.push_back(Change { at: self.to, item, value, before });
    }

    /// Notes what an event changes that is no absolute value.
    fn note(&mut self, event: &Event) {
        let at = self.to;
        match event {
            Event::CouponIssued(issued) => {
                self.campaigns.entry(issued.issue.coupon).or_default().issued.push_back(at);
            }
            Event::CouponForgotten { coupon, .. } => {
                self.campaigns.entry(*coupon).or_default().forgotten.push_back(at);
            }
            Event::OrderPaid(paid) => {
                self.note_sold(&paid.facts(), 1);
            }
            Event::OrderSettled(settled) => self.note_sold(&settled.facts, 1),
            // Expired and cancelled orders were never sold.
            Event::OrderEnded(ended) if ended.end == OrderStatus::Refunded => {
                self.note_sold(&ended.facts, -1);
            }
            Event::Opener { .. }
            | Event::UserCreated { .. }
            | Event::Charged { .. }
            | Event::ProductSet(_)
            | Event::Restocked { .. }
            | Event::QuotaMoved(_)
            | Event::ProductDeleted { .. }
            | Event::CouponSet { .. }
            | Event::OrderPlaced { .. }
            | Event::OrderEnded(_)
            | Event::KeyNoted { .. }
            | Event::CouponReleased { .. } => {}
        }
    }

    /// Units that were sold when the order was paid, or with -1 came back.
    fn note_sold(&mut self, facts: &OrderFacts, sign: i64) {
        let (at, hour) = (self.to, hour_of(facts.paid_at_ms.unwrap_or(facts.placed_at_ms)));
        let sold =
            |it: &FactLine| Sold { at, product: it.sku.product, hour, units: sign * i64::from(it.quantity) };
        self.sold.extend(facts.lines.iter().map(sold));
    }

    /// What an item holds after the events in `(from, to]`, where MySQL has `mysql` at `from`; `None`: nothing,
    /// it is not there.
    pub(super) fn expected(&self, item: Holding, mysql: Option<i64>, to: Position) -> Option<i64> {
        let last = self.last(item, to);
        // Issues leave with their campaign, unnamed.
        let gone = match item {
            Holding::Issue(issue) => self.forgotten_at(issue.coupon, to),
            Holding::Wallet(_) | Holding::Sku(_) | Holding::Coupon(_) | Holding::Moved(_) => None,
        };
        match (last, gone) {
            (Some((at, value)), gone) if gone.is_none_or(|it| it < at) => value,
            (_, Some(_)) => None,
            (_, None) => mysql,
        }
    }

    /// How many users have a unit of a campaign after the events in `(from, to]`, where MySQL has `mysql` of
    /// them at `from`.
    pub(super) fn expected_issues(&self, coupon: CouponId, mysql: i64, to: Position) -> i64 {
        let Some(campaign) = self.campaigns.get(&coupon) else { return mysql };
        let issued_until = |at: Position| campaign.issued.partition_point(|it| *it <= at) as i64;
        match self.forgotten_at(coupon, to) {
            Some(gone) => issued_until(to) - issued_until(gone),
            None => mysql + issued_until(to),
        }
    }

    /// The units sold by the events in `(from, to]`.
    pub(super) fn sold(&self, to: Position) -> impl Iterator<Item = &Sold> {
        self.sold.iter().take_while(move |it| it.at <= to)
    }

    /// How many things are kept.
    pub(super) fn len(&self) -> usize {
        self.changes.len() + self.sold.len()
    }

    /// Position and value of the item's last event in `(from, to]`; `None`: there is no such event.
    fn last(&self, item: Holding, to: Position) -> Option<(Position, Option<i64>)> {
        let mut number = self.newest.get(&item).copied();
        loop {
            let index = number?.checked_sub(self.forgotten)?;
            let change = self.changes.get(usize::try_from(index).ok()?)?;
            if change.at <= to {
                return Some((change.at, change.value));
            }
            number = change.before;
        }
    }

    /// When a campaign was last forgotten in `(from, to]`.
    fn forgotten_at(&self, coupon: CouponId, to: Position) -> Option<Position> {
        self.campaigns.get(&coupon)?.forgotten.iter().rev().find(|it| **it <= to).copied()
    }
}

impl Campaign {
    /// Forgets what is not behind `from`. False: nothing is left.
    fn begin_behind(&mut self, from: Position) -> bool {
        for events in [&mut self.issued, &mut self.forgotten] {
            while events.pop_front_if(|it| *it <= from).is_some() {}
        }
        !self.issued.is_empty() || !self.forgotten.is_empty()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::coupon::IssueId;
    use crate::ids::{OptionId, UserId};
    use crate::product::SkuId;

    pub fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    pub fn wallet(id: u64) -> Holding {
        Holding::Wallet(UserId::new(id).unwrap())
    }

    pub fn coupon(id: u64) -> CouponId {
        CouponId::new(id).unwrap()
    }

    pub fn issue(id: u64, user: u64) -> Holding {
        Holding::Issue(IssueId { coupon: coupon(id), user: UserId::new(user).unwrap() })
    }

    pub fn entry(position: &str, kind: &str, body: &str) -> Entry {
        Entry { position: at(position), kind: kind.to_owned(), body: body.to_owned() }
    }

    pub fn charged(position: &str, id: u64, balance: i64) -> Entry {
        entry(position, "charged:1", &format!("1 {id} 1 {balance} -"))
    }

    pub fn issued(position: &str, coupon: u64, user: u64, remaining: i64) -> Entry {
        entry(position, "coupon_issued:1", &format!("1 {coupon} {user} {remaining} 0 fixed 5 - 9 -"))
    }

    pub fn log_behind(from: &str, entries: &[Entry]) -> Log {
        let mut log = Log::of(CellId(0));
        log.begin_behind(at(from));
        assert!(entries.iter().all(|it| log.append(it)));
        log
    }

    fn value(log: &Log, item: Holding, to: &str) -> Option<Option<i64>> {
        log.last(item, at(to)).map(|(_, value)| value)
    }

    #[test]
    fn an_order_changes_a_wallet_its_skus_and_its_coupon() {
        let log =
            log_behind("1-1", &[entry("1-2", "order_paid:1", "1 7 30 0 70 9 1:0:2:10:8:0,2:5:1:10:0:1 -")]);
        let sku = |product, option| {
            let (product, option) = (ProductId::new(product).unwrap(), OptionId::new(option).unwrap());
            Holding::Sku(SkuId { product, option })
        };
        let of = |item| value(&log, item, "1-2");
        assert_eq!(
            (of(wallet(7)), of(sku(1, 0)), of(sku(2, 5))),
            (Some(Some(70)), Some(Some(8)), Some(Some(0)))
        );
        assert_eq!((of(sku(2, 0)), sku(2, 5).to_string().as_str()), (None, "2:5"));
        assert_eq!((of(issue(9, 7)), of(issue(9, 8))), (Some(Some(2 * 1024)), None));
    }

    #[test]
    fn what_was_sold_is_kept_by_hour_until_it_is_forgotten() {
        let sale = |position: &str, hour: i64, lines: &str| {
            entry(position, "order_paid:1", &format!("{} 7 30 0 70 0 {lines} -", hour * 3_600_000 + 5))
        };
        let mut log = log_behind(
            "1-1",
            &[
                sale("1-2", 10, "1:0:2:10:8:0,2:5:1:10:0:1"),
                charged("1-3", 7, 9),
                sale("1-4", 11, "1:0:3:10:5:0"),
            ],
        );
        let sold = |log: &Log, to: &str| -> Vec<(u64, i64, i64)> {
            log.sold(at(to)).map(|it| (it.product.get(), it.hour, it.units)).collect()
        };
        assert_eq!(sold(&log, "1-3"), [(1, 10, 2), (2, 10, 1)]);
        assert_eq!(sold(&log, "1-9").len(), 3);
        log.begin_behind(at("1-2"));
        assert_eq!(sold(&log, "1-4"), [(1, 11, 3)]);
    }

    #[test]
    fn issues_leave_with_their_campaign_and_come_back_with_its_next_life() {
        let forgotten = |position: &str| entry(position, "coupon_forgotten:1", "1 9");
        let set = |position: &str| entry(position, "coupon_set:1", "5 9 fixed 5 - - 3 3 1 2 3 again");
        let mut log = log_behind(
            "1-1",
            &[
                issued("1-2", 9, 3, 4),
                forgotten("1-3"),
                set("1-4"),
                issued("1-5", 9, 3, 2),
                issued("1-6", 9, 5, 1),
                forgotten("1-7"),
            ],
        );
        // User 3 got one in each life; user 4 has one that MySQL knows, user 8 none.
        let state = |log: &Log, user, mysql, to: &str| log.expected(issue(9, user), mysql, at(to));
        let told = ["1-1", "1-2", "1-3", "1-4", "1-5", "1-7"].map(|to| state(&log, 3, None, to));
        assert_eq!(told, [None, Some(0), None, None, Some(0), None]);
        let told = ["1-2", "1-3", "1-6"].map(|to| state(&log, 4, Some(0), to));
        assert_eq!(told, [Some(0), None, None]);
        assert_eq!(state(&log, 8, None, "1-6"), None);
        let count = |log: &Log, mysql, to: &str| log.expected_issues(coupon(9), mysql, at(to));
        let told = ["1-1", "1-2", "1-3", "1-4", "1-5", "1-6", "1-7"].map(|to| count(&log, 1, to));
        assert_eq!(told, [1, 2, 0, 0, 1, 2, 0]);
        assert_eq!(log.expected_issues(coupon(8), 5, at("1-7")), 5);
        let left = |to: &str| log.expected(Holding::Coupon(coupon(9)), Some(5), at(to));
        assert_eq!(["1-1", "1-2", "1-3", "1-4", "1-6"].map(left), [Some(5), Some(4), None, Some(3), Some(1)]);
        // MySQL has got to the second life.
        log.begin_behind(at("1-5"));
        assert_eq!((state(&log, 3, Some(0), "1-6"), count(&log, 1, "1-6")), (Some(0), 2));
        assert_eq!((state(&log, 3, Some(0), "1-7"), count(&log, 1, "1-7")), (None, 0));
        log.begin_behind(at("1-7"));
        assert!(log.campaigns.is_empty() && log.changes.is_empty());
    }

    #[test]
    fn what_mysql_has_is_forgotten_and_the_rest_goes_on() {
        let mut log =
            log_behind("7-10", &[charged("7-11", 1, 5), charged("7-12", 2, 6), charged("7-13", 1, 7)]);
        log.begin_behind(at("7-12"));
        assert_eq!((log.changes.len(), log.newest.len()), (1, 1));
        assert_eq!((value(&log, wallet(1), "7-13"), value(&log, wallet(2), "7-13")), (Some(Some(7)), None));
        // The change before was forgotten: MySQL's value counts.
        assert_eq!(value(&log, wallet(1), "7-12"), None);
        assert!(log.append(&charged("7-14", 2, 8)));
        assert_eq!(value(&log, wallet(2), "7-14"), Some(Some(8)));
        log.begin_behind(at("7-20"));
        assert_eq!((log.to, log.changes.len(), log.newest.len()), (at("7-20"), 0, 0));
        log.begin_behind(at("7-19"));
        assert_eq!(log.to, at("7-19"));
    }

    #[test]
    fn only_an_opener_that_names_the_last_event_may_leave_a_gap() {
        let mut log = log_behind("7-10", &[charged("7-11", 1, 5)]);
        assert!(!log.append(&charged("7-13", 1, 6)));
        assert!(!log.append(&charged("8-12", 1, 6)));
        assert!(!log.append(&entry("8-500", "opener:1", "1 7-10")));
        assert!(log.append(&entry("8-500", "opener:1", "1 7-11")));
        assert!(log.append(&entry("8-501", "garbage:9", "")) && log.append(&charged("8-502", 1, 6)));
        assert_eq!(value(&log, wallet(1), "8-501"), Some(Some(5)));
    }
}
