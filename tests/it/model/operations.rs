//! What can be done to a small shop, at random. An operation names orders and times by where they are in the model
//! ("a pending order", "just before the next deadline"), so that a sequence stays sensible while it shrinks.

use firstcome::scripts::order_end::OrderEnding;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

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

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A catalogue, users with money and coupons, most of it; and then anything.
pub fn sequence() -> impl Strategy<Value = Vec<Operation>> {
    let of = |id: u64| Just(id).boxed();
    let mostly = |it: BoxedStrategy<Operation>| (proptest::bool::weighted(0.9), it);
    let users = (1..=3).map(|id| charge(of(id), true).boxed());
    let products = (1..=3).map(|id| set_product(of(id), true).boxed());
    let coupons = (1..=3).map(|id| set_coupon(of(id), true).boxed());
    let claims = (0..6u64).map(|index| {
        let claim = move |coupon| Operation::Claim { user: index / 2 + 1, coupon, create: false, key: None };
        id().prop_map(claim).boxed()
    });
    let opening: Vec<_> = users.chain(products).chain(coupons).chain(claims).map(mostly).collect();
    // Each step can be left out, which is how a sequence shrinks below its least length.
    let steps = vec((proptest::bool::weighted(1.0), steps()), 30..=40);
    (opening, steps).prop_map(|(opening, steps)| {
        let opening = opening.into_iter().filter(|(kept, _)| *kept).map(|(_, it)| it);
        opening.chain(steps.into_iter().filter(|(kept, _)| *kept).flat_map(|(_, it)| it)).collect()
    })
}

/// One operation; or some in a row that seldom meet by chance: an id that begins a new life, a refund of what has left
/// the ranking, or the log.
fn steps() -> impl Strategy<Value = Vec<Operation>> {
    let relisted = id().prop_flat_map(|product| {
        let delete = Just(Operation::DeleteProduct { product, ended_ago_ms: None });
        (delete, set_product(Just(product).boxed(), true), place())
    });
    let renewed = (id(), -1..=1i64).prop_flat_map(|(coupon, ended_ago_ms)| {
        let over = Operation::SetCoupon {
            coupon,
            discount: Cut::Fixed(10),
            min_order: None,
            quantity: 4,
            window: (-HOUR, MINUTE, MINUTE),
        };
        let forget = Just(Operation::ForgetCoupon { coupon, ended_ago_ms });
        let claim = id().prop_map(move |user| Operation::Claim { user, coupon, create: false, key: None });
        (Just(over), forget, set_coupon(Just(coupon).boxed(), true), claim)
    });
    let late = (select(vec![71 * HOUR, 73 * HOUR]), end(Among::Paid, OrderEnding::Refunded))
        .prop_map(|(ms, end)| vec![Operation::Pass { ms }, Operation::Roll, end]);
    let trimmed = (2..=4u64, end(Among::Paid, OrderEnding::Refunded))
        .prop_map(|(keep, end)| vec![Operation::Trim { keep, behind: 0 }, end]);
    prop_oneof![
        60 => operation().prop_map(|it| vec![it]),
        1 => late,
        2 => trimmed,
        1 => relisted.prop_map(|(delete, set, place)| vec![delete, set, place]),
        1 => renewed.prop_map(|(over, forget, set, claim)| vec![over, forget, set, claim]),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => id().prop_map(|user| Operation::CreateUser { user }),
        6 => charge(id().boxed(), false),
        2 => set_product(id().boxed(), false),
        5 => restock(),
        1 => (id(), option::of(ago())).prop_map(|(product, ended_ago_ms)| Operation::DeleteProduct { product, ended_ago_ms }),
        3 => set_coupon(id().boxed(), false),
        9 => (id(), id(), any::<bool>(), key()).prop_map(|(user, coupon, create, key)| Operation::Claim { user, coupon, create, key }),
        1 => (id(), ago()).prop_map(|(coupon, ended_ago_ms)| Operation::ForgetCoupon { coupon, ended_ago_ms }),
        34 => place(),
        12 => (pick(Among::Pending), option::weighted(0.4, own_or()), asker(), key())
            .prop_map(|(order, coupon, caller, key)| Operation::Pay { order, coupon, caller, key }),
        4 => end(Among::Pending, OrderEnding::Cancelled),
        2 => end(Among::Pending, OrderEnding::Expired),
        12 => end(Among::Paid, OrderEnding::Refunded),
        9 => (pick(Among::Holding), own_or(), asker(), key())
            .prop_map(|(order, coupon, caller, key)| Operation::Release { order, coupon, caller, key }),
        2 => Just(Operation::Sweep),
        9 => (0..3usize).prop_map(|which| Operation::Again { which }),
        2 => (0..3usize, any::<bool>()).prop_map(|(which, other)| Operation::LookAtKey { which, other }),
        2 => pick(Among::Paid).prop_map(|order| Operation::LookAtOrder { order }),
        1 => (1..=4u64).prop_map(|user| Operation::LookAtLists { user }),
        1 => Just(Operation::Roll),
        3 => (1..=4usize).prop_map(|limit| Operation::Top { limit }),
        4 => (1..=4u64, prop_oneof![4 => Just(0), 1 => 0..5u64]).prop_map(|(keep, behind)| Operation::Trim { keep, behind }),
        4 => select(vec![1, SECOND, MINUTE, 5 * MINUTE, 10 * MINUTE, HOUR]).prop_map(|ms| Operation::Pass { ms }),
        1 => select(vec![DAY, 71 * HOUR, 73 * HOUR, 2_000 * HOUR]).prop_map(|ms| Operation::Pass { ms }),
        4 => (0..4usize, -1..=1i64).prop_map(|(which, off_ms)| Operation::PassTo { which, off_ms }),
    ]
}

