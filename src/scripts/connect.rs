//! Connections to Redis: one shared for the hot path, a pool for bulk work, and single ones that
//! never reconnect for what must not change servers half-way.

use std::time::Duration;

use deadpool_redis::{PoolConfig, Runtime, Timeouts};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    TlsCertificates,
};

use crate::config::Authorities;

/// Longest wait for a reply to bulk work (a chunk of a rebuild, a page of an audit).
const BULK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long sent data may stay unacknowledged.
#[cfg(target_os = "linux")]
const DEAD_PEER_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections for bulk work at once: worker, trimmer, audit, and room for one more.
const BULK_CONNECTIONS: usize = 4;

/// Where Redis is and how long to wait for it.
#[derive(Clone)]
pub struct RedisServer {
    info: ConnectionInfo,
    client: redis::Client,
    reply_timeout: Duration,
}

impl RedisServer {
    /// Reads a `redis://` or `rediss://` URL; connects to nothing yet. `rediss://` trusts these authorities alone, where
    /// there are any, and the public ones else.
    pub fn new(url: &str, authorities: &Authorities, reply_timeout: Duration) -> Result<Self, RedisError> {
        let settings = TcpSettings::default().set_nodelay(true);
        // A server that vanished without a word is given up after this, not after TCP's quarter of an hour.
        #[cfg(target_os = "linux")]
        let settings = settings.set_user_timeout(DEAD_PEER_TIMEOUT);
        let info = url.into_connection_info()?.set_tcp_settings(settings);
        // The library's name would be one more command that the server's ACL must allow, and 7.0 does not know it.
        let greeting = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_redis_settings(greeting);
        let client = match authorities.pem() {
            Some(pem) if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) => {
                let root_cert = Some(pem.as_bytes().to_vec());
                redis::Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })?
            }
            _ => redis::Client::open(info)?,
        };
        let info = client.get_connection_info().clone();
        Ok(Self { info, client, reply_timeout })
    }

    /// A connection that all requests share and that reconnects by itself. It never sends a command twice.
    pub async fn manager(&self) -> Result<ConnectionManager, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(self.reply_timeout))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(100));
        let connected = self.client.get_connection_manager_with_config(config).await;
        connected.map_err(|error| self.explained(error))
    }

    /// A connection of one's own that fails for good when the server goes away.
    pub async fn own_connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(BULK_TIMEOUT));
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| self.explained(error))
    }

    /// A Redis without TLS takes the greeting for half a command and waits for the rest: all that is seen of it is its
    /// silence.
    fn explained(&self, error: RedisError) -> RedisError {
        match self.info.addr() {
            ConnectionAddr::TcpTls { .. } if error.is_timeout() => {
                (ErrorKind::Io, "timed out (TLS is asked for: does this port speak it?)").into()
            }
            _ => error,
        }
    }

    /// The connection that a watcher keeps, made where it has none. After an error its keeper lets go of it.
    pub async fn kept_connection<'a>(
        &self,
        kept: &'a mut Option<MultiplexedConnection>,
    ) -> Result<&'a mut MultiplexedConnection, RedisError> {
        match kept {
            Some(connection) => Ok(connection),
            None => Ok(kept.insert(self.own_connection().await?)),
        }
    }

    /// Connections for large replies, so that they do not stand in the way of small ones.
    pub fn pool(&self) -> deadpool_redis::Pool {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(BULK_TIMEOUT));
        let manager = deadpool_redis::Manager::new_with_config(self.info.clone(), config)
            .expect("the client was opened with the same address");
        let wait = Some(Duration::from_secs(5));
        let timeouts = Timeouts { wait, create: wait, recycle: wait };
        deadpool_redis::Pool::builder(manager)
            .config(PoolConfig { max_size: BULK_CONNECTIONS, timeouts, ..PoolConfig::default() })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is named")
    }
}
