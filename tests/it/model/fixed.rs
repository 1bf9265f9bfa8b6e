//! Sequences that chance does not come to.

use proptest::test_runner::TestCaseError;
use tokio::runtime::Runtime;

use super::operations::{Among, Asker, Cut, Operation, OwnOr, Pick, WhichOption};
use super::run::Run;
use super::runtime;
use super::world::World;

/// Two pending orders of one user hold a coupon with one id: the first one's campaign was forgotten, and the id has a
/// new campaign.
fn one_coupon_id_held_twice() -> Vec<Operation> {
    let campaign = Operation::SetCoupon {
        coupon: 1,
        discount: Cut::Fixed(10),
        min_order: None,
        quantity: 1,
        window: (0, 1_000, 0),
    };
    let claim = Operation::Claim { user: 1, coupon: 1, create: false, key: None };
    let place = Operation::Place {
        user: 1,
        items: vec![(1, WhichOption::Listed(0), 1)],
        coupon: Some(OwnOr::Id(1)),
        later: true,
        key: None,
    };
    let product = Operation::SetProduct {
        product: 1,
        options: vec![0],
        price: 100,
        stock: Some(5),
        window: (None, None),
        limit: None,
    };
    let forget = [Operation::Pass { ms: 2_000 }, Operation::ForgetCoupon { coupon: 1, ended_ago_ms: 1 }];
    let life = [campaign, claim, place];
    let shop = [Operation::Charge { user: 1, amount: 500, create: true, key: None }, product];
    shop.into_iter().chain(life.clone()).chain(forget).chain(life).collect()
}

const OLDER: Pick = Pick { among: Among::Pending, index: 1 };

/// What can become of the first of the two orders.
fn ends() -> Vec<Operation> {
    vec![
        Operation::Pay { order: OLDER, coupon: None, caller: Asker::Anybody, key: None },
        Operation::Release { order: OLDER, coupon: OwnOr::Own, caller: Asker::Anybody, key: None },
        Operation::End {
            order: OLDER,
            ending: firstcome::scripts::order_end::OrderEnding::Cancelled,
            caller: Asker::Anybody,
            read: super::operations::Read::Nothing,
            key: None,
        },
    ]
}

/// Runs each fixed sequence.
pub fn run_all(world: &World, runtime: &Runtime) -> Result<(), TestCaseError> {
    for end in ends() {
        let operations: Vec<Operation> = one_coupon_id_held_twice().into_iter().chain([end]).collect();
        let run = Run::all(world, &operations);
        let seen = metrics::with_local_recorder(&world.outcomes, || runtime.block_on(run))?;
        let placed = seen.get(&("order_place".to_owned(), "PLACED".to_owned()));
        assert_eq!(placed, Some(&2), "both orders hold the coupon");
    }
    Ok(())
}

/// Goal: the first order lets the second one's coupon alone, whatever becomes of it.
#[test]
fn an_order_of_a_forgotten_campaign_leaves_a_new_ones_coupon_alone() {
    let runtime = runtime();
    let world = runtime.block_on(World::start());
    run_all(&world, &runtime).unwrap();
}
