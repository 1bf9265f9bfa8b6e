//! What can be done to two pools in four cells, and random sequences of it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::pools::pools;
use super::rules::cells;

/// One step. `pool`: 0 the product, 1 the campaign. `cell`: any; `other`: which of those that are not the pool's home.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Describes a pool in its home; one that is new has `units`.
    Set {
        pool: usize,
        units: i64,
    },
    Restock {
        delta: i64,
    },
    /// Takes a pool away in its home.
    Delete {
        pool: usize,
    },
    /// Does in another cell what the home did, where MySQL has it.
    Copy {
        pool: usize,
        other: usize,
    },
    /// Takes a copy away of what the home said before its last deletion, however long ago that was.
    LateDelete {
        pool: usize,
        other: usize,
    },
    /// What the worker does once all cells have a change; `late`: of the change before.
    NoteCopies {
        pool: usize,
        late: bool,
    },
    Buy {
        pool: usize,
        cell: u16,
        user: usize,
        units: i64,
    },
    Cancel {
        cell: u16,
        which: usize,
    },
    Ask {
        pool: usize,
        cell: u16,
        least: i64,
        ask_ms: i64,
    },
    GiveHome {
        pool: usize,
        other: usize,
        least: i64,
        wanted: i64,
        share: u64,
    },
    Recall {
        pool: usize,
        other: usize,
        wanted: i64,
    },
    /// One of the last transfers that somebody heard of; `ahead`: with a number that it does not have yet.
    Take {
        which: usize,
        held: bool,
        ahead: u64,
    },
    /// One of the last transfers that somebody heard the arrival of.
    Settle {
        which: usize,
    },
    /// A transfer to its end, with all that MySQL must have for it.
    Deliver {
        which: usize,
        held: bool,
    },
    Gifts {
        cell: u16,
    },
    /// The next reading of a proof.
    Read {
        pool: usize,
        cell: u16,
    },
    Count {
        pool: usize,
    },
    Persist {
        cell: u16,
    },
    /// Redis loses what MySQL does not have of a cell.
    Crash {
        cell: u16,
    },
    Pass {
        ms: i64,
    },
}

/// Both pools listed everywhere, most of it; and then anything.
pub fn sequence() -> impl Strategy<Value = Vec<Operation>> {
    let opening = (opening(0), opening(1)).prop_map(|(stock, campaign)| [stock, campaign].concat());
    // Each step can be left out, which is how a sequence shrinks below its least length.
    let steps = vec((proptest::bool::weighted(1.0), steps()), 30..=45);
    (opening, steps).prop_map(|(opening, steps)| {
        let opening = opening.into_iter().filter(|(kept, _)| *kept).map(|(_, it)| it);
        opening.chain(steps.into_iter().filter(|(kept, _)| *kept).flat_map(|(_, it)| it)).collect()
    })
}

fn opening(pool: usize) -> impl Strategy<Value = Vec<(bool, Operation)>> {
    let listed = (1..=12i64).prop_map(move |units| {
        let persist = (0..4).map(|cell| Operation::Persist { cell });
        let copies = (0..3).map(move |other| Operation::Copy { pool, other });
        [Operation::Set { pool, units }].into_iter().chain(persist).chain(copies).collect::<Vec<_>>()
    });
    let kept = vec(proptest::bool::weighted(0.97), 8);
    (listed, kept).prop_map(|(listed, kept)| kept.into_iter().zip(listed).collect())
}

/// One operation; or some in a row that seldom meet by chance.
fn steps() -> impl Strategy<Value = Vec<Operation>> {
    let relisted = (pool(), 0..3usize, 1..=9i64, 0..3usize).prop_map(|(pool, other, units, which)| {
        let persist = (0..4).map(|cell| Operation::Persist { cell });
        let begin = [Operation::Delete { pool }, Operation::Set { pool, units }];
        let end = [
            Operation::GiveHome { pool, other, least: 1, wanted: 1, share: 8 },
            Operation::Take { which: 0, held: false, ahead: 0 },
            Operation::Copy { pool, other },
            Operation::LateDelete { pool, other },
            Operation::Take { which: 0, held: false, ahead: 0 },
            Operation::Take { which, held: false, ahead: 0 },
        ];
        begin.into_iter().chain(persist).chain(end).collect()
    });
    let read = (pool(), vec(steps_between(), 0..=3), any::<bool>()).prop_map(|(pool, between, back)| {
        let all =
            |back: bool| (0..4).map(move |it| Operation::Read { pool, cell: if back { 3 - it } else { it } });
        all(false).chain(between.into_iter().flatten()).chain(all(back)).collect()
    });
    let proof = (pool(), vec(operation(), 0..=1)).prop_map(|(pool, between)| {
        let all = || (0..4).map(|cell| Operation::Read { pool, cell });
        all().chain(between).chain(all()).collect()
    });
    let recalled = (pool(), 0..3usize, 1..=3i64, any::<bool>(), any::<bool>()).prop_map(
        |(pool, other, wanted, held, asks)| {
            let give = Operation::GiveHome { pool, other, least: 1, wanted, share: 8 };
            let (from, ms) = (0, if held { 250 } else { 1 });
            let ask = Operation::Ask { pool, cell: from, least: wanted, ask_ms: 500 };
            let recall = Operation::Recall { pool, other, wanted };
            let head = asks.then_some(ask).into_iter();
            head.chain([
                give,
                Operation::Deliver { which: 0, held },
                recall.clone(),
                Operation::Pass { ms },
                recall,
                Operation::Deliver { which: 0, held: false },
            ])
            .collect()
        },
    );
    let waited = (pool(), 0..3usize, 1..=2i64).prop_map(|(pool, other, wanted)| {
        let home = pools()[pool].home(cells());
        let cell = cells().all().filter(|it| *it != home).nth(other).expect("there are three").0;
        vec![
            Operation::Ask { pool, cell, least: 100, ask_ms: 500 },
            Operation::GiveHome { pool, other, least: 1, wanted, share: 2 },
        ]
    });
    let noted = pool().prop_map(|pool| -> Vec<Operation> {
        let persist = || (0..4).map(|cell| Operation::Persist { cell });
        let copies = (0..3).map(|other| Operation::Copy { pool, other });
        persist()
            .chain(copies)
            .chain(persist())
            .chain([Operation::NoteCopies { pool, late: false }])
            .collect()
    });
    prop_oneof![
        40 => operation().prop_map(|it| vec![it]),
        1 => noted,
        2 => waited,
        2 => relisted,
        2 => read,
        2 => proof,
        3 => recalled,
    ]
}

