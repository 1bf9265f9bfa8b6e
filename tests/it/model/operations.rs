//! What can be done to a small shop. An operation names orders and times by where they are in the model
//! ("a pending order", "just before the next deadline"), so that a sequence stays sensible while it shrinks.

use firstcome::scripts::order_end::OrderEnding;

/// One step of a sequence. Ids are 1 to 3; product 3 mostly has the options 1 and 2.
#[derive(Debug, Clone)]
pub enum Operation {
    CreateUser {
        user: u64,
    },
    Charge {
        user: u64,
        amount: i64,
        create: bool,
        key: Key,
    },
    SetProduct {
        product: u64,
        options: Vec<u64>,
        price: i64,
        stock: Option<i64>,
        window: SaleWindow,
        limit: Option<u32>,
    },
    Restock {
        product: u64,
        option: WhichOption,
        delta: i64,
        key: Key,
    },
    DeleteProduct {
        product: u64,
        ended_ago_ms: Option<i64>,
    },
    SetCoupon {
        coupon: u64,
        discount: Cut,
        min_order: Option<i64>,
        quantity: i64,
        window: UseWindow,
    },
    Claim {
        user: u64,
        coupon: u64,
        create: bool,
        key: Key,
    },
    ForgetCoupon {
        coupon: u64,
        ended_ago_ms: i64,
    },
    Place {
        user: u64,
        items: Vec<(u64, WhichOption, u32)>,
        coupon: Option<OwnOr>,
        later: bool,
        key: Key,
    },
    Pay {
        order: Pick,
        coupon: Option<OwnOr>,
        caller: Asker,
        key: Key,
    },
    End {
        order: Pick,
        ending: OrderEnding,
        caller: Asker,
        read: Read,
        key: Key,
    },
    Release {
        order: Pick,
        coupon: OwnOr,
        caller: Asker,
        key: Key,
    },
    /// What a node does when a paid order is paid once more.
    Note {
        order: Pick,
        key: KeyUse,
    },
    /// What the worker does with overdue orders.
    Sweep,
    /// One of the last requests that had a key, once more.
    Again {
        which: usize,
    },
    /// At the key of one of the last requests that had one; with another request in mind, or with that one.
    LookAtKey {
        which: usize,
        other: bool,
    },
    LookAtOrder {
        order: Pick,
    },
    LookAtLists {
        user: u64,
    },
    Roll,
    Top {
        limit: usize,
    },
    /// What the worker does once MySQL has all events but the newest `behind`.
    Trim {
        keep: u64,
        behind: u64,
    },
    Pass {
        ms: i64,
    },
    /// To a time at which something begins or ends, or a millisecond beside it.
    PassTo {
        which: usize,
        off_ms: i64,
    },
}

/// An idempotency key of the caller's, if any.
pub type Key = Option<KeyUse>;

#[derive(Debug, Clone, Copy)]
pub struct KeyUse {
    pub number: u8,
    /// Whether the request is sent twice, as by a caller who heard no answer.
    pub twice: bool,
}

/// An option of a product: one of those that are listed, or one by its id.
#[derive(Debug, Clone, Copy)]
pub enum WhichOption {
    Listed(usize),
    Id(u64),
}

/// Offsets from now, in milliseconds.
pub type SaleWindow = (Option<i64>, Option<i64>);

/// When issuing begins, from now; how long it lasts; how much longer a unit can be used.
pub type UseWindow = (i64, i64, i64);

/// Discount: fixed amount, or percent with its bound.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    Fixed(i64),
    Percent(i64, Option<i64>),
}

/// An order in a status, the newest first; where there is none, any.
#[derive(Debug, Clone, Copy)]
pub struct Pick {
    pub among: Among,
    pub index: usize,
}

#[derive(Debug, Clone, Copy)]
pub enum Among {
    Pending,
    /// Pending, with a coupon.
    Holding,
    Paid,
    Ended,
    /// No order of the cell.
    Nobodys,
}

/// Whose order it must be.
#[derive(Debug, Clone, Copy)]
pub enum Asker {
    Anybody,
    Owner,
    Stranger,
}

/// The coupon that the order holds, or one that the buyer can use; or one by its id.
#[derive(Debug, Clone, Copy)]
pub enum OwnOr {
    Own,
    Id(u64),
}

/// What a refund knows of an order that has no hash.
#[derive(Debug, Clone, Copy)]
pub enum Read {
    Nothing,
    /// What the log says, or else MySQL, which has everything.
    Current,
    /// What MySQL said that many events ago.
    Old(u64),
    /// What MySQL said in an epoch before.
    BeforeEpoch,
}
