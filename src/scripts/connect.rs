//! Connections to Redis: one shared for the hot path, a pool for bulk work, and single ones that
//! never reconnect for what must not change servers half-way.

use std::io;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, PoolConfig, RecycleError, RecycleResult, Timeouts};
use futures::FutureExt;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisConnectionInfo,
    RedisError, RedisFuture, TlsCertificates, Value,
};
use tokio_util::sync::CancellationToken;

use super::cluster::{NodeConnection, Standing};
use super::follow::Following;
use super::sentinel::Sentinels;
use crate::config::{Authorities, ClusterUrl, SentinelUrl};

/// Longest wait for a reply to bulk work (a chunk of a rebuild, a page of an audit).
const BULK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long sent data may stay unacknowledged.
#[cfg(target_os = "linux")]
const DEAD_PEER_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections for bulk work at once: worker, trimmer, audit, and room for one more.
const BULK_CONNECTIONS: usize = 4;

/// A connection that lay unused for so long is tried before it is used. Those of busy loops need no second round trip.
const GREETED_AFTER: Duration = Duration::from_secs(1);

/// Where Redis is and how long to wait for it.
#[derive(Clone)]
pub struct RedisServer {
    place: Place,
    reply_timeout: Duration,
}

#[derive(Clone)]
enum Place {
    /// One server, whatever it has become.
    Fixed(Box<redis::Client>),
    /// The server that Sentinels name at the moment of connecting.
    Named(Sentinels),
    /// One server of a cluster, whatever it has become.
    Node(Box<redis::Client>, Standing),
}

/// The connection of the hot path.
#[derive(Clone, Debug)]
pub enum SharedConnection {
    Fixed(ConnectionManager),
    Following(Following),
    Node(NodeConnection),
}

impl SharedConnection {
    /// Sends commands together; one answer for each, in their order. A refusal of one command is its answer
    /// ([`Value::ServerError`]); after an error none, some or all of them may have run.
    pub(super) async fn send(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::Fixed(manager) => manager.clone().send_packed_commands(commands, 0, commands.len()).await,
            Self::Following(following) => following.send(commands).await,
            Self::Node(node) => node.send(commands).await,
        }
    }
}

/// Connections for large replies.
pub(super) type BulkPool = managed::Pool<RedisServer>;

/// Sends one command over a connection of its own.
pub(super) async fn send_bulk(pool: &BulkPool, command: Cmd) -> Result<Value, RedisError> {
    let mut connection = pool.get().await.map_err(|error| match error {
        managed::PoolError::Backend(error) => error,
        other => RedisError::from((ErrorKind::Io, "no connection", other.to_string())),
    })?;
    let answer = command.query_async(&mut *connection).await;
    // What broke is for nobody else.
    if answer.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
        drop(managed::Object::take(connection));
    }
    answer
}

impl RedisServer {
    /// Reads a `redis://` or `rediss://` URL, or one of Sentinels; connects to nothing yet. With TLS these authorities
    /// alone are trusted, where there are any, and the public ones else.
    pub fn new(url: &str, authorities: &Authorities, reply_timeout: Duration) -> Result<Self, RedisError> {
        if ClusterUrl::parse(url).is_some() {
            return Err((ErrorKind::InvalidClientConfig, "that is a cluster, and no single server").into());
        }
        let place = match SentinelUrl::parse(url) {
            None => Place::Fixed(Box::new(client(url, authorities, |it| it)?)),
            Some(Ok(url)) => Place::Named(Sentinels::new(url, authorities)?),
            Some(Err(why)) => return Err((ErrorKind::InvalidClientConfig, why).into()),
        };
        Ok(Self { place, reply_timeout })
    }

    /// One server of a cluster.
    pub(super) fn of_cluster(
        url: &str,
        authorities: &Authorities,
        reply_timeout: Duration,
        standing: Standing,
    ) -> Result<Self, RedisError> {
        let place = Place::Node(Box::new(client(url, authorities, |it| it)?), standing);
        Ok(Self { place, reply_timeout })
    }

