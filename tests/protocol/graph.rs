//! What a breadth-first search for bad states does not see: states from which nothing good can follow, and rounds that fair
//! turns do not leave.

use std::collections::{HashMap, HashSet, VecDeque};

use stateright::Model;

use super::state::State;
use super::steps::{Action, Shop};

/// All states that can be reached, and the steps between them.
pub struct Graph<'a> {
    shop: &'a Shop,
    pub states: Vec<State>,
    steps: Vec<Vec<(Action, u32)>>,
    /// The first step that led to each state.
    parents: Vec<Option<(u32, Action)>>,
}

/// One whose turn comes again and again, as long as it has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Process {
    Buyer(usize),
    /// MySQL's row of a cell, whoever settles or carries a transfer, and the clock.
    Of(Action),
}

impl Process {
    /// `None`: nobody's, it happens or does not.
    fn of(action: Action) -> Option<Self> {
        match action {
            Action::Buyer(buyer, _) => Some(Self::Buyer(buyer)),
            Action::Persist(_)
            | Action::Settle(..)
            | Action::Worker(..)
            | Action::HoldEnds(_)
            | Action::AskEnds(_) => Some(Self::Of(action)),
            Action::Cancel(_) | Action::Crash(_) | Action::Leave(_) => None,
        }
    }
}

impl<'a> Graph<'a> {
    pub fn explore(shop: &'a Shop) -> Self {
        let mut graph = Self { shop, states: shop.init_states(), steps: Vec::new(), parents: vec![None] };
        let mut known: HashMap<State, u32> = graph.states.iter().cloned().zip(0..).collect();
        let mut actions = Vec::new();
        while let Some(state) = graph.states.get(graph.steps.len()).cloned() {
            let from = graph.steps.len() as u32;
            shop.actions(&state, &mut actions);
            let mut steps = Vec::with_capacity(actions.len());
            for action in actions.drain(..) {
                let next = shop.next(&state, action);
                let to = *known.entry(next).or_insert_with_key(|next| {
                    graph.states.push(next.clone());
                    graph.parents.push(Some((from, action)));
                    graph.states.len() as u32 - 1
                });
                steps.push((action, to));
            }
            graph.steps.push(steps);
        }
        graph
    }

    /// A step after which somebody who waited has what they wanted.
    fn is_sale(&self, from: u32, to: u32) -> bool {
        self.states[to as usize].held() > self.states[from as usize].held()
    }

    /// States in which somebody waits for units that there are, and nothing but a further fault could ever bring a sale.
    pub fn stuck(&self) -> Vec<u32> {
        let mut before: Vec<Vec<u32>> = vec![Vec::new(); self.states.len()];
        let mut leads = vec![false; self.states.len()];
        let mut next = Vec::new();
        for (from, steps) in (0..).zip(&self.steps) {
            for (action, to) in steps.iter().filter(|(action, _)| Process::of(*action).is_some()) {
                if matches!(action, Action::Buyer(..)) && self.is_sale(from, *to) {
                    if !std::mem::replace(&mut leads[from as usize], true) {
                        next.push(from);
                    }
                } else {
                    before[*to as usize].push(from);
                }
            }
        }
        while let Some(state) = next.pop() {
            for from in &before[state as usize] {
                if !std::mem::replace(&mut leads[*from as usize], true) {
                    next.push(*from);
                }
            }
        }
        let all = 0..self.states.len() as u32;
        all.filter(|it| !leads[*it as usize] && self.shop.can_be_served(&self.states[*it as usize])).collect()
    }

    /// A round without a sale that goes on for ever although each has its turn, while units are there for somebody who
    /// waits; as the steps to it, and those in it.
    pub fn fair_round(&self) -> Option<(Vec<Action>, Vec<Action>)> {
        let stays = |from: u32, (action, to): &(Action, u32)| {
            Process::of(*action).is_some()
                && !self.is_sale(from, *to)
                && self.shop.can_be_served(&self.states[*to as usize])
        };
        let next: Vec<Vec<u32>> = (0..)
            .zip(&self.steps)
            .map(|(from, steps)| steps.iter().filter(|it| stays(from, it)).map(|it| it.1).collect())
            .collect();
        let rounds = components(&next);
        let fair = rounds.into_iter().filter(|it| self.is_fair(it, &stays));
        let round = fair.min_by_key(|it| it.iter().min().copied())?;
        let first = *round.iter().min().expect("a round has a state");
        Some((self.path(first), self.around(first, &round, &stays)))
    }

    /// Whether each process has its turn in it, or nothing to do at some time.
    fn is_fair(&self, round: &[u32], stays: &impl Fn(u32, &(Action, u32)) -> bool) -> bool {
        let is_in: HashSet<u32> = round.iter().copied().collect();
        let mut turns = HashSet::new();
        // In how many states each has something to do.
        let mut can: HashMap<Process, usize> = HashMap::new();
        for from in round {
            let steps = &self.steps[*from as usize];
            let processes: HashSet<Process> = steps.iter().filter_map(|it| Process::of(it.0)).collect();
            processes.into_iter().for_each(|it| *can.entry(it).or_default() += 1);
            let inside = steps.iter().filter(|it| is_in.contains(&it.1) && stays(*from, it));
            turns.extend(inside.filter_map(|it| Process::of(it.0)));
        }
        !turns.is_empty()
            && can.iter().all(|(process, states)| *states < round.len() || turns.contains(process))
    }

