//! RabbitMQ is killed, blocks, is full, or has no queue for what is sent: only the outbox grows.

use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;
use rand::rngs::StdRng;

use super::engine_faults::pause;
use super::stage::Stage;
use crate::test_app::take_messages;

/// Messages that wait before a fault ends.
const WAITING: i64 = 40;

impl Stage<'_> {
    /// SIGKILL for RabbitMQ, which comes back.
    pub async fn kill_rabbitmq(&mut self, random: &mut StdRng) {
        self.let_rabbitmq_register().await;
        pause(random, 200).await;
        self.servers.rabbitmq.kill().await;
        self.servers.rabbitmq.restart().await.unwrap();
        self.figures.count("kills of RabbitMQ");
    }

    /// The memory alarm blocks whoever publishes.
    pub async fn alarm_rabbitmq(&mut self) {
        self.servers.rabbitmqctl(&["set_vm_memory_high_watermark", "0.000001"]).await;
        self.outbox_grows().await;
        self.servers.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]).await;
        self.figures.count("memory alarms of RabbitMQ");
        self.outbox_empties().await;
    }

    /// The queue takes ten messages and refuses the others, until its limit is lifted.
    pub async fn fill_rabbitmq(&mut self) {
        let definition = r#"{"max-length": 10, "overflow": "reject-publish"}"#;
        self.servers.rabbitmqctl(&["set_policy", "full", ".*", definition, "--apply-to", "queues"]).await;
        self.outbox_grows().await;
        self.servers.rabbitmqctl(&["clear_policy", "full"]).await;
        self.figures.count("full queues of RabbitMQ");
        self.outbox_empties().await;
    }

    /// The queue is bound to nothing: messages are returned, and confirmed all the same.
    pub async fn unbind_rabbitmq(&mut self) {
        let properties = lapin::ConnectionProperties::default();
        let connection =
            lapin::Connection::connect(self.settings.amqp_url.expose(), properties).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let (queue, exchange) = (self.settings.amqp_queue.clone(), self.settings.amqp_exchange.clone());
        let (to, from) = (queue.as_str(), exchange.as_str());
        channel.queue_unbind(to.into(), from.into(), "order.*".into(), FieldTable::default()).await.unwrap();
        self.outbox_grows().await;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(to.into(), from.into(), "order.*".into(), options, FieldTable::default())
            .await
            .unwrap();
        connection.close(200, "done".into()).await.unwrap();
        self.figures.count("missing bindings in RabbitMQ");
        self.outbox_empties().await;
    }

    /// The data platform takes what is there.
    pub async fn take_messages(&mut self) {
        self.messages.extend(take_messages(&self.settings).await);
    }

    /// A broker that is killed in the seconds after a queue was declared may never elect the queue's leader
    /// again; one orderly stop registers the queue for good.
    async fn let_rabbitmq_register(&mut self) {
        if std::mem::replace(&mut self.servers.queue_is_registered, true) {
            return;
        }
        self.until("something was published", async || {
            self.number("SELECT CAST(published AS SIGNED) FROM publishing").await > 0
        })
        .await;
        self.servers.rabbitmq.stop().await;
        self.servers.rabbitmq.restart().await.unwrap();
    }

    async fn outbox_grows(&self) {
        self.until("messages wait in the outbox", async || {
            self.number("SELECT COUNT(*) FROM outbox").await >= WAITING
        })
        .await;
    }

    async fn outbox_empties(&self) {
        let waiting = self.number("SELECT CAST(MAX(seq) AS SIGNED) FROM outbox UNION SELECT 0 LIMIT 1").await;
        let rest = format!("SELECT COUNT(*) FROM outbox WHERE seq <= {waiting}");
        self.until("what waited is published", async || self.number(&rest).await == 0).await;
    }
}
