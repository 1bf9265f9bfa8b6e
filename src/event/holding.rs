//! What events change, as numbers: for rows, and for the audit.

use std::fmt;

use super::Event;
use crate::cell::{CellId, Position, order_id};
use crate::coupon::{IssueId, IssueState};
use crate::ids::{CouponId, UserId};
use crate::pool::Pool;
use crate::product::SkuId;

/// What holds a number that events change: a wallet its balance, a SKU and a coupon the units left, and one
/// user's unit of a coupon its state (see [`IssueState::number`]); and what cells moved of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holding {
    Wallet(UserId),
    Sku(SkuId),
    Coupon(CouponId),
    Issue(IssueId),
    /// Units that came from other cells, less those that went there.
    Moved(Pool),
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wallet(user) => user.fmt(f),
            Self::Sku(SkuId { product, option }) => write!(f, "{product}:{option}"),
            Self::Coupon(coupon) => coupon.fmt(f),
            Self::Issue(IssueId { coupon, user }) => write!(f, "{coupon}:{user}"),
            Self::Moved(pool) => pool.fmt(f),
        }
    }
}

fn issue(coupon: CouponId, user: UserId) -> Holding {
    Holding::Issue(IssueId { coupon, user })
}

impl Event {
    /// Hands over each absolute value that the event at `position` carries: what something holds after it;
    /// `None`: it is gone. The issues of a forgotten coupon are gone with it, unnamed.
    pub fn absolute_values(
        &self,
        cell: CellId,
        position: Position,
        mut each: impl FnMut(Holding, Option<i64>),
    ) {
        match self {
            Self::Opener { .. } | Self::KeyNoted { .. } => {}
            Self::UserCreated { user, .. } => each(Holding::Wallet(*user), Some(0)),
            Self::Charged { user, balance, .. } => each(Holding::Wallet(*user), Some(*balance)),
            Self::ProductSet(set) => {
                for sku in &set.skus {
                    let id = SkuId { product: set.product, option: sku.option };
                    each(Holding::Sku(id), Some(sku.remaining));
                }
            }
            Self::Restocked { sku, remaining, .. } => each(Holding::Sku(*sku), Some(*remaining)),
            Self::ProductDeleted { left, .. } => {
                for it in left {
                    each(Holding::Sku(it.sku), None);
                    each(Holding::Moved(Pool::Stock(it.sku)), None);
                }
            }
            Self::CouponSet { coupon, remaining, moved, .. } => {
                each(Holding::Coupon(coupon.id), Some(*remaining));
                each(Holding::Moved(Pool::Coupon(coupon.id)), Some(*moved));
            }
            Self::QuotaMoved(moved) => {
                let holding = match moved.pool {
                    Pool::Stock(sku) => Holding::Sku(sku),
                    Pool::Coupon(coupon) => Holding::Coupon(coupon),
                };
                each(holding, Some(moved.remaining));
                each(Holding::Moved(moved.pool), Some(moved.moved));
            }
            Self::CouponIssued(issued) => {
                if issued.created_user {
                    each(Holding::Wallet(issued.issue.user), Some(0));
                }
                each(Holding::Coupon(issued.issue.coupon), Some(issued.remaining));
                each(Holding::Issue(issued.issue), Some(IssueState::Issued.number()));
            }
            Self::CouponForgotten { coupon, .. } => {
                each(Holding::Coupon(*coupon), None);
                each(Holding::Moved(Pool::Coupon(*coupon)), None);
            }
            Self::OrderPaid(paid) => {
                each(Holding::Wallet(paid.user), Some(paid.balance));
                paid.lines.iter().for_each(|it| each(Holding::Sku(it.sku), Some(it.remaining)));
                if let (Some(coupon), Some(order)) = (paid.coupon, order_id(cell, position.seq)) {
                    each(issue(coupon, paid.user), Some(IssueState::Used(order).number()));
                }
            }
            Self::OrderPlaced { facts, remaining, .. } => {
                facts
                    .lines
                    .iter()
                    .zip(remaining)
                    .for_each(|(it, left)| each(Holding::Sku(it.sku), Some(*left)));
                if let (Some(coupon), Some(order)) = (facts.coupon, order_id(cell, position.seq)) {
                    each(issue(coupon, facts.user), Some(IssueState::Held(order).number()));
                }
            }
            Self::OrderSettled(settled) => {
                let user = settled.facts.user;
                each(Holding::Wallet(user), Some(settled.balance));
                if let Some(coupon) = settled.facts.coupon {
                    each(issue(coupon, user), Some(IssueState::Used(settled.order).number()));
                }
                if let Some(freed) = settled.freed {
                    each(issue(freed, user), Some(IssueState::Issued.number()));
                }
            }
            Self::OrderEnded(ended) => {
                let facts = &ended.facts;
                if let Some(balance) = ended.balance {
                    each(Holding::Wallet(facts.user), Some(balance));
                }
                facts
                    .lines
                    .iter()
                    .zip(&ended.remaining)
                    .for_each(|(it, left)| each(Holding::Sku(it.sku), *left));
                if let Some(freed) = ended.freed {
                    each(issue(freed, facts.user), Some(IssueState::Issued.number()));
                }
            }
            Self::CouponReleased { facts, coupon, .. } => {
                each(issue(*coupon, facts.user), Some(IssueState::Issued.number()));
            }
        }
    }
}
