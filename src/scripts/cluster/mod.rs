//! A Redis Cluster: each cell is in one slot, so on one server, and this says on which.
//!
//! Only where a connection goes depends on it: whether a server may be sold on, the fence alone tells. So a map that is
//! late costs time. No command is sent twice: what a server refuses because a slot is elsewhere did not run, its caller
//! hears so, and the map is read anew.

pub mod moving;
pub mod slots;
mod standing;

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::stream::{FuturesUnordered, StreamExt};
use redis::RedisError;
use tokio::sync::oneshot;

use self::slots::{SlotMap, slot_of_cell};
use self::standing::Doubt;
pub(super) use self::standing::{NodeConnection, Standing};
use super::batch::{Answer, Batches};
use super::connect::{BulkPool, OwnConnection, RedisServer};
use super::sentinel::unreachable;
use super::servers::ServerOfCells;
use crate::cell::{CellId, Cells};
use crate::config::{Address, Authorities, ClusterUrl};

/// How often one node is asked while nothing is in doubt.
const CALM: Duration = Duration::from_secs(1);

/// The shortest time between two looks.
const ALERT: Duration = Duration::from_millis(100);

/// Longest wait for the nodes that are asked at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Most nodes that are asked at once.
const ASKED_MAX: usize = 12;

/// A cluster of which some nodes are known. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    url: ClusterUrl,
    authorities: Authorities,
    reply_timeout: Duration,
    /// Of each cell.
    slots: Vec<u16>,
    routes: ArcSwap<Routes>,
    doubt: Doubt,
}

/// Where each cell is, by the newest map.
#[derive(Default)]
struct Routes {
    map: SlotMap,
    /// `None`: no server has its slot.
    cells: Vec<Option<Arc<Node>>>,
}

/// One server that has cells.
struct Node {
    address: Address,
    standing: Standing,
    server: RedisServer,
    batches: Batches,
    bulk: BulkPool,
}

impl Cluster {
    /// Reads the map from the first nodes, and goes on reading it while anybody holds this. Its servers need not all be
    /// there.
    pub(super) async fn start(
        url: &ClusterUrl,
        authorities: &Authorities,
        reply_timeout: Duration,
        cells: Cells,
    ) -> Result<Self, RedisError> {
        let (slots, doubt) = (cells.all().map(slot_of_cell).collect(), Doubt::default());
        let (url, authorities) = (url.clone(), authorities.clone());
        let shared = Shared { url, authorities, reply_timeout, slots, routes: ArcSwap::default(), doubt };
        let mut kept = None;
        shared.look(&mut kept).await?;
        let shared = Arc::new(shared);
        tokio::spawn(follow(Arc::downgrade(&shared), shared.doubt.clone(), kept));
        Ok(Self { shared })
    }

    /// Queues a command for the server that has a cell, beside those for its other cells.
    pub(super) fn queue(
        &self,
        cell: CellId,
        command: redis::Cmd,
    ) -> Result<oneshot::Receiver<Answer>, RedisError> {
        let routes = self.shared.routes.load();
        match &routes.cells[usize::from(cell.0)] {
            Some(node) => Ok(node.batches.queue(command)),
            None => Err(self.homeless(cell)),
        }
    }

    /// Connections for large replies, to the server that has a cell.
    pub(super) fn bulk(&self, cell: CellId) -> Result<BulkPool, RedisError> {
        Ok(self.node(cell)?.bulk.clone())
    }

    /// The server that has a cell.
    pub(super) fn server(&self, cell: CellId) -> Result<RedisServer, RedisError> {
        Ok(self.node(cell)?.server.clone())
    }

    fn node(&self, cell: CellId) -> Result<Arc<Node>, RedisError> {
        let routes = self.shared.routes.load();
        routes.cells[usize::from(cell.0)].clone().ok_or_else(|| self.homeless(cell))
    }

    fn homeless(&self, cell: CellId) -> RedisError {
        self.shared.doubt.raise();
        unreachable(format!("no server of the cluster has the slot of cell {cell}"))
    }

