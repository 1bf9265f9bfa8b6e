//! The machines: Redis servers with their cells, API nodes, MySQL, and what each of them did.

use std::cell::{Cell as StdCell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use futures::future::join_all;
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{Notify, oneshot};

use crate::cell::{Cell, Quota};
use crate::clock::{Clock, MS, Nanos, SECOND, US};
use crate::costs::{Costs, SCRIPTS, Script};
use crate::desk::Desk;
use crate::memory::Memory;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Inputs {
    pub cells: u16,
    /// Redis servers; cells lie on them in turn.
    pub servers: usize,
    pub api_nodes: usize,
    pub api_cores: u64,
    pub mysql_cores: usize,
    pub stock: i64,
    pub load: Load,
    /// How uneven buyers are spread: cell number i (from 1) has a share as i to the power of minus this. 0: even.
    pub skew: f64,
    pub max_in_flight: usize,
    pub sold_out_memory: Nanos,
    /// Units that come back after the product is sold out, one by one.
    pub returns: usize,
    pub costs: Costs,
    /// Whether the groups of a node that want to know what all cells have share a count.
    pub shared_counts: bool,
    pub seed: u64,
}

#[derive(Debug, Clone)]
pub enum Load {
    /// So many buyers come each second, whatever becomes of those before.
    Open { per_second: f64 },
    /// So many connections, each of which asks for the next of `buyers` some time after it was answered.
    Closed { connections: usize, buyers: u64, think: Nanos },
}

/// What was done until some moment.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub calls: [u64; SCRIPTS],
    pub redis_us: [f64; SCRIPTS],
    pub transfers: u64,
    pub recalled: u64,
    pub recalls: u64,
    pub proofs: u64,
    pub counts: u64,
    pub sold: u64,
    pub sold_out: u64,
    pub from_memory: u64,
    pub shed: u64,
    pub failed: u64,
    pub commits: u64,
    pub events: u64,
    pub looks: u64,
}

/// What buyers met.
pub struct Waits {
    pub served_us: Histogram<u64>,
    pub refused_us: Histogram<u64>,
    pub last_unit_sold: Option<Nanos>,
    pub first_sold_out: Option<Nanos>,
    pub node_told: Vec<Option<Nanos>>,
    pub at_last_sale: Option<Counts>,
    pub busy_at_last_sale: Busy,
    /// Proofs at whose moment there was a unit; must be none.
    pub unfair_proofs: u64,
    /// A unit that came back: since when.
    pub unit_back: Option<Nanos>,
    pub found_us: Vec<u64>,
    /// Longest time since a unit came back until somebody was still told "sold out".
    pub told_late_us: u64,
}

/// Time that machines worked.
#[derive(Debug, Clone, Default)]
pub struct Busy {
    pub servers: Vec<Nanos>,
    pub nodes: Vec<Nanos>,
    pub mysql: Nanos,
    pub backlog: u64,
}

pub struct Server {
    busy_until: StdCell<Nanos>,
    pub busy: StdCell<Nanos>,
}

pub struct ApiNode {
    busy_until: StdCell<Nanos>,
    pub busy: StdCell<Nanos>,
    pub in_flight: StdCell<usize>,
    pub desk: Desk,
    pub memory: RefCell<Memory>,
    /// What it knows of MySQL's positions, and who waits for one.
    known: RefCell<Vec<u64>>,
    waiting: RefCell<Vec<WaitsFor>>,
    wanted: Notify,
}

struct WaitsFor {
    cell: u16,
    event: u64,
    until: Nanos,
    tell: oneshot::Sender<bool>,
}

pub struct World {
    pub clock: Clock,
    pub inputs: Inputs,
    /// Where the product's home is.
    pub home: u16,
    pub cells: Vec<RefCell<Cell>>,
    pub servers: Vec<Server>,
    pub nodes: Vec<ApiNode>,
    mysql: RefCell<BinaryHeap<Reverse<Nanos>>>,
    pub mysql_busy: StdCell<Nanos>,
    pub counts: RefCell<Counts>,
    pub waits: RefCell<Waits>,
    pub unsold: StdCell<i64>,
    pub rng: RefCell<StdRng>,
    /// Shares of buyers, added up.
    shares: Vec<f64>,
}

/// Parts in which a reading of all cells is made, so that it is of no single instant, as in truth.
const READING_PARTS: usize = 16;

/// Commands that a node sends together at most (`scripts::batch`).
const BATCH_COMMANDS: u64 = 64;

/// Longest wait for MySQL (`transfer::PATIENCE`).
const PERSIST_PATIENCE: Nanos = 2 * SECOND;

