//! How long a node takes from its start until it answers.

use super::Cases;
use crate::row::Row;
use crate::table::thousands;

/// Users in Redis meanwhile.
const USERS: u64 = 1_000_000;

/// Starts, of which the middle one counts.
const STARTS: usize = 5;

impl Cases<'_> {
    /// Comes after all other cases: with so many users each audit takes long.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        eprintln!("ready");
        self.grow(USERS).await?;
        let mut took = Vec::new();
        for _ in 0..STARTS {
            took.push(self.shop.restart_api().await?.as_secs_f64());
        }
        took.sort_by(f64::total_cmp);
        let mut row = Row::new("start", "API node, from its start until it is ready");
        row.remark(format!(
            "{:.2} s, of {STARTS} starts the middle one; with {} users in Redis",
            took[STARTS / 2],
            thousands(USERS.max(self.settings.users) as f64)
        ));
        self.settle(&mut row).await?;
        self.rows.push(row);
        Ok(())
    }
}