    /// Where a cell is.
    pub fn address(&self, cell: CellId) -> Option<Address> {
        self.node(cell).ok().map(|it| it.address.clone())
    }

    /// The servers that have cells, each with its cells.
    pub(super) fn by_server(&self) -> Vec<ServerOfCells> {
        let routes = self.shared.routes.load();
        let mut servers: Vec<ServerOfCells> = Vec::new();
        for (cell, node) in (0..).map(CellId).zip(&routes.cells) {
            let Some(Node { address, server, .. }) = node.as_deref() else { continue };
            match servers.iter_mut().find(|it| it.address.as_ref() == Some(address)) {
                Some(known) => known.cells.push(cell),
                None => servers.push(ServerOfCells {
                    address: Some(address.clone()),
                    server: server.clone(),
                    cells: vec![cell],
                }),
            }
        }
        servers
    }

    /// Every server of the newest map, replicas among them.
    pub fn all_servers(&self) -> Result<Vec<(Address, RedisServer)>, RedisError> {
        let routes = self.shared.routes.load();
        routes.map.nodes.iter().map(|it| Ok((it.clone(), self.server_at(it)?))).collect()
    }

    /// The servers that have slots.
    pub fn primaries(&self) -> Vec<Address> {
        self.shared.routes.load().map.primaries().into_iter().cloned().collect()
    }

    /// The server that has a slot.
    pub fn primary(&self, slot: u16) -> Option<Address> {
        self.shared.routes.load().map.primary(slot).cloned()
    }

    /// A server of this address, of the cluster or not.
    pub fn server_at(&self, address: &Address) -> Result<RedisServer, RedisError> {
        self.shared.server(address, Standing::new(self.shared.doubt.clone()))
    }

    pub fn url(&self) -> &ClusterUrl {
        &self.shared.url
    }

    /// Reads the map now.
    pub async fn refresh(&self) -> Result<(), RedisError> {
        self.shared.look(&mut None).await
    }
}

impl Shared {
    fn server(&self, address: &Address, standing: Standing) -> Result<RedisServer, RedisError> {
        RedisServer::of_cluster(&self.url.node_url(address), &self.authorities, self.reply_timeout, standing)
    }

    fn node(&self, address: &Address) -> Result<Node, RedisError> {
        let standing = Standing::new(self.doubt.clone());
        let server = self.server(address, standing.clone())?;
        let (batches, bulk) = (Batches::start(server.lazy_connection()?), server.pool());
        Ok(Node { address: address.clone(), standing, server, batches, bulk })
    }

    /// Asks the node that answered last; where it says anything new, or nothing is kept, asks all that are known.
    async fn look(&self, kept: &mut Option<(Address, OwnConnection)>) -> Result<(), RedisError> {
        if let Some((address, connection)) = kept {
            let asked = tokio::time::timeout(ANSWER_TIMEOUT, slots_of(connection, address)).await;
            if let Ok(Ok(map)) = asked
                && map.agrees_with(&self.routes.load().map)
            {
                // Replicas may have come or gone.
                return self.turn_to(map);
            }
            *kept = None;
        }
        let (map, connection) = self.ask_all().await?;
        *kept = Some(connection);
        self.turn_to(map)
    }