    /// A connection that all requests share and that reconnects by itself. It never sends a command twice.
    pub async fn shared_connection(&self) -> Result<SharedConnection, RedisError> {
        match &self.place {
            Place::Fixed(client) => {
                let connected = client.get_connection_manager_with_config(self.manager_config()).await;
                connected.map(SharedConnection::Fixed).map_err(|error| explained(error, is_tls(client)))
            }
            Place::Node(..) => self.lazy_connection(),
            Place::Named(sentinels) => {
                let config = connection_config(self.reply_timeout);
                Ok(SharedConnection::Following(Following::start(sentinels.clone(), config).await?))
            }
        }
    }

    /// The same to one server of a cluster, which may be away for now: it connects with the first command.
    pub(super) fn lazy_connection(&self) -> Result<SharedConnection, RedisError> {
        let Place::Node(client, standing) = &self.place else {
            return Err((ErrorKind::InvalidClientConfig, "no server of a cluster").into());
        };
        let config = self.manager_config();
        let manager = ConnectionManager::new_lazy_with_config(redis::Client::clone(client), config)?;
        Ok(SharedConnection::Node(NodeConnection::new(manager, standing.clone())))
    }

    fn manager_config(&self) -> ConnectionManagerConfig {
        ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(self.reply_timeout))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(100))
    }

    /// A connection of one's own that fails for good when the server goes away, or is the primary no more.
    pub async fn own_connection(&self) -> Result<OwnConnection, RedisError> {
        self.patient_connection(BULK_TIMEOUT).await
    }

    /// The same for commands that take the server longer.
    pub(super) async fn patient_connection(&self, patience: Duration) -> Result<OwnConnection, RedisError> {
        let config = connection_config(patience);
        match &self.place {
            Place::Fixed(client) => {
                Ok(OwnConnection { connection: connect(client, &config).await?, watch: Watch::Nobody })
            }
            Place::Node(client, standing) => {
                let connected = connect(client, &config).await;
                if connected.is_err() {
                    standing.failed();
                }
                Ok(OwnConnection { connection: connected?, watch: Watch::Cluster(standing.clone()) })
            }
            Place::Named(sentinels) => sentinels.connect(&config).await,
        }
    }

    /// The connection that a watcher keeps, made where it has none. After an error its keeper lets go of it.
    pub async fn kept_connection<'a>(
        &self,
        kept: &'a mut Option<OwnConnection>,
    ) -> Result<&'a mut OwnConnection, RedisError> {
        match kept {
            Some(connection) => Ok(connection),
            None => Ok(kept.insert(self.own_connection().await?)),
        }
    }

    /// Connections for large replies, so that they do not stand in the way of small ones.
    pub(super) fn pool(&self) -> BulkPool {
        let wait = Some(Duration::from_secs(5));
        let timeouts = Timeouts { wait, create: wait, recycle: wait };
        managed::Pool::builder(self.clone())
            .config(PoolConfig { max_size: BULK_CONNECTIONS, timeouts, ..PoolConfig::default() })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is named")
    }
}

impl managed::Manager for RedisServer {
    type Type = OwnConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<OwnConnection, RedisError> {
        self.own_connection().await
    }

    async fn recycle(&self, connection: &mut OwnConnection, metrics: &Metrics) -> RecycleResult<RedisError> {
        if metrics.last_used() > GREETED_AFTER {
            redis::cmd("PING").query_async::<()>(connection).await?;
        }
        match connection.has_moved() {
            true => Err(RecycleError::message("the primary has moved")),
            false => Ok(()),
        }
    }
}

/// A connection to one server. Behind Sentinels, or in a cluster, it ends, what is on its way included, when another one
/// has taken its place.
#[derive(Clone, Debug)]
pub struct OwnConnection {
    connection: MultiplexedConnection,
    watch: Watch,
}

/// Who knows that another server has taken this one's place.
#[derive(Clone, Debug)]
enum Watch {
    Nobody,
    /// Ends the connection.
    Sentinels(CancellationToken),
    /// Hears what the server refuses, and ends the connection when it has no cell any more.
    Cluster(Standing),
}