fn id() -> impl Strategy<Value = u64> {
    1..=3u64
}

fn key() -> impl Strategy<Value = Key> {
    let key_use =
        (0..3u8, proptest::bool::weighted(0.2)).prop_map(|(number, twice)| KeyUse { number, twice });
    option::weighted(0.35, key_use)
}

/// How long ago something must have ended; mostly not long.
fn ago() -> impl Strategy<Value = i64> {
    select(vec![-1, 0, 1, MINUTE, HOUR, DAY])
}

fn charge(user: BoxedStrategy<u64>, create: bool) -> impl Strategy<Value = Operation> {
    let key = if create { Just(None).boxed() } else { key().boxed() };
    let amounts = if create { vec![500, 1_000, 1_500] } else { vec![1, 100, 500, 1_500] };
    (user, select(amounts), proptest::bool::weighted(if create { 1.0 } else { 0.3 }), key)
        .prop_map(|(user, amount, create, key)| Operation::Charge { user, amount, create, key })
}

/// `first`: mostly something that can be bought.
fn set_product(product: BoxedStrategy<u64>, first: bool) -> impl Strategy<Value = Operation> {
    let (often, rarely) = if first { (40, 0.04) } else { (10, 0.15) };
    let price = prop_oneof![often => select(vec![0, 1, 99, 100, 250]), 1 => Just(9_999_999_999_999i64)];
    let starts = option::weighted(rarely, select(vec![-HOUR, 0, 1, SECOND, 5 * MINUTE]));
    let ends = option::weighted(2.0 * rarely, select(vec![-SECOND, 0, 1, MINUTE, HOUR, DAY]));
    let stock = option::weighted(if first { 0.99 } else { 0.3 }, select(vec![1, 4, 9, 20]));
    let limit = option::weighted(0.4, 2..=5u32);
    (product, 0..13u8, price, stock, (starts, ends), limit).prop_map(
        |(product, shape, price, stock, window, limit)| {
            let options = match (product, shape) {
                (3, 0..10) => vec![1, 2],
                (3, 10) => vec![2],
                (3, 11) => vec![2, 1],
                (3, _) => vec![0],
                (_, 12) => vec![1],
                _ => vec![0],
            };
            Operation::SetProduct { product, options, price, stock, window, limit }
        },
    )
}

