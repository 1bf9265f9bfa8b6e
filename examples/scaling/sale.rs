//! A sale from its first buyer until it is known that nothing is left, and what comes back afterwards.

use std::cell::Cell as StdCell;
use std::pin::pin;
use std::rc::Rc;

use firstcome::cell::Cells;
use firstcome::ids::{ProductId, UserId};
use futures::future::select;

use crate::clock::{MS, Nanos, SECOND, US};
use crate::costs::Script;
use crate::desk::{Desk, Fetched};
use crate::world::{Inputs, Load, World};

/// The product that is sold; where its home is follows.
const PRODUCT: u64 = 1;

/// `orders::UNITS_PATIENCE`.
const UNITS_PATIENCE: Nanos = 10 * SECOND;

/// `persist::IDLE_WAIT`, `GATHER_PAUSE`, `GATHERED_EVENTS`, and the most events of a transaction.
const IDLE_WAIT: Nanos = 100 * MS;
const GATHER_PAUSE: Nanos = 20 * MS;
const GATHERED_EVENTS: u64 = 1_024;
const BATCH_EVENTS: u64 = 2_048;

/// A sale that takes longer is told as far as it got.
const LONGEST: Nanos = 60 * SECOND;

/// Between "sold out" and the first unit that comes back, and between two of those.
const CALM: Nanos = 300 * MS;

/// Sells all units; returns the world as it is then.
pub fn run(inputs: Inputs) -> Rc<World> {
    let cells = Cells::new(inputs.cells).expect("a power of two");
    let product = ProductId::new(PRODUCT).expect("positive");
    let world = World::new(inputs, cells.home(product).0);
    for cell in 0..world.inputs.cells {
        world.clock.spawn(persist(world.clone(), cell));
    }
    for node in 0..world.nodes.len() {
        world.clock.spawn(world.clone().look(node));
    }
    let ended = Rc::new(StdCell::new(false));
    match world.inputs.load {
        Load::Open { per_second } => {
            world.clock.spawn(come(world.clone(), per_second, ended.clone()));
            world.clock.spawn(watch(world.clone(), ended.clone()));
        }
        Load::Closed { connections, buyers, think } => {
            let (next, open) = (Rc::new(StdCell::new(1)), Rc::new(StdCell::new(connections)));
            for connection in 0..connections {
                let (world, next, open, ended) = (world.clone(), next.clone(), open.clone(), ended.clone());
                world.clone().clock.spawn(async move {
                    let node = connection % world.nodes.len();
                    loop {
                        let user = next.replace(next.get() + 1);
                        if user > buyers {
                            break;
                        }
                        let cell = cells.of_user(UserId::new(user).expect("positive")).0;
                        buy(world.clone(), node, cell).await;
                        world.clock.sleep(think).await;
                    }
                    open.set(open.get() - 1);
                    ended.set(open.get() == 0);
                });
            }
        }
    }
    let (watched, done) = (world.clone(), ended.clone());
    world.clock.run(move || {
        (done.get() && watched.nodes.iter().all(|it| it.in_flight.get() == 0))
            || watched.clock.now() > LONGEST
    });
    world
}

/// Buyers, each by themselves.
async fn come(world: Rc<World>, per_second: f64, ended: Rc<StdCell<bool>>) {
    while !ended.get() {
        world.clock.sleep(world.until_next(per_second)).await;
        let node = world.below(world.nodes.len());
        if world.nodes[node].in_flight.get() >= world.inputs.max_in_flight {
            world.counts.borrow_mut().shed += 1;
            // Nobody looks at how long that takes.
            world.work_for(node, world.inputs.costs.api_memory);
        } else {
            world.clock.spawn(buy(world.clone(), node, world.some_cell()));
        }
    }
}

/// Waits until the product is sold out, then puts units back, one by one.
async fn watch(world: Rc<World>, ended: Rc<StdCell<bool>>) {
    while world.waits.borrow().node_told.iter().any(Option::is_none) {
        world.clock.sleep(MS).await;
    }
    world.clock.sleep(CALM).await;
    for _ in 0..world.inputs.returns {
        let (node, cell) = (world.below(world.nodes.len()), world.below(world.cells.len()) as u16);
        let back = world.call(Some(node), cell, Script::OrderEnd, |it, now| {
            it.put_back();
            world.unsold.set(world.unsold.get() + 1);
            world.waits.borrow_mut().unit_back = Some(now);
        });
        back.await;
        world.nodes[node].memory.borrow_mut().forget(world.clock.now());
        while world.unsold.get() > 0 {
            world.clock.sleep(MS).await;
        }
        world.clock.sleep(CALM).await;
    }
    ended.set(true);
}

