//! An engine under the ACL, on one server or on a cluster.

use firstcome::cell::CellId;
use firstcome::config::{Secret, Settings};
use firstcome::dev::{ClusterOptions, PrivateCluster, PrivateRedis};
use redis::aio::MultiplexedConnection;
use reqwest::StatusCode;

use super::super::test_app::{TestApp, eventually};
use super::super::test_clock::TestClock;
use super::super::test_cluster::{server_of, start_cluster_of};
use super::super::test_redis::TestRedis;
use super::super::test_servers;
use super::{ENGINE, assert_nothing_refused, observer, options, redis, with_user};

pub struct Stage {
    pub app: TestApp,
    pub cluster: Option<PrivateCluster>,
    pub clock: TestClock,
}

fn settings(settings: &mut Settings, cells: u16, url: String) {
    settings.redis_url = Secret::new(url);
    settings.cells = cells;
    settings.keep_events = 5;
}

impl Stage {
    pub async fn on_one(cells: u16) -> Self {
        let (redis, folder, clock) = redis(true).await;
        let url = with_user(&redis.url(), ENGINE);
        let app = TestApp::start_on(redis, folder, |it| settings(it, cells, url)).await;
        Self { app, cluster: None, clock }
    }

    pub async fn on_cluster(cells: u16) -> Self {
        let folder = test_servers::fresh_folder();
        let clock = TestClock::new(&folder);
        let mut each = options(&folder);
        each.env = clock.env();
        let (user, password) = ("observer".to_owned(), "secret".to_owned());
        let options = ClusterOptions { replicas: true, each, user, password, ..ClusterOptions::default() };
        let cluster = start_cluster_of(options).await;
        let url = cluster.url().replace("observer", ENGINE);
        let (spare, folder) = test_servers::redis().await;
        let app = TestApp::start_on(spare, folder, |it| settings(it, cells, url)).await;
        Self { app, cluster: Some(cluster), clock }
    }

    fn servers(&self) -> Vec<&PrivateRedis> {
        match (&self.cluster, &self.app.redis) {
            (Some(cluster), _) => cluster.servers.iter().collect(),
            (None, TestRedis::One(redis)) => vec![redis],
            (None, TestRedis::Cluster(_)) => unreachable!("the stage starts its own servers"),
        }
    }

    /// Who may do anything, at the server that has a cell.
    pub async fn observer(&self, cell: CellId) -> MultiplexedConnection {
        let server = self.cluster.as_ref().map_or(0, |it| server_of(&self.app, it, cell));
        observer(self.servers()[server]).await
    }

    /// Says something to every server that has cells.
    pub async fn say(&self, words: &[&str]) {
        for server in self.servers().into_iter().take(3) {
            let mut command = redis::cmd(words[0]);
            let () = command.arg(&words[1..]).query_async(&mut observer(server).await).await.unwrap();
        }
    }

    /// Each server starts again, one after the other.
    pub async fn restart(&mut self) {
        match &mut self.cluster {
            None => self.app.redis.own().restart().await.unwrap(),
            Some(cluster) => {
                for server in &mut cluster.servers {
                    server.restart().await.unwrap();
                }
            }
        }
    }

    pub async fn sells(&self) {
        eventually!(self.app.get("/readyz").await.status == StatusCode::OK);
    }

    pub async fn nothing_was_refused(&self) {
        for server in self.servers() {
            assert_nothing_refused(server).await;
        }
    }
}
