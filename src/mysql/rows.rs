//! Multi-row statements in a few fixed sizes, so that each is prepared once per connection.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use sqlx::mysql::MySqlArguments;
use sqlx::{AssertSqlSafe, MySqlConnection};

/// Rows per statement. Powers of four: any number of rows is at most 15 statements and a few full ones.
/// The largest with the widest table is 1,024 × 14 values, below MySQL's 65,535.
const SIZES: [usize; 6] = [1_024, 256, 64, 16, 4, 1];

/// A table's multi-row INSERT.
pub(super) struct Insert {
    pub table: &'static str,
    pub columns: &'static str,
    /// One row, such as `(?, ?, ?)`.
    pub row: &'static str,
    /// `ON DUPLICATE KEY UPDATE …`, or nothing.
    pub on_duplicate: &'static str,
}

/// Statement texts by table, way to meet a duplicate, and size; a dozen × 6 at most.
type Texts = HashMap<(&'static str, &'static str, usize), &'static str>;
static TEXTS: LazyLock<Mutex<Texts>> = LazyLock::new(Mutex::default);

impl Insert {
    fn text(&self, rows: usize) -> &'static str {
        let mut texts = TEXTS.lock().expect("no panic while held");
        texts.entry((self.table, self.on_duplicate, rows)).or_insert_with(|| {
            let values = vec![self.row; rows].join(",");
            let Self { table, columns, on_duplicate, .. } = self;
            // Leaked once per entry: the text lives as long as the process anyway.
            Box::leak(
                format!("INSERT INTO {table} ({columns}) VALUES {values} {on_duplicate}").into_boxed_str(),
            )
        })
    }

    /// Writes all rows. `bind` adds one row's values, in the order of the columns.
    pub async fn execute<T>(
        &self,
        connection: &mut MySqlConnection,
        rows: &[T],
        mut bind: impl FnMut(&mut MySqlArguments, &T) -> Result<(), sqlx::error::BoxDynError>,
    ) -> Result<(), sqlx::Error> {
        let mut rest = rows;
        for size in SIZES {
            while rest.len() >= size {
                let (now, later) = rest.split_at(size);
                rest = later;
                let mut arguments = MySqlArguments::default();
                for row in now {
                    bind(&mut arguments, row).map_err(sqlx::Error::Encode)?;
                }
                // Texts are built from constants of this crate alone.
                let text = AssertSqlSafe(self.text(size));
                sqlx::query_with(text, arguments).execute(&mut *connection).await?;
            }
        }
        Ok(())
    }
}