    /// The shortest way to a state.
    pub fn path(&self, to: u32) -> Vec<Action> {
        let mut path: Vec<Action> =
            std::iter::successors(self.parents[to as usize], |(from, _)| self.parents[*from as usize])
                .map(|(_, action)| action)
                .collect();
        path.reverse();
        path
    }

    /// Steps from the beginning on, and what is there after each: units of each cell (`!`: held), the line, and what each
    /// buyer is at.
    pub fn tell(&self, path: &[Action]) -> String {
        let mut state = self.states[0].clone();
        let mut told = String::new();
        for action in path {
            state = self.shop.next(&state, *action);
            let cells =
                state.cells.map(|it| format!("{}{}", it.logged.remaining, if it.hold { "!" } else { "" }));
            let line: Vec<u8> = state.asks.iter().filter(|it| it.counts).map(|it| it.cell).collect();
            told += &format!("  {action:?}: {} line {line:?} {:?}\n", cells.join(" "), state.buyers);
        }
        told
    }

    /// A way from a state back to it on which each process has the turn that it can have.
    fn around(&self, first: u32, round: &[u32], stays: &impl Fn(u32, &(Action, u32)) -> bool) -> Vec<Action> {
        let is_in: HashSet<u32> = round.iter().copied().collect();
        let inside = |from: u32| {
            let steps = self.steps[from as usize].iter();
            steps.filter(|it| is_in.contains(&it.1) && stays(from, it)).copied().collect::<Vec<_>>()
        };
        let mut missing: HashSet<Process> =
            round.iter().flat_map(|it| inside(*it)).filter_map(|it| Process::of(it.0)).collect();
        let (mut way, mut at) = (Vec::new(), first);
        loop {
            let is_end = |step: &(Action, u32)| match missing.is_empty() {
                true => step.1 == first,
                false => Process::of(step.0).is_some_and(|it| missing.contains(&it)),
            };
            let (steps, end) = shortest(at, &inside, is_end);
            steps.iter().filter_map(|it| Process::of(*it)).for_each(|it| {
                missing.remove(&it);
            });
            way.extend(steps);
            at = end;
            if missing.is_empty() && at == first {
                return way;
            }
        }
    }
}

/// The shortest way over `steps` to the end of a step that is one of the last ones.
fn shortest(
    from: u32,
    steps: &impl Fn(u32) -> Vec<(Action, u32)>,
    is_last: impl Fn(&(Action, u32)) -> bool,
) -> (Vec<Action>, u32) {
    let mut ways: HashMap<u32, Vec<Action>> = HashMap::from([(from, Vec::new())]);
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        for step in steps(at) {
            let way: Vec<Action> = ways[&at].iter().copied().chain([step.0]).collect();
            if is_last(&step) {
                return (way, step.1);
            }
            ways.entry(step.1).or_insert_with(|| {
                queue.push_back(step.1);
                way
            });
        }
    }
    unreachable!("the states of a round lead to each other")
}

/// States that lead to each other: the strongly connected components with a step in them (Tarjan, without recursion).
fn components(next: &[Vec<u32>]) -> Vec<Vec<u32>> {
    const NEW: u32 = u32::MAX;
    let (mut index, mut low) = (vec![NEW; next.len()], vec![0; next.len()]);
    let (mut open, mut is_open, mut found, mut count) = (Vec::new(), vec![false; next.len()], Vec::new(), 0);
    for root in 0..next.len() as u32 {
        if index[root as usize] != NEW {
            continue;
        }
        let mut calls = vec![(root, 0)];
        while let Some((at, done)) = calls.last_mut() {
            let state = *at as usize;
            if *done == 0 {
                (index[state], low[state]) = (count, count);
                count += 1;
                open.push(*at);
                is_open[state] = true;
            }
            if let Some(to) = next[state].get(*done) {
                *done += 1;
                if index[*to as usize] == NEW {
                    calls.push((*to, 0));
                } else if is_open[*to as usize] {
                    low[state] = low[state].min(index[*to as usize]);
                }
                continue;
            }
            calls.pop();
            if let Some((before, _)) = calls.last() {
                low[*before as usize] = low[*before as usize].min(low[state]);
            }
            if low[state] == index[state] {
                let start = open.iter().rposition(|it| *it as usize == state).expect("it is open");
                let component = open.split_off(start);
                component.iter().for_each(|it| is_open[*it as usize] = false);
                if component.len() > 1 || next[state].contains(&(state as u32)) {
                    found.push(component);
                }
            }
        }
    }
    found
}