impl OwnConnection {
    /// `moved` ends it.
    pub(super) fn to_primary(connection: MultiplexedConnection, moved: CancellationToken) -> Self {
        Self { connection, watch: Watch::Sentinels(moved) }
    }

    /// Whether another server is the primary by now.
    pub(super) fn has_moved(&self) -> bool {
        match &self.watch {
            Watch::Nobody => false,
            Watch::Sentinels(moved) => moved.is_cancelled(),
            Watch::Cluster(standing) => standing.has_left(),
        }
    }

    /// Whether another server can take this one's place, since Sentinels or a cluster watch over it.
    pub(super) fn can_fail_over(&self) -> bool {
        !matches!(self.watch, Watch::Nobody)
    }
}

/// What a call gives, unless the primary moves before.
async fn unless_moved<T: Answers>(
    moved: &CancellationToken,
    call: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    if moved.is_cancelled() {
        return Err(super::sentinel::unreachable("another server is the primary".to_owned()));
    }
    let ended = tokio::select! {
        biased;
        ended = call => ended,
        () = moved.cancelled() => {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "another server is the primary now").into())
        }
    };
    // It says itself that it is none: nobody goes on with it, and the Sentinels are asked anew.
    if ended.as_ref().is_ok_and(Answers::is_of_a_replica) {
        moved.cancel();
    }
    ended
}

/// Answers as they come, refusals among them.
trait Answers {
    /// Whether the server refused a write because it is a replica.
    fn is_of_a_replica(&self) -> bool;
}

impl Answers for Value {
    fn is_of_a_replica(&self) -> bool {
        matches!(self, Value::ServerError(refusal) if refusal.code() == "READONLY")
    }
}

impl Answers for Vec<Value> {
    fn is_of_a_replica(&self) -> bool {
        self.iter().any(Answers::is_of_a_replica)
    }
}

impl ConnectionLike for OwnConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let Self { connection, watch } = self;
        let call = connection.req_packed_command(command);
        match watch {
            Watch::Nobody => call,
            Watch::Sentinels(moved) => unless_moved(moved, call).boxed(),
            Watch::Cluster(standing) => standing.weighed(call).boxed(),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let Self { connection, watch } = self;
        let call = connection.req_packed_commands(commands, offset, count);
        match watch {
            Watch::Nobody => call,
            Watch::Sentinels(moved) => unless_moved(moved, call).boxed(),
            Watch::Cluster(standing) => standing.weighed(call).boxed(),
        }
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

async fn connect(
    client: &redis::Client,
    config: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, RedisError> {
    let connected = client.get_multiplexed_async_connection_with_config(config).await;
    connected.map_err(|error| explained(error, is_tls(client)))
}

fn connection_config(reply_timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(reply_timeout))
}

/// A client of one server; `greeting` adds to what the URL says. Connects to nothing yet.
pub(super) fn client(
    url: &str,
    authorities: &Authorities,
    greeting: impl FnOnce(RedisConnectionInfo) -> RedisConnectionInfo,
) -> Result<redis::Client, RedisError> {
    let settings = TcpSettings::default().set_nodelay(true);
    // A server that vanished without a word is given up after this, not after TCP's quarter of an hour.
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(DEAD_PEER_TIMEOUT);
    let info = url.into_connection_info()?.set_tcp_settings(settings);
    // The library's name would be one more command that the server's ACL must allow, and 7.0 does not know it.
    let settings = greeting(info.redis_settings().clone().set_skip_set_lib_name());
    let info = info.set_redis_settings(settings);
    match authorities.pem() {
        Some(pem) if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) => {
            let root_cert = Some(pem.as_bytes().to_vec());
            redis::Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
        }
        _ => redis::Client::open(info),
    }
}

fn is_tls(client: &redis::Client) -> bool {
    matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. })
}

/// A Redis without TLS takes the greeting for half a command and waits for the rest: all that is seen of it is its
/// silence.
pub(super) fn explained(error: RedisError, tls: bool) -> RedisError {
    match tls && error.is_timeout() {
        true => (ErrorKind::Io, "timed out (TLS is asked for: does this port speak it?)").into(),
        false => error,
    }
}
