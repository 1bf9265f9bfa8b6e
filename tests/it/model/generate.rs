//! Random sequences of operations, weighted so that each outcome is seen, and that they shrink to few steps.

use firstcome::scripts::order_end::OrderEnding;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::operations::{Among, Asker, Cut, Key, KeyUse, Operation, OwnOr, Pick, Read, WhichOption};

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

/// One operation; or some in a row that seldom meet by chance: an id that begins a new life, a payment long after its
/// order, a refund of what has left the ranking, or the log.
fn steps() -> impl Strategy<Value = Vec<Operation>> {
    let relisted = (id(), id(), 2..=5u32).prop_map(|(product, user, limit)| {
        let delete = Operation::DeleteProduct { product, ended_ago_ms: None };
        let set = Operation::SetProduct {
            product,
            options: vec![0],
            price: 1,
            stock: Some(9),
            window: (None, None),
            limit: Some(limit),
        };
        let items = vec![(product, WhichOption::Listed(0), 2)];
        let place = Operation::Place { user, items, coupon: None, later: true, key: None };
        // The one that was placed in the life before.
        let order = Pick { among: Among::Pending, index: 1 };
        let (ending, caller) = (OrderEnding::Cancelled, Asker::Anybody);
        let end = Operation::End { order, ending, caller, read: Read::Nothing, key: None };
        vec![set.clone(), place.clone(), delete.clone(), delete, set, place, end]
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
    let late =
        (id(), id(), id(), select(vec![71 * HOUR, 73 * HOUR])).prop_map(|(user, other, product, ms)| {
            let place = |user, quantity| {
                let items = vec![(product, WhichOption::Listed(0), quantity)];
                Operation::Place { user, items, coupon: None, later: false, key: None }
            };
            // The one that was paid days before; the other's units stay.
            let order = Pick { among: Among::Paid, index: 1 };
            let (ending, caller) = (OrderEnding::Refunded, Asker::Anybody);
            let end = Operation::End { order, ending, caller, read: Read::Current, key: None };
            vec![place(user, 1), Operation::Pass { ms }, Operation::Roll, place(other, 2), end]
        });
    let trimmed = (2..=4u64, end(Among::Paid, OrderEnding::Refunded))
        .prop_map(|(keep, end)| vec![Operation::Trim { keep, behind: 0 }, end]);
    let paid_late = (place(), 1..=9i64).prop_map(|(place, minutes)| {
        let order = Pick { among: Among::Pending, index: 0 };
        let pay = Operation::Pay { order, coupon: None, caller: Asker::Anybody, key: None };
        vec![place, Operation::Pass { ms: minutes * MINUTE }, pay]
    });
    let released_twice = (place(), 0..3u8).prop_map(|(place, number)| {
        let (order, key) = (Pick { among: Among::Holding, index: 0 }, Some(KeyUse { number, twice: true }));
        vec![place, Operation::Release { order, coupon: OwnOr::Own, caller: Asker::Anybody, key }]
    });
    prop_oneof![
        60 => operation().prop_map(|it| vec![it]),
        1 => late,
        2 => trimmed,
        1 => relisted,
        1 => paid_late,
        1 => released_twice,
        1 => renewed.prop_map(|(over, forget, set, claim)| vec![over, forget.clone(), forget, set, claim]),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => id().prop_map(|user| Operation::CreateUser { user }),
        6 => charge(id().boxed(), false),
        2 => set_product(id().boxed(), false),
        8 => restock(),
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
        3 => (pick(Among::Paid), key_use()).prop_map(|(order, key)| Operation::Note { order, key }),
        2 => Just(Operation::Sweep),
        9 => (0..3usize).prop_map(|which| Operation::Again { which }),
        3 => (0..3usize, any::<bool>()).prop_map(|(which, other)| Operation::LookAtKey { which, other }),
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
    option::weighted(0.35, key_use())
}

fn key_use() -> impl Strategy<Value = KeyUse> {
    (0..3u8, proptest::bool::weighted(0.2)).prop_map(|(number, twice)| KeyUse { number, twice })
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
    let option = prop_oneof![5 => which_option(), 1 => Just(WhichOption::Id(0))];
    (id(), option, select(vec![-9, -1, 1, 2, 3, 1_000_000_000]), key())
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
