//! How a sale runs over many cells: a simulation for sizes that do not fit on one machine, and runs of the real engine that
//! its assumptions are compared with. docs/scaling.md has what both say.

mod cell;
mod check;
mod clock;
mod costs;
mod desk;
mod memory;
mod report;
mod sale;
mod servers;
mod unit;
mod world;

use clap::{Args, Parser};

use crate::clock::MS;
use crate::costs::Costs;
use crate::world::{Inputs, Load};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
enum Command {
    /// Simulates sales of one product; prints a table.
    Simulate(Simulate),
    /// Sells on the real engine with private servers, and simulates the same sales; prints both
    Check(check::Check),
}

#[derive(Args)]
struct Simulate {
    /// Redis servers of each row. Each has as many cells as the others, or one more: there are 1, 2, 4, … cells
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64,128,256,512,1000")]
    servers: Vec<usize>,
    /// Cells, instead of the least power of two that is not below the number of servers
    #[arg(long)]
    cells: Option<u16>,
    /// Buyers who come each second
    #[arg(long, default_value_t = 1_000_000.0)]
    rate: f64,
    /// Units that are sold
    #[arg(long, default_value_t = 1_000_000)]
    stock: i64,
    /// Nodes that serve the API; 0: as many as have 60 % of their time for the orders
    #[arg(long, default_value_t = 0)]
    api_nodes: usize,
    #[arg(long, default_value_t = 8)]
    api_cores: u64,
    /// Cores of MySQL; 0: as many as have 60 % of their time for the events
    #[arg(long, default_value_t = 0)]
    mysql_cores: usize,
    /// How uneven buyers are spread over cells: the exponent of Zipf's law
    #[arg(long, default_value_t = 0.0)]
    skew: f64,
    /// Requests that a node works on at once (`max_in_flight`)
    #[arg(long, default_value_t = 2_048)]
    max_in_flight: usize,
    /// Units that come back after the sale
    #[arg(long, default_value_t = 5)]
    returns: usize,
    /// Each group of a node counts by itself
    #[arg(long)]
    own_counts: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Simulate {
    fn inputs(&self, servers: usize) -> Inputs {
        let costs = Costs::default();
        let cells = self.cells.unwrap_or(servers.next_power_of_two() as u16);
        // A server sells no more than its core can.
        let sells = self.rate.min(servers as f64 * 1e9 / costs.order as f64);
        let batches = f64::from(cells) * 40.0;
        let cores = |of: f64| (of / 0.6).ceil().max(1.0) as usize;
        let api = self.rate * costs.api_order as f64 / 1e9 / self.api_cores as f64;
        let mysql = (sells * costs.mysql_event as f64 + batches * costs.mysql_commit as f64) / 1e9;
        let or = |given: usize, computed: f64| if given > 0 { given } else { cores(computed) };
        Inputs {
            cells,
            servers,
            api_nodes: or(self.api_nodes, api),
            api_cores: self.api_cores,
            mysql_cores: or(self.mysql_cores, mysql),
            stock: self.stock,
            load: Load::Open { per_second: self.rate },
            skew: self.skew,
            max_in_flight: self.max_in_flight,
            sold_out_memory: 100 * MS,
            returns: self.returns,
            costs,
            shared_counts: !self.own_counts,
            seed: self.seed,
        }
    }
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Simulate(simulate) => {
            println!("{}", report::head(&report::COLUMNS));
            for servers in &simulate.servers {
                let inputs = simulate.inputs(*servers);
                anyhow::ensure!(
                    usize::from(inputs.cells) >= *servers,
                    "{servers} servers need as many cells"
                );
                println!("{}", report::line(&report::row(&sale::run(inputs))));
            }
        }
        Command::Check(check) => {
            rustls::crypto::aws_lc_rs::default_provider()
                .install_default()
                .expect("nobody installed another one");
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(check::run(&check))?;
        }
    }
    Ok(())
}
