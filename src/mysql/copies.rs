//! Which cells have what a home cell says, as far as MySQL has it.

use sqlx::mysql::MySqlPool;

use crate::cell::{CellId, Seq};

/// Who has a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// Whether MySQL has the home cell's own event.
    pub home_has: bool,
    /// The cells of which MySQL has a copy of it, or of a newer one.
    pub made: Vec<CellId>,
    /// The cells of which MySQL has any copy, of whatever age.
    pub known: Vec<CellId>,
}

/// A row of a cell: whether it is the home's, the home's event that it is of, and whether it is over.
type Row = (u16, bool, Seq, bool);

/// Copies of what the home cell's event `seq` said of a product. A copy of one that was deleted since is over.
pub async fn of_product(
    pool: &MySqlPool,
    home: CellId,
    product: u64,
    seq: Seq,
) -> Result<Copies, sqlx::Error> {
    let rows = sqlx::query_as("SELECT cell, home, version, deleted FROM products WHERE product_id = ?")
        .bind(product)
        .fetch_all(pool)
        .await?;
    Ok(copies(&rows, home, seq))
}

/// The same of a campaign.
pub async fn of_coupon(pool: &MySqlPool, home: CellId, coupon: u64, seq: Seq) -> Result<Copies, sqlx::Error> {
    let rows = sqlx::query_as("SELECT cell, home, version, forgotten FROM coupons WHERE coupon_id = ?")
        .bind(coupon)
        .fetch_all(pool)
        .await?;
    Ok(copies(&rows, home, seq))
}

/// Products that a cell lists and their homes have deleted, each with the number of the deletion: copies that somebody made
/// late, of what he had read before.
pub async fn left_over_products(pool: &MySqlPool, cell: CellId) -> Result<Vec<(u64, Seq)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.product_id, h.version FROM products c JOIN products h ON h.product_id = c.product_id \
         WHERE c.cell = ? AND c.deleted = 0 AND c.home = 0 AND h.home = 1 AND h.deleted = 1 AND c.version < h.version",
    )
    .bind(cell.0)
    .fetch_all(pool)
    .await
}

/// The same of campaigns.
pub async fn left_over_coupons(pool: &MySqlPool, cell: CellId) -> Result<Vec<(u64, Seq)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.coupon_id, h.version FROM coupons c JOIN coupons h ON h.coupon_id = c.coupon_id \
         WHERE c.cell = ? AND c.forgotten = 0 AND c.home = 0 AND h.home = 1 AND h.forgotten = 1 \
         AND c.version < h.version",
    )
    .bind(cell.0)
    .fetch_all(pool)
    .await
}

fn copies(rows: &[Row], home: CellId, seq: Seq) -> Copies {
    let home_row = rows.iter().find(|it| it.0 == home.0 && it.1 && it.2 >= seq);
    let is_gone = home_row.is_some_and(|it| it.3);
    let others = || rows.iter().filter(|it| it.0 != home.0);
    let made = others().filter(|it| it.2 >= seq || (is_gone && it.3)).map(|it| CellId(it.0)).collect();
    let known = others().map(|it| CellId(it.0)).collect();
    Copies { home_has: home_row.is_some(), made, known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_counts_once_mysql_has_it() {
        let rows = [(2, true, 9, false), (0, false, 9, false), (1, false, 8, false)];
        let made = |rows: &[Row], seq| {
            let copies = copies(rows, CellId(2), seq);
            (copies.home_has, copies.made.iter().map(|it| it.0).collect::<Vec<_>>())
        };
        assert_eq!(made(&rows, 9), (true, vec![0]));
        assert_eq!(made(&rows, 8), (true, vec![0, 1]));
        assert_eq!(made(&rows, 10), (false, vec![]));
        // It was deleted at home; cell 1 never had it, cell 0 has deleted its copy.
        let gone = [(2, true, 9, true), (0, false, 5, true), (3, false, 5, false)];
        assert_eq!(made(&gone, 9), (true, vec![0]));
    }
}
