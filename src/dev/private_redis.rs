//! The Redis of a data folder: one server, or a cluster of them.

use std::path::Path;
use std::process::ExitStatus;

use anyhow::bail;
use serde::Serialize;

use super::{ClusterOptions, PrivateCluster, PrivateRedis, RedisOptions, ServerBinaries, ports};

/// The folder below the data folder in which a cluster keeps its data. One server keeps it in `redis`.
const CLUSTER: &str = "redis-cluster";

pub(super) enum Redis {
    One(PrivateRedis),
    Cluster(PrivateCluster),
}

/// A number, or a list of them where there are several servers.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum RedisPids {
    One(u32),
    Cluster(Vec<u32>),
}

impl Redis {
    /// Refuses a data folder that was created with another kind of Redis: its data is elsewhere.
    pub fn check(folder: &Path, replicas: Option<bool>) -> anyhow::Result<()> {
        let cluster = folder.join(CLUSTER);
        let found = match cluster.is_dir() {
            true if cluster.join("redis-6").is_dir() => "--redis-cluster 6",
            true => "--redis-cluster 3",
            false if folder.join("redis").is_dir() => "one Redis server",
            false => return Ok(()),
        };
        let asked = match replicas {
            None => "one Redis server",
            Some(false) => "--redis-cluster 3",
            Some(true) => "--redis-cluster 6",
        };
        if found != asked {
            bail!(
                "{} was created with {found}, and its data is there; {asked} needs another --data-dir",
                folder.display()
            );
        }
        Ok(())
    }

    /// `replicas`: a cluster, with or without them.
    pub async fn start(
        binaries: &ServerBinaries,
        folder: &Path,
        replicas: Option<bool>,
    ) -> anyhow::Result<Self> {
        let Some(replicas) = replicas else {
            let port = ports::remembered(folder, "redis").await?;
            let redis = PrivateRedis::start(binaries, folder, port, RedisOptions::default()).await?;
            return Ok(Self::One(redis));
        };
        let options = ClusterOptions { replicas, ..ClusterOptions::default() };
        Ok(Self::Cluster(PrivateCluster::start(binaries, &folder.join(CLUSTER), &options).await?))
    }

    fn servers(&mut self) -> &mut [PrivateRedis] {
        match self {
            Self::One(redis) => std::slice::from_mut(redis),
            Self::Cluster(cluster) => &mut cluster.servers,
        }
    }

    /// How each server ended, or that it runs, under its name.
    pub fn exits(&mut self) -> Vec<(String, Option<ExitStatus>)> {
        let is_one = matches!(self, Self::One(_));
        let name = |number: usize| if is_one { "redis".to_owned() } else { format!("redis-{}", number + 1) };
        self.servers().iter_mut().enumerate().map(|(number, it)| (name(number), it.has_exited())).collect()
    }

    /// Starts the server of this name again.
    pub async fn restart(&mut self, name: &str) -> anyhow::Result<()> {
        let number: usize = name.strip_prefix("redis-").map_or(Ok(1), str::parse)?;
        Ok(self.servers()[number - 1].restart().await?)
    }

    pub fn url(&self) -> String {
        match self {
            Self::One(redis) => redis.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    pub fn pids(&self) -> RedisPids {
        match self {
            Self::One(redis) => RedisPids::One(redis.pid()),
            Self::Cluster(cluster) => RedisPids::Cluster(cluster.servers.iter().map(|it| it.pid()).collect()),
        }
    }

    pub async fn stop(&mut self) {
        match self {
            Self::One(redis) => drop(redis.stop().await),
            Self::Cluster(cluster) => drop(cluster.stop().await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_keeps_its_kind_of_redis() {
        let refusal = |inside: &str, replicas| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(folder.path().join(inside)).unwrap();
            Redis::check(folder.path(), replicas).err().map(|it| it.to_string())
        };
        for (inside, replicas, why) in [
            ("redis", Some(false), "with one Redis server"),
            ("redis-cluster/redis-3", None, "with --redis-cluster 3"),
            ("redis-cluster/redis-3", Some(true), "with --redis-cluster 3"),
            ("redis-cluster/redis-6", Some(false), "with --redis-cluster 6"),
        ] {
            let said = refusal(inside, replicas).expect(inside);
            assert!(said.contains(why) && said.contains("--data-dir"), "{said}");
        }
        for (inside, replicas) in [
            ("", None),
            ("", Some(true)),
            ("redis", None),
            ("redis-cluster/redis-3", Some(false)),
            ("redis-cluster/redis-6", Some(true)),
        ] {
            assert_eq!(refusal(inside, replicas), None, "{inside}");
        }
    }
}