fn restock() -> impl Strategy<Value = Operation> {
    (id(), which_option(), select(vec![-9, -1, 1, 2, 3, 1_000_000_000]), key())
        .prop_map(|(product, option, delta, key)| Operation::Restock { product, option, delta, key })
}

fn which_option() -> impl Strategy<Value = WhichOption> {
    prop_oneof![
        25 => (0..2usize).prop_map(WhichOption::Listed),
        1 => Just(WhichOption::Id(0)),
        1 => Just(WhichOption::Id(1)),
    ]
}

/// `first`: mostly one that can be claimed and used.
fn set_coupon(coupon: BoxedStrategy<u64>, first: bool) -> impl Strategy<Value = Operation> {
    let percent = (select(vec![1, 33, 50, 100]), option::of(select(vec![5, 50])));
    let discount = prop_oneof![
        select(vec![0, 10, 100, 1_000]).prop_map(Cut::Fixed),
        percent.prop_map(|(value, max_amount)| Cut::Percent(value, max_amount)),
    ];
    let starts = prop_oneof![6 => Just(-HOUR), 1 => Just(0), 1 => Just(MINUTE)];
    let short = select(vec![1, HOUR + 1, 2 * HOUR]);
    let lasts = prop_oneof![if first { 1 } else { 4 } => short, 8 => select(vec![DAY, 10 * DAY, 100 * DAY])];
    let quantity = if first { 1..=4i64 } else { 0..=4 };
    let window = (starts, lasts, select(vec![0, HOUR, DAY]));
    (coupon, discount, option::weighted(0.3, select(vec![100, 300])), quantity, window).prop_map(
        |(coupon, discount, min_order, quantity, window)| Operation::SetCoupon {
            coupon,
            discount,
            min_order,
            quantity,
            window,
        },
    )
}

fn place() -> impl Strategy<Value = Operation> {
    let quantity = prop_oneof![24 => 1..=2u32, 3 => 3..=6u32, 1 => Just(1_000)];
    let item = (id(), which_option(), quantity).boxed();
    (
        id(),
        prop_oneof![2 => vec(item.clone(), 1), 1 => vec(item, 2..=3)],
        option::weighted(0.6, own_or()),
        any::<bool>(),
        key(),
    )
        .prop_map(|(user, items, coupon, later, key)| Operation::Place {
            user,
            items,
            coupon,
            later,
            key,
        })
}

fn pick(usually: Among) -> impl Strategy<Value = Pick> {
    let among = prop_oneof![
        12 => Just(usually),
        1 => Just(Among::Pending),
        1 => Just(Among::Paid),
        2 => Just(Among::Ended),
        1 => Just(Among::Nobodys),
    ];
    (among, 0..4usize).prop_map(|(among, index)| Pick { among, index })
}

fn own_or() -> impl Strategy<Value = OwnOr> {
    prop_oneof![4 => Just(OwnOr::Own), 1 => id().prop_map(OwnOr::Id)]
}

fn asker() -> impl Strategy<Value = Asker> {
    prop_oneof![6 => Just(Asker::Anybody), 3 => Just(Asker::Owner), 1 => Just(Asker::Stranger)]
}

fn end(usually: Among, ending: OrderEnding) -> impl Strategy<Value = Operation> {
    let read = prop_oneof![
        4 => Just(Read::Current),
        1 => Just(Read::Nothing),
        4 => (0..4u64).prop_map(Read::Old),
        1 => Just(Read::BeforeEpoch),
    ];
    (pick(usually), asker(), read, key()).prop_map(move |(order, caller, read, key)| Operation::End {
        order,
        ending,
        caller,
        read,
        key,
    })
}