/// How often a node reads `cells` while somebody waits (`node::WAITED_FOR`).
const LOOK_PAUSE: Nanos = 5 * MS;

impl World {
    pub fn new(inputs: Inputs, home: u16) -> Rc<Self> {
        let cells = usize::from(inputs.cells);
        let mut sum = 0.0;
        let shares = (1..=cells).map(|it| {
            sum += (it as f64).powf(-inputs.skew);
            sum
        });
        let shares = shares.collect();
        let stock = |cell| if cell == home { inputs.stock } else { 0 };
        let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds");
        Rc::new(Self {
            clock: Clock::default(),
            cells: (0..inputs.cells).map(|it| RefCell::new(Cell::new(it, stock(it)))).collect(),
            servers: (0..inputs.servers)
                .map(|_| Server { busy_until: StdCell::new(0), busy: StdCell::new(0) })
                .collect(),
            nodes: (0..inputs.api_nodes)
                .map(|_| ApiNode {
                    busy_until: StdCell::new(0),
                    busy: StdCell::new(0),
                    in_flight: StdCell::new(0),
                    desk: Desk::new(home),
                    memory: RefCell::new(Memory::new(inputs.sold_out_memory)),
                    known: RefCell::new(vec![0; cells]),
                    waiting: RefCell::default(),
                    wanted: Notify::new(),
                })
                .collect(),
            mysql: RefCell::new((0..inputs.mysql_cores).map(|_| Reverse(0)).collect()),
            mysql_busy: StdCell::new(0),
            counts: RefCell::default(),
            waits: RefCell::new(Waits {
                served_us: histogram(),
                refused_us: histogram(),
                last_unit_sold: None,
                first_sold_out: None,
                node_told: vec![None; inputs.api_nodes],
                at_last_sale: None,
                busy_at_last_sale: Busy::default(),
                unfair_proofs: 0,
                unit_back: None,
                found_us: Vec::new(),
                told_late_us: 0,
            }),
            unsold: StdCell::new(inputs.stock),
            rng: RefCell::new(StdRng::seed_from_u64(inputs.seed)),
            shares,
            home,
            inputs,
        })
    }

    /// The cell of whoever comes next.
    pub fn some_cell(&self) -> u16 {
        let at = self.rng.borrow_mut().random::<f64>() * self.shares[self.shares.len() - 1];
        self.shares.partition_point(|it| *it <= at) as u16
    }

    pub fn below(&self, end: usize) -> usize {
        self.rng.borrow_mut().random_range(0..end)
    }

    /// Seconds until the next one of so many a second comes, when each comes by itself.
    pub fn until_next(&self, per_second: f64) -> Nanos {
        let uniform = self.rng.borrow_mut().random::<f64>();
        (-(1.0 - uniform).ln() / per_second * SECOND as f64) as Nanos
    }

    /// A time about this one, of a log-normal distribution.
    pub fn spread(&self, middle: Nanos, spread: f64) -> Nanos {
        // Twelve uniform numbers less six are as good as normal here.
        let mut rng = self.rng.borrow_mut();
        let normal = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        (middle as f64 * (normal * spread).exp()) as Nanos
    }

    pub fn busy(&self) -> Busy {
        Busy {
            servers: self.servers.iter().map(|it| it.busy.get()).collect(),
            nodes: self.nodes.iter().map(|it| it.busy.get()).collect(),
            mysql: self.mysql_busy.get(),
            // The cell whose script this is asked of is left out.
            backlog: self
                .cells
                .iter()
                .flat_map(RefCell::try_borrow)
                .map(|it| it.appended - it.persisted)
                .sum(),
        }
    }

    /// Calls a script in a cell, from an API node or (`None`) a worker. A server does one after the other, and what a script
    /// changes it changes when its turn begins.
    pub async fn call<T>(
        &self,
        node: Option<usize>,
        cell: u16,
        script: Script,
        effect: impl FnOnce(&mut Cell, Nanos) -> T,
    ) -> T {
        if let Some(node) = node
            && script != Script::OrderPlace
        {
            self.work(node, self.inputs.costs.api_script).await;
        }
        let costs = &self.inputs.costs;
        let state = &self.cells[usize::from(cell)];
        let cost = match script {
            Script::OrderPlace if !state.borrow().has_any() => costs.refused,
            Script::QuotaGive if !state.borrow().has_any() => costs.give_nothing,
            Script::EventsRead => {
                let cell = state.borrow();
                costs.log_read + costs.log_event * (cell.appended - cell.persisted).min(2_048)
            }
            _ => costs.of(script),
        };
        let start = if node.is_some() {
            self.serve(cell, script, cost)
        } else {
            self.serve_apart(cell, script, cost)
        };
        self.clock.until(start).await;
        let reply = effect(&mut state.borrow_mut(), start);
        self.clock.until(start + cost + costs.round_trip / 2).await;
        reply
    }

