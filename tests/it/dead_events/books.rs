//! A second database that follows the same log, in which chosen events are refused by triggers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use firstcome::app::Connections;
use firstcome::audit;
use firstcome::cell::{EventId, Seq};
use firstcome::config::Secret;
use firstcome::mysql::dead_events::{self, Resolved};
use firstcome::mysql::{self, cells};
use firstcome::worker::{Worker, drain_events};
use sqlx::mysql::MySqlPool;
use sqlx::{AssertSqlSafe, Row};

use crate::test_app::{CELL, TestApp};

/// Tables that tell what happened; all others are bookkeeping.
const TABLES: [&str; 11] = [
    "wallets",
    "ledger",
    "products",
    "skus",
    "coupons",
    "coupon_issues",
    "orders",
    "order_lines",
    "payments",
    "idempotency",
    "outbox",
];

/// Rows by table, in a fixed order.
pub type Rows = BTreeMap<&'static str, Vec<String>>;

pub struct Books {
    pub mysql: MySqlPool,
    pub worker: Worker,
}

impl Books {
    /// Books that begin where those of the test's engine stand now, which has sold nothing yet.
    pub async fn beside(app: &TestApp) -> Self {
        let mut settings = app.settings.clone();
        settings.mysql_url = Secret::new(format!("{}_beside", app.settings.mysql_url.expose()));
        mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
        let pool = mysql::connect(&settings.mysql_url, &settings.tls_ca_file, 8).await.unwrap();
        cells::prepare(&pool, settings.cells(), settings.stream_bound()).await.unwrap();
        let Connections { scripts, mysql, .. } = app.connections();
        let cell = cells::read(mysql, CELL).await.unwrap().view;
        sqlx::query("UPDATE cells SET epoch = ?, persisted_epoch = ?, persisted_seq = ?")
            .bind(cell.epoch)
            .bind(cell.persisted.epoch)
            .bind(cell.persisted.seq)
            .execute(&pool)
            .await
            .unwrap();
        let worker = Worker::new(scripts, pool.clone(), Arc::new(settings));
        install_refusals(&pool).await;
        Self { mysql: pool, worker }
    }

    /// Refuses the rows of these events from now on; `hard`: the absolute values they carry, too.
    pub async fn refuse(&self, events: impl IntoIterator<Item = (Seq, bool)>) {
        for (seq, hard) in events {
            sqlx::query("INSERT INTO refused (seq, hard) VALUES (?, ?)")
                .bind(seq)
                .bind(hard)
                .execute(&self.mysql)
                .await
                .unwrap();
        }
    }

    /// Persists what is in the log; then nothing is refused any more.
    pub async fn follow(&self) {
        drain_events(&self.worker, CELL, Duration::from_secs(120)).await.unwrap();
        sqlx::query("DELETE FROM refused").execute(&self.mysql).await.unwrap();
    }

    pub async fn dead(&self) -> Vec<Seq> {
        dead_events::list(&self.mysql, None).await.unwrap().iter().map(|it| it.seq).collect()
    }

    pub async fn retry(&self, seq: Seq) {
        let done = dead_events::retry(&self.mysql, EventId { cell: CELL, seq }).await;
        assert_eq!(done.unwrap(), Resolved::Done, "event {seq}");
    }

    pub async fn rows(&self) -> Rows {
        rows(&self.mysql).await
    }

    /// All of it, checked against Redis.
    pub async fn assert_clean(&self, app: &TestApp) {
        let report = audit::audit(&app.connections().scripts, &self.mysql, &audit::Silent).await.unwrap();
        assert!(report.clean(), "{report:#?}");
        let kept: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM catalogue_replay").fetch_one(&self.mysql).await.unwrap();
        assert_eq!(kept, 0, "nothing is kept for dead events that are none");
    }
}

/// What the tables of some books hold, but for what only orders the messages of an outbox.
pub async fn rows(mysql: &MySqlPool) -> Rows {
    let mut all = Rows::new();
    for table in TABLES {
        let columns = sqlx::query(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? \
             AND COLUMN_NAME <> 'after_seq' ORDER BY ORDINAL_POSITION",
        )
        .bind(table)
        .fetch_all(mysql)
        .await
        .unwrap();
        let columns: Vec<String> = columns.iter().map(|it| it.get(0)).collect();
        let text = columns.iter().map(|it| format!("'{it}=', COALESCE(CAST({it} AS CHAR), '-')"));
        let text = text.collect::<Vec<_>>().join(", ' ', ");
        let select = format!("SELECT CONCAT({text}) FROM {table} ORDER BY 1");
        let rows = sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(mysql).await.unwrap();
        all.insert(table, rows);
    }
    all
}

/// Fails with the rows that differ.
pub fn assert_equal(expected: &Rows, found: &Rows, story: &str) {
    let mut differences = Vec::new();
    for table in TABLES {
        let (expected, found) = (&expected[table], &found[table]);
        differences
            .extend(expected.iter().filter(|it| !found.contains(it)).map(|it| format!("{table} lacks {it}")));
        differences
            .extend(found.iter().filter(|it| !expected.contains(it)).map(|it| format!("{table} has   {it}")));
    }
    assert!(differences.is_empty(), "{story}\n{}", differences.join("\n"));
}

/// Triggers that refuse the rows of events in `refused`, whatever else is in their batch. Soft ones leave alone what
/// is written of an event that is parked.
async fn install_refusals(mysql: &MySqlPool) {
    let mut statements = vec![
        "CREATE TABLE refused (seq BIGINT UNSIGNED NOT NULL PRIMARY KEY, hard TINYINT NOT NULL)".to_owned(),
        "CREATE TABLE moving (from_seq BIGINT UNSIGNED NOT NULL, to_seq BIGINT UNSIGNED NOT NULL)".to_owned(),
        "INSERT INTO moving VALUES (0, 0)".to_owned(),
        "CREATE TRIGGER moves BEFORE UPDATE ON cells FOR EACH ROW \
         UPDATE moving SET from_seq = OLD.persisted_seq, to_seq = NEW.persisted_seq"
            .to_owned(),
    ];
    let soft = [
        "ledger",
        "products",
        "catalogue_replay",
        "orders",
        "order_lines",
        "payments",
        "idempotency",
        "outbox",
    ];
    let hard = ["wallets", "skus", "coupon_issues"];
    let tables = soft.iter().map(|it| (*it, "0", "1", "1"));
    let tables = tables.chain(hard.iter().map(|it| (*it, "1", "1", "1"))).chain([
        ("coupons", "1", "1", "1"),
        // What a campaign says, as opposed to its units left.
        ("coupons", "0", "NEW.name <> ''", "NEW.name <> OLD.name OR NEW.forgotten <> OLD.forgotten"),
    ]);
    for (table, level, on_insert, on_update) in tables {
        for (event, condition) in [("INSERT", on_insert), ("UPDATE", on_update)] {
            statements.push(format!(
                "CREATE TRIGGER refuse_{table}_{event}_{level} BEFORE {event} ON {table} FOR EACH ROW \
                 IF ({condition}) AND EXISTS (SELECT 1 FROM refused r JOIN moving m ON r.seq > m.from_seq \
                 AND r.seq <= m.to_seq WHERE r.hard >= {level}) \
                 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused by the test'; END IF"
            ));
        }
    }
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(mysql).await.unwrap();
    }
}