/// `orders::place_order` and `place_across`, of one unit.
async fn buy(world: Rc<World>, node: usize, cell: u16) {
    let (api, costs, came) = (&world.nodes[node], &world.inputs.costs, world.clock.now());
    api.in_flight.set(api.in_flight.get() + 1);
    let knows = api.memory.borrow_mut().knows(came);
    if knows {
        told_late(&world);
        world.counts.borrow_mut().from_memory += 1;
        world.work(node, costs.api_memory).await;
    } else {
        world.work(node, costs.api_order).await;
        Box::pin(buy_here(&world, node, cell, came)).await;
    }
    api.in_flight.set(api.in_flight.get() - 1);
}

async fn buy_here(world: &Rc<World>, node: usize, cell: u16, came: Nanos) {
    let (api, asking) = (&world.nodes[node], world.clock.now());
    loop {
        let left = world.call(Some(node), cell, Script::OrderPlace, |it, now| {
            let left = it.place(now);
            if left.is_some() {
                sold(world, now);
            }
            left
        });
        if let Some(left) = left.await {
            Desk::bought(world, node, cell, left);
            let waited = (world.clock.now() - came) / US;
            world.waits.borrow_mut().served_us.saturating_record(waited.max(1));
            return;
        }
        // What one cell has, all have.
        if world.cells.len() == 1 {
            break;
        }
        match api.desk.fetch(world, node, cell).await {
            Fetched::Short => break,
            Fetched::Again if world.clock.now() - asking <= UNITS_PATIENCE => {}
            Fetched::Again | Fetched::Refused => {
                world.counts.borrow_mut().failed += 1;
                return;
            }
        }
    }
    let now = world.clock.now();
    api.memory.borrow_mut().told(asking, now);
    told_late(world);
    world.counts.borrow_mut().sold_out += 1;
    let mut waits = world.waits.borrow_mut();
    waits.refused_us.saturating_record(((now - came) / US).max(1));
    waits.first_sold_out.get_or_insert(now);
    waits.node_told[node].get_or_insert(now);
}

fn sold(world: &World, now: Nanos) {
    world.unsold.set(world.unsold.get() - 1);
    world.counts.borrow_mut().sold += 1;
    let mut waits = world.waits.borrow_mut();
    if let Some(back) = waits.unit_back.take() {
        waits.found_us.push((now - back) / US);
    } else if world.unsold.get() == 0 {
        waits.last_unit_sold = Some(now);
        waits.at_last_sale = Some(world.counts.borrow().clone());
        waits.busy_at_last_sale = world.busy();
    }
}

/// Somebody hears "sold out" while there is a unit that came back.
fn told_late(world: &World) {
    let mut waits = world.waits.borrow_mut();
    if let Some(back) = waits.unit_back {
        waits.told_late_us = waits.told_late_us.max((world.clock.now().saturating_sub(back)) / US);
    }
}

/// `worker::persist`, for one cell.
async fn persist(world: Rc<World>, cell: u16) {
    let costs = &world.inputs.costs;
    let start = world.below(GATHER_PAUSE as usize) as Nanos;
    world.clock.sleep(start).await;
    loop {
        let read = world.call(None, cell, Script::EventsRead, |it, _| (it.persisted, it.appended));
        let (from, appended) = read.await;
        let events = (appended - from).min(BATCH_EVENTS);
        if events == 0 {
            let bell = world.cells[usize::from(cell)].borrow().bell.clone();
            select(pin!(bell.notified()), pin!(world.clock.sleep(IDLE_WAIT))).await;
            continue;
        }
        world.mysql(costs.mysql_commit + costs.mysql_event * events).await;
        let wait = world.spread(costs.commit_wait, costs.commit_wait_spread);
        world.clock.sleep(wait).await;
        world.cells[usize::from(cell)].borrow_mut().persisted = from + events;
        {
            let mut counts = world.counts.borrow_mut();
            counts.commits += 1;
            counts.events += events;
        }
        if events < GATHERED_EVENTS {
            world.clock.sleep(GATHER_PAUSE).await;
        }
    }
}
