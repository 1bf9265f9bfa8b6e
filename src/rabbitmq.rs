//! The exchange and queue of the data platform, and confirmed publishing.

use std::net::IpAddr;
use std::time::Duration;

use futures::TryStreamExt;
use futures::stream::FuturesOrdered;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::uri::{AMQPAuthority, AMQPUri};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind, PublisherConfirm};

use crate::config::{Authorities, Secret};

/// One message on its way.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub id: &'a str,
    pub routing_key: &'a str,
    pub body: &'a str,
}

/// What became of a message. Only `Confirmed` is delivered; a missing answer says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Confirmed,
    /// No queue took it; the broker acknowledges such a message all the same.
    Returned,
    /// A full queue, or a broker in trouble.
    Refused,
}

/// Publishing failed as a whole; what was sent may have arrived.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("amqp: {0}")]
    Amqp(#[from] lapin::Error),
    #[error("cannot connect to RabbitMQ at {url}: {source}")]
    Connect { url: Secret, source: lapin::Error },
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// Whether a URL names RabbitMQ's first user with their well-known password, on a host that others can reach.
/// A URL without a user means them too.
pub fn is_guest_elsewhere(url: &Secret) -> bool {
    let Ok(AMQPUri { authority: AMQPAuthority { userinfo, host, .. }, .. }) = url.expose().parse() else {
        return false;
    };
    let host = host.trim_matches(['[', ']']);
    let is_loopback = host == "localhost" || host.parse().is_ok_and(|it: IpAddr| it.is_loopback());
    !is_loopback && userinfo.username == "guest" && userinfo.password == "guest"
}

/// A connection with confirms, for one publisher.
pub struct Publisher {
    connection: Connection,
    channel: Channel,
    exchange: String,
    timeout: Duration,
}

impl Publisher {
    /// Connects and declares the topology: a durable topic exchange, and a quorum queue that refuses
    /// (instead of dropping the oldest message) where a policy limits its length.
    /// `amqps://` trusts these authorities beside the public ones.
    pub async fn connect(
        url: &Secret,
        authorities: &Authorities,
        exchange: &str,
        queue: &str,
        timeout: Duration,
    ) -> Result<Self, PublishError> {
        within(timeout, async {
            let properties = ConnectionProperties::default().with_connection_name("firstcome".into());
            let tls = OwnedTLSConfig { identity: None, cert_chain: authorities.pem().map(str::to_owned) };
            let runtime = lapin::runtime::default_runtime()?;
            let connection = Connection::connect_with_config(url.expose(), properties, tls, runtime).await;
            let connection =
                connection.map_err(|source| PublishError::Connect { url: url.clone(), source })?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
            channel
                .exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default())
                .await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from("quorum")));
            arguments.insert("x-overflow".into(), AMQPValue::LongString(LongString::from("reject-publish")));
            let durable = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(queue.into(), durable, arguments).await?;
            let bind = QueueBindOptions::default();
            channel
                .queue_bind(queue.into(), exchange.into(), "order.*".into(), bind, FieldTable::default())
                .await?;
            Ok(Self { connection, channel, exchange: exchange.to_owned(), timeout })
        })
        .await
    }

    /// Sends all messages, then waits for all confirms; one outcome for each message, in their order.
    ///
    /// # Errors
    /// After an error the connection is of no more use, and any of the messages may have arrived.
    pub async fn publish(&self, messages: &[Message<'_>]) -> Result<Vec<Outcome>, PublishError> {
        // A blocked connection (a memory alarm) stops writing without an error: the time-out ends it.
        within(self.timeout, async {
            // All are handed over before the first is written: awaited one by one, each would cost a system call and
            // two changes of threads.
            let handed_over: FuturesOrdered<_> = messages.iter().map(|it| self.hand_over(it)).collect();
            let confirms: Vec<PublisherConfirm> = handed_over.try_collect().await?;
            let mut outcomes = Vec::with_capacity(messages.len());
            for confirm in confirms {
                let confirm = confirm.await?;
                let acknowledged = confirm.is_ack();
                outcomes.push(match (acknowledged, confirm.take_message().is_some()) {
                    (true, false) => Outcome::Confirmed,
                    (_, true) => Outcome::Returned,
                    (false, false) => Outcome::Refused,
                });
            }
            Ok(outcomes)
        })
        .await
    }

    /// Done when it is written; what it gives is done when the broker has confirmed it.
    async fn hand_over(&self, message: &Message<'_>) -> Result<PublisherConfirm, lapin::Error> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(message.id.into())
            .with_content_type("application/cloudevents+json".into());
        let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (exchange, routing_key) = (self.exchange.as_str().into(), message.routing_key.into());
        self.channel
            .basic_publish(exchange, routing_key, mandatory, message.body.as_bytes(), properties)
            .await
    }

    /// Says good-bye to the broker.
    pub async fn close(self) {
        // Nothing depends on the good-bye: all confirms are in.
        let _ =
            within(Duration::from_secs(1), async { Ok(self.connection.close(200, "done".into()).await?) })
                .await;
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, PublishError>>,
) -> Result<T, PublishError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(PublishError::TimedOut(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_is_for_loopback_only() {
        let elsewhere = |url: &str| is_guest_elsewhere(&Secret::new(url));
        for url in ["amqp://guest:guest@mq:5672/%2f", "amqps://guest:guest@10.0.0.1/", "amqp://mq"] {
            assert!(elsewhere(url), "{url}");
        }
        for url in [
            "amqp://guest:guest@127.0.0.1:5672/%2f",
            "amqp://guest:guest@localhost/%2f",
            "amqp://guest:guest@[::1]:5672/%2f",
            "amqp://shop:guest@mq/%2f",
            "amqp://guest:other@mq/%2f",
        ] {
            assert!(!elsewhere(url), "{url}");
        }
    }
}