    /// Takes a place in the line of a cell's server; when its turn begins.
    fn serve(&self, cell: u16, script: Script, cost: Nanos) -> Nanos {
        let server = &self.servers[usize::from(cell) % self.servers.len()];
        let arrives = self.clock.now() + self.inputs.costs.round_trip / 2;
        let start = arrives.max(server.busy_until.get());
        server.busy_until.set(start + cost);
        server.busy.set(server.busy.get() + cost);
        let mut counts = self.counts.borrow_mut();
        counts.calls[script as usize] += 1;
        counts.redis_us[script as usize] += cost as f64 / US as f64;
        start
    }

    /// The same for a worker, whose connections are its own: before it comes no more than one batch of each node, which
    /// sends the rest when that was answered.
    fn serve_apart(&self, cell: u16, script: Script, cost: Nanos) -> Nanos {
        let batches = self.inputs.costs.order * BATCH_COMMANDS * self.nodes.len() as u64;
        let latest = self.clock.now() + self.inputs.costs.round_trip / 2 + batches;
        self.serve(cell, script, cost).min(latest)
    }

    /// Reads all cells at once, each in its turn.
    pub async fn read_all(&self, node: usize) -> Vec<Quota> {
        let costs = &self.inputs.costs;
        let parts = READING_PARTS.min(self.cells.len());
        let part = async |part: usize| {
            let cells: Vec<usize> = (part..self.cells.len()).step_by(parts).collect();
            self.work(node, costs.api_script * cells.len() as u64).await;
            let cost = costs.of(Script::QuotaRead);
            let starts = cells.iter().map(|it| self.serve(*it as u16, Script::QuotaRead, cost));
            let start = starts.max().expect("a part has cells");
            self.clock.until(start).await;
            let read: Vec<Quota> = cells.iter().map(|it| self.cells[*it].borrow().read()).collect();
            self.clock.until(start + cost + costs.round_trip / 2).await;
            read
        };
        let read = join_all((0..parts).map(part)).await;
        (0..self.cells.len()).map(|it| read[it % parts][it / parts]).collect()
    }

    /// Time of an API node's processors.
    pub async fn work(&self, node: usize, cost: Nanos) {
        self.clock.until(self.work_for(node, cost)).await;
    }

    /// Takes it; until when.
    pub fn work_for(&self, node: usize, cost: Nanos) -> Nanos {
        let node = &self.nodes[node];
        let end = self.clock.now().max(node.busy_until.get()) + cost / self.inputs.api_cores;
        node.busy_until.set(end);
        node.busy.set(node.busy.get() + cost);
        end
    }

    /// Time of one of MySQL's processors.
    pub async fn mysql(&self, cost: Nanos) {
        let free = self.mysql.borrow_mut().pop().expect("each is put back").0;
        let end = free.max(self.clock.now()) + cost;
        self.mysql.borrow_mut().push(Reverse(end));
        self.mysql_busy.set(self.mysql_busy.get() + cost);
        self.clock.until(end).await;
    }

    /// Whether MySQL has an event, as soon as the node knows; false: not in time.
    pub async fn persisted(&self, node: usize, cell: u16, event: u64) -> bool {
        let node = &self.nodes[node];
        if node.known.borrow()[usize::from(cell)] >= event {
            return true;
        }
        let (tell, told) = oneshot::channel();
        let until = self.clock.now() + PERSIST_PATIENCE;
        node.waiting.borrow_mut().push(WaitsFor { cell, event, until, tell });
        node.wanted.notify_one();
        told.await.unwrap_or(false)
    }

    /// A node's readings of `cells`, while somebody waits.
    pub async fn look(self: Rc<Self>, node: usize) {
        let Costs { mysql_look, mysql_look_cell, .. } = self.inputs.costs;
        let node = &self.nodes[node];
        loop {
            if node.waiting.borrow().is_empty() {
                node.wanted.notified().await;
            }
            self.counts.borrow_mut().looks += 1;
            let positions: Vec<u64> = self.cells.iter().map(|it| it.borrow().persisted).collect();
            self.mysql(mysql_look + mysql_look_cell * self.cells.len() as u64).await;
            let now = self.clock.now();
            let waiting = node.waiting.take();
            for it in waiting {
                let has = positions[usize::from(it.cell)] >= it.event;
                if has || now > it.until {
                    let _ = it.tell.send(has);
                } else {
                    node.waiting.borrow_mut().push(it);
                }
            }
            *node.known.borrow_mut() = positions;
            self.clock.sleep(LOOK_PAUSE).await;
        }
    }
}
