//! What MySQL does for the cells: by the model's word, or for real.

use std::sync::Arc;
use std::time::{Duration, Instant};

use firstcome::cell::{CellId, CellView, Position};
use firstcome::config::{Authorities, Settings};
use firstcome::mysql;
use firstcome::mysql::cells as rows;
use firstcome::pool::Pool;
use firstcome::scripts::Scripts;
use firstcome::scripts::copies_due::Change;
use firstcome::worker::recover::{Because, RecoverOutcome, recover_in_turn};
use firstcome::worker::{Silent, Worker, drain_events};
use sqlx::mysql::MySqlPool;

use super::super::test_app::fresh_settings;
use super::rules::{Model, cells};
use super::world::STREAM_BOUND;

/// Generous: a slow machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

pub enum Mysql<'a> {
    /// What was persisted is kept beside it in Redis, and a rebuild brings back what the model says that it does.
    Modelled,
    /// The engine's own worker and a database.
    Real(&'a Database),
}

/// A database of its own, and what a worker needs.
pub struct Database {
    pool: MySqlPool,
    settings: Arc<Settings>,
}

impl Database {
    pub async fn start(redis_url: String) -> Self {
        let mut settings = fresh_settings(redis_url).await;
        settings.cells = cells().count();
        mysql::migrate(&settings.mysql_url, &Authorities::default()).await.unwrap();
        let pool = mysql::connect(&settings.mysql_url, &Authorities::default(), 4).await.unwrap();
        Self { pool, settings: Arc::new(settings) }
    }

    /// Empties the database for a shop whose cells nobody has opened.
    pub async fn begin(&self) {
        let tables = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables \
                      WHERE table_schema = DATABASE() AND table_name <> '_sqlx_migrations'";
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&self.pool).await.unwrap();
        for table in tables {
            let delete = sqlx::AssertSqlSafe(format!("DELETE FROM `{table}`"));
            sqlx::query(delete).execute(&self.pool).await.unwrap();
        }
        rows::prepare(&self.pool, cells(), STREAM_BOUND).await.unwrap();
    }

    fn worker(&self, scripts: &Scripts) -> Worker {
        Worker::new(scripts, self.pool.clone(), self.settings.clone())
    }

    /// Takes all events of a cell; afterwards its row is as the model has it.
    pub async fn persist(&self, scripts: &Scripts, expected: CellView) {
        drain_events(&self.worker(scripts), expected.cell, PATIENCE).await.unwrap();
        let row = rows::read(&self.pool, expected.cell).await.unwrap().view;
        assert_eq!(
            (row.epoch, row.persisted),
            (expected.epoch, expected.persisted),
            "cell {}",
            expected.cell
        );
        assert_eq!(row.dead_events, 0);
    }

    /// Rebuilds a cell and opens it; the first entry of its new epoch.
    pub async fn recover(&self, scripts: &Scripts, cell: CellId) -> Position {
        let began = Instant::now();
        loop {
            match recover_in_turn(&self.worker(scripts), cell, Because::Asked, &Silent).await {
                Ok(RecoverOutcome::Opened(found)) => {
                    return Position { epoch: found.epoch, seq: found.base };
                }
                // As a worker does: the next attempt starts over.
                Err(error) if began.elapsed() < PATIENCE => println!("cell {cell}: {error}; again"),
                outcome => panic!("cell {cell} was not opened: {outcome:?}"),
            }
        }
    }
}

impl Model {
    /// Takes what a rebuild found to be copied, which may be more than there is, and never less.
    pub fn find_uncopied(&mut self, home: CellId, due: &[Change]) {
        let found = due.iter().map(|it| match it {
            Change::Product(id, seq) => (Pool::Stock(super::pools::sku(*id)), *seq),
            Change::Coupon(id, seq) => (Pool::Coupon(*id), *seq),
        });
        let found: std::collections::BTreeMap<Pool, u64> = found.collect();
        for (pool, here) in self.cell(home).mysql.pools.iter().filter(|(it, _)| it.home(cells()) == home) {
            let has = |cell: CellId| self.cell(cell).mysql.pools.get(pool).map(|it| it.version);
            let is_everywhere = cells().all().all(|it| has(it) == Some(here.version));
            assert!(
                is_everywhere || found.get(pool) == Some(&here.version),
                "{pool} is to be copied: {found:?}"
            );
        }
        self.cell_mut(home).volatile.uncopied = found;
    }
}