    /// The map that most nodes have: one that was cut off, or was asleep, may have an old one.
    async fn ask_all(&self) -> Result<(SlotMap, (Address, OwnConnection)), RedisError> {
        let mut addresses = self.url.nodes.clone();
        addresses.extend(self.routes.load().map.nodes.iter().cloned());
        let mut known = std::collections::HashSet::new();
        addresses.retain(|it| known.insert(it.clone()));
        addresses.truncate(ASKED_MAX);
        let all = addresses.len();
        let mut asked: FuturesUnordered<_> = addresses
            .into_iter()
            .map(|address| async move {
                let answer = async {
                    let mut connection =
                        self.server(&address, Standing::new(self.doubt.clone()))?.own_connection().await?;
                    let map = slots_of(&mut connection, &address).await?;
                    Ok((map, connection))
                };
                let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
                let silent = || Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
                (address, answer.unwrap_or_else(|_| silent()))
            })
            .collect();
        // Each with how many nodes have it.
        let mut maps: Vec<(usize, SlotMap, (Address, OwnConnection))> = Vec::new();
        let mut said = Vec::new();
        let mut failure: Option<RedisError> = None;
        while let Some((address, answer)) = asked.next().await {
            let (map, connection) = match answer {
                Ok(answered) => answered,
                Err(error) => {
                    said.push(format!("{address}: {error}"));
                    failure = Some(error);
                    continue;
                }
            };
            let votes = match maps.iter_mut().find(|it| it.1.agrees_with(&map)) {
                Some(same) => {
                    same.0 += 1;
                    same.0
                }
                None => {
                    maps.push((1, map, (address, connection)));
                    1
                }
            };
            if votes > all / 2 {
                break;
            }
        }
        match maps.into_iter().max_by_key(|it| it.0) {
            Some((_, map, connection)) => Ok((map, connection)),
            // A certificate that is refused stays what it is: it ends a start at once.
            None => match failure {
                Some(error) if !(error.is_connection_refusal() || error.is_timeout()) => Err(error),
                Some(_) | None => {
                    Err(unreachable(format!("no node of the cluster answers: {}", said.join("; "))))
                }
            },
        }
    }

    /// Sends each cell's commands where a map says. Connections to servers that keep cells stay.
    fn turn_to(&self, map: SlotMap) -> Result<(), RedisError> {
        let before = self.routes.load_full();
        if map == before.map {
            return Ok(());
        }
        let mut nodes: Vec<Arc<Node>> = before.cells.iter().flatten().cloned().collect();
        let mut cells = Vec::with_capacity(self.slots.len());
        for (cell, slot) in self.slots.iter().enumerate() {
            let Some(address) = map.primary(*slot) else {
                cells.push(None);
                continue;
            };
            let node = match nodes.iter().find(|it| it.address == *address) {
                Some(node) => node.clone(),
                None => {
                    let node = Arc::new(self.node(address)?);
                    nodes.push(node.clone());
                    node
                }
            };
            let left = before.cells.get(cell).and_then(Option::as_ref);
            if left.is_some_and(|it| it.address != node.address) {
                tracing::info!(cell, server = %node.address, "the cell has moved to this server of the cluster");
            }
            cells.push(Some(node));
        }
        let is_left = |it: &&Arc<Node>| !cells.iter().flatten().any(|other| Arc::ptr_eq(it, other));
        let left: Vec<Arc<Node>> = before.cells.iter().flatten().filter(is_left).cloned().collect();
        self.routes.store(Arc::new(Routes { map, cells }));
        left.iter().for_each(|it| it.standing.leave());
        Ok(())
    }
}

async fn slots_of(connection: &mut OwnConnection, asked: &Address) -> Result<SlotMap, RedisError> {
    let answer = redis::cmd("CLUSTER").arg("SLOTS").query_async(connection).await?;
    SlotMap::parse(answer, asked)
}

async fn follow(shared: Weak<Shared>, doubt: Doubt, mut kept: Option<(Address, OwnConnection)>) {
    let (mut failed, mut pause) = (false, ALERT);
    loop {
        let is_doubtful = doubt.is_raised_within(CALM).await;
        let Some(shared) = shared.upgrade() else { return };
        let before = shared.routes.load_full();
        if is_doubtful {
            // It may be the one that is wrong.
            kept = None;
        }
        let looked = shared.look(&mut kept).await;
        // A server that is away for long has all nodes asked less often.
        let is_news = !shared.routes.load().map.agrees_with(&before.map);
        pause = if is_news || !is_doubtful { ALERT } else { (pause * 2).min(CALM / 2) };
        drop(shared);
        match &looked {
            Ok(()) if failed => tracing::info!("the cluster says again where its slots are"),
            Err(error) if !failed => tracing::warn!(%error, "the cluster does not say where its slots are"),
            Ok(()) | Err(_) => {}
        }
        failed = looked.is_err();
        tokio::time::sleep(pause).await;
    }
}
