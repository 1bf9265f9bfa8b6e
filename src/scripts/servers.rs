//! Where the cells are: on one server, or on those of a cluster.

use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, Value};
use tokio::sync::oneshot;

use super::batch::{Answer, Batches, answer};
use super::cluster::Cluster;
use super::connect::{BulkPool, OwnConnection, RedisServer, send_bulk};
use crate::cell::{CellId, Cells};
use crate::config::{Address, Authorities, ClusterUrl};

/// Where Redis is and how long to wait for it. Connects to nothing yet.
#[derive(Clone)]
pub enum Redis {
    /// One server, or one behind Sentinels.
    One(RedisServer),
    Cluster {
        url: ClusterUrl,
        authorities: Authorities,
        reply_timeout: Duration,
    },
}

impl From<RedisServer> for Redis {
    fn from(server: RedisServer) -> Self {
        Self::One(server)
    }
}

impl Redis {
    /// Reads the setting `redis_url`.
    pub fn new(url: &str, authorities: &Authorities, reply_timeout: Duration) -> Result<Self, RedisError> {
        match ClusterUrl::parse(url) {
            None => RedisServer::new(url, authorities, reply_timeout).map(Self::One),
            Some(Ok(url)) => Ok(Self::Cluster { url, authorities: authorities.clone(), reply_timeout }),
            Some(Err(why)) => Err((ErrorKind::InvalidClientConfig, why).into()),
        }
    }

    pub(super) async fn connect(self, cells: Cells) -> Result<(Servers, Link), RedisError> {
        match self {
            Self::One(server) => {
                let batches = Batches::start(server.shared_connection().await?);
                Ok((Servers::One(server), Link::Shared(batches)))
            }
            Self::Cluster { url, authorities, reply_timeout } => {
                let cluster = Cluster::start(&url, &authorities, reply_timeout, cells).await?;
                Ok((Servers::Cluster(cluster.clone()), Link::Cluster(cluster)))
            }
        }
    }
}

/// The servers of a running engine.
pub(super) enum Servers {
    One(RedisServer),
    Cluster(Cluster),
}

/// A server with its cells; in a cluster it has an address, which tells it from others.
pub struct ServerOfCells {
    pub address: Option<Address>,
    pub server: RedisServer,
    pub cells: Vec<CellId>,
}

impl Servers {
    pub fn of(&self, cell: CellId) -> Result<RedisServer, RedisError> {
        match self {
            Self::One(server) => Ok(server.clone()),
            Self::Cluster(cluster) => cluster.server(cell),
        }
    }

    /// A connection of one's own to the server that has a cell.
    pub async fn own_connection(&self, cell: CellId) -> Result<OwnConnection, RedisError> {
        match self {
            Self::One(server) => server.own_connection().await,
            Self::Cluster(cluster) => cluster.server(cell)?.own_connection().await,
        }
    }

    pub fn by_server(&self, cells: Cells) -> Vec<ServerOfCells> {
        match self {
            Self::One(server) => {
                vec![ServerOfCells { address: None, server: server.clone(), cells: cells.all().collect() }]
            }
            Self::Cluster(cluster) => cluster.by_server(),
        }
    }

    pub fn bulk(&self) -> Link {
        match self {
            Self::One(server) => Link::Bulk(server.pool()),
            Self::Cluster(cluster) => Link::BulkOfCluster(cluster.clone()),
        }
    }
}

/// How commands reach the server that has their cell.
#[derive(Clone)]
pub(super) enum Link {
    /// One connection that carries the commands of concurrent requests together: the hot path.
    Shared(Batches),
    /// Such a connection to each server of a cluster.
    Cluster(Cluster),
    /// Connections for large replies, with a long time-out: worker, audit, seed.
    Bulk(BulkPool),
    BulkOfCluster(Cluster),
}

impl Link {
    pub async fn send(&self, cell: CellId, command: Cmd) -> Result<Value, RedisError> {
        let told: oneshot::Receiver<Answer> = match self {
            Self::Shared(batches) => batches.queue(command),
            Self::Cluster(cluster) => cluster.queue(cell, command)?,
            Self::Bulk(pool) => return Box::pin(send_bulk(pool, command)).await,
            Self::BulkOfCluster(cluster) => {
                let pool = cluster.bulk(cell)?;
                return Box::pin(async move { send_bulk(&pool, command).await }).await;
            }
        };
        answer(told).await
    }
}
