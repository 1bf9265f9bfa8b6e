//! Promise: whatever happens in whatever order, the transfers between cells lose no unit and double none, nobody hears "sold
//! out" while there are units, and who waits for units that there are can be served. The protocol of `across` as it is
//! built, in every order of its steps (docs/decisions/0027).

mod desk;
mod graph;
mod state;
mod steps;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use graph::Graph;
use state::{CELLS, Cell, Logged, Phase, State};
use steps::{Action, Shop, Variant};

impl Model for Shop {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let logged =
            |cell: usize| Logged { remaining: self.units[cell], held: self.held[cell], ..Logged::default() };
        let mysql: [Logged; CELLS] = std::array::from_fn(logged);
        let cells = mysql.map(|logged| Cell { logged, ..Cell::default() });
        let Self { crashes, cancels, leaves, .. } = *self;
        let buyers = vec![Phase::Try; self.buyers.len()];
        vec![State { cells, mysql, asks: Vec::new(), buyers, crashes, cancels, leaves }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        Shop::actions(self, state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.next(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(KEPT, |shop: &Self, state: &State| {
                state.free().is_some_and(|free| free + state.held() == shop.total())
            }),
            Property::always(TRUE, |_: &Self, state: &State| {
                !state
                    .buyers
                    .iter()
                    .any(|it| matches!(it, Phase::Leave { wrong: true } | Phase::Short { wrong: true }))
            }),
        ]
    }
}

const KEPT: &str = "no unit is lost or doubled";
const TRUE: &str = "sold out is said of a moment at which it was so";

/// A shop, and what it is about.
type Case = (&'static str, Shop);

fn shop(units: [i8; CELLS], buyers: &[(usize, i8)]) -> Shop {
    Shop { units, buyers: buyers.to_vec(), ..Shop::default() }
}

/// Those in which anything may go wrong.
fn faulty() -> Vec<Case> {
    vec![
        (
            "two recoveries, and a unit comes back",
            Shop { held: [0, 0, 1], crashes: 2, cancels: 1, ..shop([0, 1, 0], &[(2, 1)]) },
        ),
        (
            "units come back twice, and a buyer gives up",
            Shop { held: [1, 0, 1], crashes: 1, cancels: 2, leaves: 1, ..shop([0, 1, 0], &[(2, 1)]) },
        ),
        ("an order gathers units", Shop { crashes: 1, leaves: 1, ..shop([0, 1, 1], &[(2, 2)]) }),
    ]
}

fn home_and_another() -> Case {
    let shop = Shop { crashes: 1, reads_at_once: true, ..shop([0, 1, 0], &[(0, 1), (2, 1)]) };
    ("the home's buyer, and another cell's", shop)
}

/// In this one readings go on while other things happen.
fn behind_a_reader() -> Case {
    let shop = Shop { held: [0, 1, 0], cancels: 1, ..shop([0, 0, 1], &[(0, 1), (2, 1)]) };
    ("a unit comes back behind a reader", shop)
}

/// As [`faulty`], for those who have minutes: `FIRSTCOME_PROTOCOL=all`, best with `--release`.
fn large() -> Vec<Case> {
    let two = [(1, 1), (2, 1)];
    vec![
        behind_a_reader(),
        ("two wait for one unit", shop([1, 0, 0], &two)),
        ("and a recovery", Shop { crashes: 1, ..shop([1, 0, 0], &two) }),
        ("and two", Shop { crashes: 2, reads_at_once: true, ..shop([1, 0, 0], &two) }),
        ("two wait for what comes back", Shop { held: [1, 1, 0], cancels: 1, ..shop([0; 3], &two) }),
        (
            "a recovery while the home gives more than is asked for",
            Shop { crashes: 1, share: 2, reads_at_once: true, ..shop([2, 0, 0], &[(1, 1), (2, 2)]) },
        ),
    ]
}

fn is_large_run() -> bool {
    std::env::var("FIRSTCOME_PROTOCOL").is_ok_and(|it| it == "all")
}

/// Those in which nothing goes wrong, and holds end in time.
fn calm() -> Vec<Case> {
    let calm = |shop| Shop { in_time: true, reads_at_once: true, ..shop };
    vec![
        ("two cells, one unit", calm(shop([1, 0, 0], &[(1, 1), (2, 1)]))),
        ("two cells, which want all there is", calm(shop([0, 1, 1], &[(1, 2), (2, 2)]))),
        ("the home, and another cell", calm(shop([0, 1, 0], &[(0, 1), (2, 1)]))),
        ("the home wants all", calm(shop([0, 1, 1], &[(0, 2), (2, 1)]))),
        (
            "a home that gives more than is asked for",
            Shop { share: 2, ..calm(shop([1, 1, 0], &[(1, 2), (2, 2)])) },
        ),
    ]
}

/// Goal: no order of steps, recoveries and cancellations loses a unit, doubles one, or makes a proof wrong.
#[test]
fn no_unit_is_lost_and_sold_out_is_true() {
    let mut cases = faulty();
    cases.push(home_and_another());
    if is_large_run() {
        cases.extend(large());
    }
    for (name, shop) in cases {
        let began = Instant::now();
        let checked = shop.checker().threads(2).spawn_bfs().join();
        println!("{:9} states, {:5.1?}: {name}", checked.unique_state_count(), began.elapsed());
        checked.assert_properties();
    }
}

/// Goal: from every state in which somebody waits for units that there are, steps without a further fault lead to a sale.
#[test]
fn whoever_waits_for_units_that_there_are_can_be_served() {
    let mut cases = faulty();
    cases.extend(calm());
    if is_large_run() {
        cases.push(home_and_another());
        cases.extend(large());
    }
    for (name, shop) in cases {
        let began = Instant::now();
        let graph = Graph::explore(&shop);
        println!("{:9} states, {:5.1?}: {name}", graph.states.len(), began.elapsed());
        if let Some(stuck) = graph.stuck().first() {
            panic!("{name}: nothing leads on from\n{}", graph.tell(&graph.path(*stuck)));
        }
    }
}

/// Rounds without a sale that fair turns do not leave, of all calm shops.
fn rounds(variant: Variant) -> Vec<String> {
    let of = |(name, shop): Case| {
        let shop = Shop { variant, ..shop };
        let graph = Graph::explore(&shop);
        let (to, round) = graph.fair_round()?;
        let steps = graph.tell(&[to.clone(), round].concat());
        Some(format!("{name}; after {} steps for ever:\n{steps}", to.len()))
    };
    calm().into_iter().filter_map(of).collect()
}

/// Goal: where holds and questions do not end too early, units do not go back and forth for ever between those who wait.
#[test]
fn fair_turns_serve_somebody() {
    let rounds = rounds(Variant::AsBuilt);
    assert!(rounds.is_empty(), "{}", rounds.join("\n"));
}

/// Promise of the model itself: without what keeps units for those who wait it finds such a round.
#[test]
fn each_way_to_keep_units_is_needed() {
    for variant in [Variant::HoldsOnlyOwn, Variant::LosesPlace] {
        assert!(!rounds(variant).is_empty(), "{variant:?} serves somebody");
    }
}

/// Promise of the model itself: without a rule of the protocol it finds what goes wrong.
#[test]
fn each_rule_is_needed() {
    for (variant, broken) in
        [(Variant::TakesEarly, KEPT), (Variant::SettlesEarly, KEPT), (Variant::ReadsOnce, TRUE)]
    {
        let found = faulty().into_iter().chain([behind_a_reader()]).find_map(|(_, shop)| {
            let checker = Shop { variant, ..shop }.checker().finish_when(HasDiscoveries::AnyFailures);
            let checked = checker.spawn_bfs().join();
            checked.discovery(broken)
        });
        let steps = found.unwrap_or_else(|| panic!("{variant:?} breaks nothing")).into_actions();
        println!("{variant:?}, after {} steps: {broken}: {steps:?}", steps.len());
    }
}
