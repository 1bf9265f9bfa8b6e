//! A replica that lags is promoted, and the old primary is promoted again.

use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;

use super::redis_faults::Mysql;
use super::stage::{Stage, port_of};
use crate::cell_dump::connect;

impl Stage<'_> {
    /// Lets the replica follow the primary, and waits until it does.
    pub async fn replicate(&mut self) {
        let primary = port_of(&self.redis);
        let pair = self.pair.as_ref().expect("this shape has a replica");
        pair.link.turn_to(primary);
        let mut replica = connect(&pair.replica.url()).await;
        let port = pair.link.port;
        let () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).query_async(&mut replica).await.unwrap();
        self.until("the replica follows", async || {
            let mut replica = connect(&self.pair.as_ref().unwrap().replica.url()).await;
            let info: String = redis::cmd("INFO").arg("replication").query_async(&mut replica).await.unwrap();
            info.contains("master_link_status:up")
        })
        .await;
    }

    /// Replication is cut, writes go on, and the replica is promoted: what it lacks is lost, unless MySQL has it.
    pub async fn promote(&mut self, random: &mut StdRng) {
        let before = self.epoch().await;
        let mysql = if random.random() { Mysql::LagsBehind } else { Mysql::KeepsUp };
        self.lag(random, mysql).await;
        let since = Instant::now();
        self.swap().await;
        self.proxy.turn_to(port_of(&self.redis));
        self.catch_up(mysql);
        self.opened_again("promotion of a replica that lagged", since, before).await;
    }

    /// The replica is promoted, and then the old primary again, which still has its scripts, its copied gate and
    /// its clients' connections. Either nobody met the other server in between, or clients did.
    pub async fn promote_there_and_back(&mut self, random: &mut StdRng) {
        if random.random() {
            self.promote(random).await;
            self.promote(random).await;
            self.figures.count("there and back, with clients at both");
            return;
        }
        let before = self.epoch().await;
        let mysql = if random.random() { Mysql::LagsBehind } else { Mysql::KeepsUp };
        self.lag(random, mysql).await;
        let since = Instant::now();
        self.swap().await;
        self.swap().await;
        self.catch_up(mysql);
        self.figures.count("there and back, unseen by clients");
        self.opened_again("there and back, unseen", since, before).await;
    }

    /// The replica falls behind.
    async fn lag(&mut self, random: &mut StdRng, mysql: Mysql) {
        self.lossy = true;
        self.await_compared_replid().await;
        self.pair.as_ref().unwrap().link.cut();
        self.fall_behind(random, mysql).await;
        self.progress(random.random_range(1..15)).await;
    }

    /// The replica becomes the primary, and the primary its replica, with the data of the new one.
    async fn swap(&mut self) {
        let pair = self.pair.as_mut().unwrap();
        let mut promoted = connect(&pair.replica.url()).await;
        let () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut promoted).await.unwrap();
        std::mem::swap(&mut self.redis, &mut pair.replica);
        self.figures.count("promotions");
        self.replicate().await;
    }

    /// A recovery compares the replid from then on where it found a replica. Where the replica was away at that
    /// moment it is not compared until the next recovery (a known limit), which this asks for.
    async fn await_compared_replid(&mut self) {
        const COMPARED: &str = "SELECT COUNT(*) FROM cells WHERE replid <> ''";
        if self.number(COMPARED).await == 0 {
            let (done, said) = self.firstcome(&["cell", "rebuild", "0"]).await;
            assert!(done, "{said}");
            self.until("the replid is compared", async || self.number(COMPARED).await == 1).await;
            self.figures.count("rebuilds because a replica had come late");
        }
    }
}