fn steps_between() -> impl Strategy<Value = Vec<Operation>> {
    prop_oneof![
        (pool(), cell(), 0..3usize, 1..=3i64).prop_map(|(pool, cell, user, units)| vec![Operation::Buy {
            pool,
            cell,
            user,
            units
        }]),
        cell().prop_map(|cell| vec![Operation::Cancel { cell, which: 0 }]),
        (1..=2i64).prop_map(|delta| vec![Operation::Restock { delta }]),
        (pool(), 0..3usize, 1..=3i64).prop_map(|(pool, other, wanted)| vec![
            Operation::GiveHome { pool, other, least: 1, wanted, share: 8 },
            Operation::Deliver { which: 0, held: false },
        ]),
        cell().prop_map(|cell| vec![Operation::Crash { cell }]),
        // A unit comes back, and is sold again: the share is what it was.
        (cell(), 0..3usize).prop_map(|(cell, user)| vec![
            Operation::Cancel { cell, which: 0 },
            Operation::Buy { pool: 0, cell, user, units: 1 },
        ]),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => (pool(), 0..=12i64).prop_map(|(pool, units)| Operation::Set { pool, units }),
        5 => select(vec![-9, -9, -5, -2, -1, 1, 2, 5]).prop_map(|delta| Operation::Restock { delta }),
        1 => pool().prop_map(|pool| Operation::Delete { pool }),
        4 => (pool(), 0..3usize).prop_map(|(pool, other)| Operation::Copy { pool, other }),
        1 => (pool(), 0..3usize).prop_map(|(pool, other)| Operation::LateDelete { pool, other }),
        2 => (pool(), any::<bool>()).prop_map(|(pool, late)| Operation::NoteCopies { pool, late }),
        14 => (pool(), cell(), 0..3usize, 1..=3i64)
            .prop_map(|(pool, cell, user, units)| Operation::Buy { pool, cell, user, units }),
        4 => (cell(), 0..3usize).prop_map(|(cell, which)| Operation::Cancel { cell, which }),
        9 => (pool(), cell(), 1..=6i64, prop_oneof![5 => Just(500), 1 => Just(0)])
            .prop_map(|(pool, cell, least, ask_ms)| Operation::Ask { pool, cell, least, ask_ms }),
        12 => (pool(), 0..3usize, 1..=4i64, 0..=3i64, select(vec![2, 8]))
            .prop_map(|(pool, other, least, more, share)| Operation::GiveHome { pool, other, least, wanted: if more == 0 { 0 } else { least + more - 1 }, share }),
        8 => (pool(), 0..3usize, 1..=4i64).prop_map(|(pool, other, wanted)| Operation::Recall { pool, other, wanted }),
        10 => (0..4usize, any::<bool>(), prop_oneof![5 => Just(0), 1 => 1..=2u64])
            .prop_map(|(which, held, ahead)| Operation::Take { which, held, ahead }),
        8 => (0..4usize).prop_map(|which| Operation::Settle { which }),
        12 => (prop_oneof![4 => Just(0), 1 => 0..4usize], any::<bool>()).prop_map(|(which, held)| Operation::Deliver { which, held }),
        2 => cell().prop_map(|cell| Operation::Gifts { cell }),
        4 => (pool(), cell()).prop_map(|(pool, cell)| Operation::Read { pool, cell }),
        1 => pool().prop_map(|pool| Operation::Count { pool }),
        8 => cell().prop_map(|cell| Operation::Persist { cell }),
        4 => cell().prop_map(|cell| Operation::Crash { cell }),
        5 => select(vec![1, 100, 249, 250, 251, 499, 500, 1_000]).prop_map(|ms| Operation::Pass { ms }),
    ]
}

/// The product more often: its units come back.
fn pool() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(0), 1 => Just(1)]
}

fn cell() -> impl Strategy<Value = u16> {
    0..4u16
}
