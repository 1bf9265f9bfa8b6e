//! The shared connection where Sentinels name the primary: it goes where they say, and reconnects by asking them anew.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::ConnectionLike;
use redis::{AsyncConnectionConfig, Pipeline, RedisError, Value};
use tokio::sync::Notify;

use super::connect::OwnConnection;
use super::sentinel::{Sentinels, unreachable};

/// How often the Sentinels are asked while there is a connection: an old primary that still answers is left then.
const CALM: Duration = Duration::from_secs(1);

/// How often while there is none.
const ALERT: Duration = Duration::from_millis(100);

/// A connection that all requests share. It never sends a command twice.
#[derive(Clone, Debug)]
pub struct Following {
    current: Arc<ArcSwapOption<OwnConnection>>,
    /// Wakes the task that connects, before its time.
    doubt: Arc<Notify>,
}

impl Following {
    /// Connects, and goes on connecting while anybody holds it.
    pub(super) async fn start(
        sentinels: Sentinels,
        config: AsyncConnectionConfig,
    ) -> Result<Self, RedisError> {
        let first = sentinels.connect(&config).await?;
        let (current, doubt) = (Arc::new(ArcSwapOption::from_pointee(first)), Arc::new(Notify::new()));
        tokio::spawn(follow(Arc::downgrade(&current), doubt.clone(), sentinels, config));
        Ok(Self { current, doubt })
    }

    pub(super) async fn send(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let current = self.current.load_full();
        let Some(connection) = current.as_ref().filter(|it| !it.has_moved()) else {
            self.doubt.notify_one();
            return Err(unreachable("no connection to the primary yet".to_owned()));
        };
        let mut connection = OwnConnection::clone(connection);
        let result = connection.req_packed_commands(commands, 0, commands.len()).await;
        if connection.has_moved() || result.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            self.current.compare_and_swap(&current, None);
            self.doubt.notify_one();
        }
        result
    }
}

async fn follow(
    current: Weak<ArcSwapOption<OwnConnection>>,
    doubt: Arc<Notify>,
    sentinels: Sentinels,
    config: AsyncConnectionConfig,
) {
    let mut failed = false;
    while let Some(place) = current.upgrade() {
        let looked = look(&place, &sentinels, &config).await;
        let is_connected = place.load().as_ref().is_some_and(|it| !it.has_moved());
        drop(place);
        match &looked {
            Ok(()) if failed => tracing::info!("connected to the primary that the Sentinels name"),
            Err(error) if !failed => {
                tracing::warn!(%error, is_connected, "the primary that the Sentinels name is not reached");
            }
            Ok(()) | Err(_) => {}
        }
        failed = looked.is_err();
        tokio::select! {
            () = doubt.notified() => tokio::time::sleep(ALERT / 5).await,
            () = tokio::time::sleep(if is_connected { CALM } else { ALERT }) => {}
        }
    }
}

/// Connects to the primary, unless that is where the connection goes. One to another server stays until then.
async fn look(
    place: &ArcSwapOption<OwnConnection>,
    sentinels: &Sentinels,
    config: &AsyncConnectionConfig,
) -> Result<(), RedisError> {
    if let Some(connection) = place.load_full()
        && sentinels.is_newest(&connection, &sentinels.ask().await?)
    {
        return Ok(());
    }
    place.store(Some(Arc::new(sentinels.connect(config).await?)));
    Ok(())
}
