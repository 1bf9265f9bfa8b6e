//! Faults of the engine's own processes.

use rand::RngExt;
use rand::rngs::StdRng;

use super::nodes::Role;
use super::stage::Stage;

impl Stage<'_> {
    /// A node whose role passes, chosen by the seed.
    pub fn a_node(&self, random: &mut StdRng, passes: impl Fn(Role) -> bool) -> usize {
        let those: Vec<usize> = (0..self.nodes.len()).filter(|it| passes(self.nodes[*it].role)).collect();
        those[random.random_range(0..those.len())]
    }

    /// SIGKILL for a node that serves the API, at a random moment; it starts again.
    pub async fn kill_a_front(&mut self, random: &mut StdRng) {
        let node = self.a_node(random, Role::serves);
        self.kill_and_start(node, random).await;
    }

    /// SIGKILL for a worker.
    pub async fn kill_a_worker(&mut self, random: &mut StdRng) {
        let node = self.a_node(random, |it| it == Role::Worker);
        self.kill_and_start(node, random).await;
    }

    async fn kill_and_start(&mut self, node: usize, random: &mut StdRng) {
        self.await_up(node).await;
        pause(random, 60).await;
        self.kill_node(node);
        self.nodes[node].start_again();
    }
}

/// A moment of at most `ms_max`, chosen by the seed: faults hit anywhere between two events.
pub async fn pause(random: &mut StdRng, ms_max: u64) {
    tokio::time::sleep(std::time::Duration::from_millis(random.random_range(0..=ms_max))).await;
}
