//! A primary that Sentinels name. Only where a connection goes depends on what they say: whether a server may be sold
//! on, the fence alone tells. So a wrong or late answer costs time.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use redis::{AsyncConnectionConfig, InfoDict, RedisError};
use tokio_util::sync::CancellationToken;

use super::connect::{OwnConnection, client, explained};
use crate::config::{Address, Authorities, SentinelUrl};

/// Longest wait for one Sentinel, and for a server's word that it is a primary.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The Sentinels of one primary. Cheap to clone.
#[derive(Clone)]
pub struct Sentinels {
    shared: Arc<Shared>,
}

struct Shared {
    url: SentinelUrl,
    authorities: Authorities,
    /// Beside the address of each.
    clients: Vec<(Address, redis::Client)>,
    /// Looks that have begun.
    looks: AtomicU64,
    newest: Mutex<Found>,
}

/// What the newest look has found that ended in a connection.
struct Found {
    look: u64,
    address: Option<Address>,
    /// Ends all connections to that server.
    moved: CancellationToken,
}

impl Sentinels {
    /// Connects to nothing yet.
    pub(super) fn new(url: SentinelUrl, authorities: &Authorities) -> Result<Self, RedisError> {
        let mut clients = Vec::new();
        for address in &url.sentinels {
            let (user, password) = (url.sentinel_user.as_deref(), url.sentinel_password.as_deref());
            let opened = client(&url.sentinel_url(address), authorities, |mut settings| {
                if let Some(password) = password {
                    settings = settings.set_password(password);
                }
                if let Some(user) = user {
                    settings = settings.set_username(user);
                }
                settings
            })?;
            clients.push((address.clone(), opened));
        }
        let newest = Mutex::new(Found { look: 0, address: None, moved: CancellationToken::new() });
        let looks = AtomicU64::new(0);
        Ok(Self {
            shared: Arc::new(Shared { url, authorities: authorities.clone(), clients, looks, newest }),
        })
    }

    /// The server that more than half of all Sentinels name: one that was cut off with an old primary must not lead
    /// back to it.
    pub(super) async fn ask(&self) -> Result<Address, RedisError> {
        let Shared { url, clients, .. } = &*self.shared;
        let mut asked: FuturesUnordered<_> = clients
            .iter()
            .map(|(sentinel, client)| async move {
                let answer = tokio::time::timeout(ANSWER_TIMEOUT, ask_one(client, &url.primary)).await;
                (sentinel, answer.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into())))
            })
            .collect();
        let (mut named, mut said) = (Vec::new(), Vec::new());
        while let Some((sentinel, answer)) = asked.next().await {
            let words = match answer {
                Ok(address) => {
                    let words = address.as_ref().map_or("no such name".to_owned(), ToString::to_string);
                    named.push(address);
                    words
                }
                Err(error) => explained(error, url.sentinel_url(sentinel).starts_with("rediss")).to_string(),
            };
            said.push(format!("{sentinel}: {words}"));
            let Some(last) = named.last() else { continue };
            if named.iter().filter(|it| *it == last).count() < url.majority() {
                continue;
            }
            return match last {
                Some(address) => Ok(address.clone()),
                None => Err(unreachable(format!("the Sentinels know no primary {:?}", url.primary))),
            };
        }
        let (majority, all) = (url.majority(), clients.len());
        let said = said.join("; ");
        Err(unreachable(format!(
            "{majority} of {all} Sentinels must name the same {:?}: {said}",
            url.primary
        )))
    }

    /// Whether the last connection went to this server.
    pub(super) fn is_newest(&self, connection: &OwnConnection, address: &Address) -> bool {
        let newest = self.shared.newest.lock().expect("no panic while held");
        !connection.has_moved() && newest.address.as_ref() == Some(address)
    }

    /// Connects to the server that is the primary now, and ends all connections to the one before.
    pub(super) async fn connect(&self, config: &AsyncConnectionConfig) -> Result<OwnConnection, RedisError> {
        let look = self.shared.looks.fetch_add(1, Ordering::Relaxed) + 1;
        let address = self.ask().await?;
        let url = self.shared.url.redis_url(&address);
        let client = client(&url, &self.shared.authorities, |it| it)?;
        let connected = client.get_multiplexed_async_connection_with_config(config).await;
        let mut connection = connected.map_err(|error| {
            let error = explained(error, url.starts_with("rediss"));
            // A certificate that is refused stays what it is: it ends a start at once.
            let is_away = error.is_connection_refusal() || error.is_timeout();
            if is_away { unreachable(format!("{address}: {error}")) } else { error }
        })?;
        let info = redis::cmd("INFO").arg("replication").take();
        let info = tokio::time::timeout(ANSWER_TIMEOUT, info.query_async::<InfoDict>(&mut connection)).await;
        let info = info.map_err(|_| unreachable(format!("{address} does not answer")))??;
        let role: String = info.get("role").unwrap_or_default();
        if role != "master" {
            return Err(unreachable(format!("{address} is named as the primary, but its role is {role:?}")));
        }
        Ok(OwnConnection::to_primary(connection, self.found(look, address)))
    }

    /// Notes what a look has found; what an older look finds late is given up at once, unless it is the same.
    fn found(&self, look: u64, address: Address) -> CancellationToken {
        let mut newest = self.shared.newest.lock().expect("no panic while held");
        let same = newest.address.as_ref() == Some(&address) && !newest.moved.is_cancelled();
        if look < newest.look && !same {
            let late = CancellationToken::new();
            late.cancel();
            return late;
        }
        newest.look = look.max(newest.look);
        if !same {
            tracing::info!(primary = %address, "the Sentinels name this server");
            newest.moved.cancel();
            newest.moved = CancellationToken::new();
            newest.address = Some(address);
        }
        newest.moved.clone()
    }
}

async fn ask_one(client: &redis::Client, primary: &str) -> Result<Option<Address>, RedisError> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER_TIMEOUT));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(primary);
    let answer: Option<(String, u16)> = question.query_async(&mut connection).await?;
    Ok(answer.map(|(host, port)| Address { host, port }))
}

/// Nothing was sent, so nothing ran.
pub(super) fn unreachable(why: String) -> RedisError {
    io::Error::new(io::ErrorKind::ConnectionRefused, why).into()
}
