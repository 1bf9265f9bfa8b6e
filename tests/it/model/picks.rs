//! What an operation means by "a pending order" or "the coupon that the user has": found in the model.

use firstcome::cell::Position;
use firstcome::coupon::IssueState;
use firstcome::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use firstcome::order::OrderStatus;
use firstcome::product::SkuId;
use firstcome::scripts::order_end::ReadOrder;

use super::operations::{Among, OwnOr, Pick, Read, WhichOption};
use super::rules::{EPOCH, Model, OrderRecord};

pub fn user(id: u64) -> UserId {
    UserId::new(id).expect("small")
}

pub fn coupon_id(id: u64) -> CouponId {
    CouponId::new(id).expect("small")
}

pub fn sku(product: u64, option: u64) -> SkuId {
    SkuId { product: ProductId::new(product).expect("small"), option: OptionId::new(option).expect("small") }
}

impl Model {
    pub fn find(&self, Pick { among, index }: Pick) -> OrderId {
        let is_meant = |it: &OrderRecord| match among {
            Among::Pending => it.status == OrderStatus::Pending,
            Among::Holding => it.status == OrderStatus::Pending && it.facts.coupon.is_some(),
            Among::Paid => it.status == OrderStatus::Paid,
            Among::Ended => ![OrderStatus::Pending, OrderStatus::Paid].contains(&it.status),
            Among::Nobodys => false,
        };
        let meant = self.orders.iter().filter(|(_, it)| is_meant(it));
        let mut meant: Vec<OrderId> = meant.map(|(id, _)| *id).collect();
        if meant.is_empty() && !matches!(among, Among::Nobodys) {
            meant = self.orders.keys().copied().collect();
        }
        let nobodys = OrderId::new(1_024).expect("small");
        meant.iter().rev().nth(index % meant.len().max(1)).copied().unwrap_or(nobodys)
    }

    pub fn sku(&self, product: u64, which: WhichOption) -> SkuId {
        let listed = self.products.get(&sku(product, 0).product);
        match (which, listed) {
            (WhichOption::Listed(index), Some(listed)) => {
                SkuId { option: listed.options[index % listed.options.len()], ..sku(product, 0) }
            }
            (WhichOption::Listed(_), None) => sku(product, 0),
            (WhichOption::Id(option), _) => sku(product, option),
        }
    }

    pub fn owner(&self, order: OrderId) -> UserId {
        self.orders.get(&order).map_or(user(1), |it| it.facts.user)
    }

    /// The coupon that an order holds, or else one that the user has and can use.
    pub fn coupon(&self, meant: OwnOr, user: UserId, order: Option<OrderId>) -> Option<CouponId> {
        let held = order.and_then(|it| self.orders.get(&it)?.facts.coupon);
        let issues = || self.issues.iter().filter(|(id, _)| id.user == user);
        let free = || issues().find(|(_, it)| it.state == IssueState::Issued).map(|(id, _)| id.coupon);
        match meant {
            OwnOr::Own => held.or_else(free),
            OwnOr::Id(id) => Some(coupon_id(id)),
        }
    }

    /// What somebody read of an order before asking to refund it: in the log, or in MySQL some events ago. Nothing
    /// where it was not paid by then.
    pub fn read(&self, order: OrderId, read: Read) -> Option<ReadOrder> {
        let record = self.orders.get(&order)?;
        let (paid_seq, _) = record.paid?;
        let in_log = record.facts.expires_at_ms.is_none() && record.placed >= self.oldest;
        let known_to = match read {
            Read::Nothing => return None,
            Read::Current if in_log => Model::position(record.placed - 1),
            Read::Current => Model::position(self.newest),
            Read::Old(ago) => Model::position(self.newest.saturating_sub(ago).max(paid_seq)),
            Read::BeforeEpoch => Position { epoch: EPOCH - 1, seq: paid_seq },
        };
        // Who knows of the refund does not ask for it.
        let knows_its_end = record.ended_at_ms.is_some() && known_to >= Model::position(record.last);
        (!knows_its_end).then(|| ReadOrder { facts: record.facts.clone(), paid_seq, known_to })
    }
}
