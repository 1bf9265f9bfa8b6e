//! What MySQL holds by itself: rules that are true in every snapshot.

use sqlx::mysql::MySqlPool;

use super::report::{Findings, kind};
use super::{AuditError, AuditProgress};
use crate::cell::{CellId, Seq};
use crate::mysql::books as rows;

/// Orders checked at once.
const ORDER_PAGE: usize = 5_000;

pub(super) async fn check_stock(
    mysql: &MySqlPool,
    cell: CellId,
    findings: &mut Findings,
) -> Result<(), AuditError> {
    for row in rows::stock_that_differs(mysql, cell).await? {
        let rows::StockRow { product_id, option_id, put_in, remaining, held } = row;
        let text = format!("{put_in} units, but {remaining} remain and orders hold {held}");
        findings.add(kind::STOCK, format!("{product_id}:{option_id}"), text);
    }
    Ok(())
}

/// Orders up to the newest one at the beginning; later ones are the next audit's.
pub(super) async fn check_orders(
    mysql: &MySqlPool,
    newest: u64,
    findings: &mut Findings,
    progress: &dyn AuditProgress,
) -> Result<(), AuditError> {
    let mut after = 0;
    while let Some((last, count)) = rows::order_page(mysql, after, newest, ORDER_PAGE).await? {
        for row in rows::orders_that_differ(mysql, after, last).await? {
            let text = |it: Option<i64>| it.map_or("none".to_owned(), |it| it.to_string());
            let rows::OrderRow { id, status, total, discount, paid, .. } = &row;
            let order = format!("{status}, total {total}, discount {discount}, paid {paid}");
            if row.sums_differ() {
                let text = format!("{order}; lines {}", text(row.lines_total));
                findings.add(kind::ORDER, id.to_string(), text);
            }
            if row.payment_differs() {
                let (payment, ledger) = (text(row.payment), text(row.ledger_amount));
                findings.add(
                    kind::PAYMENT,
                    id.to_string(),
                    format!("{order}; payment {payment}, ledger {ledger}"),
                );
            }
        }
        for row in rows::coupon_orders_that_differ(mysql, after, last).await? {
            let rows::CouponOrderRow { id, user_id, coupon_id, status, state, order_id } = row;
            let issue = match (state, order_id) {
                (Some(state), Some(order)) => format!("{state} by order {order}"),
                (Some(state), None) => state,
                (None, _) => "not there".to_owned(),
            };
            let text = format!("order {id} is {status} with it, but it is {issue}");
            findings.add(kind::COUPON_ISSUE, format!("{coupon_id}:{user_id}"), text);
        }
        findings.report.checked.orders += count;
        progress.advance(count);
        after = last;
    }
    Ok(())
}

/// Paid orders, payments and ledger entries one for one, and one message for each. That each order has
/// its payment and entry is checked order by order; here, that there are no others.
pub(super) async fn check_totals(
    mysql: &MySqlPool,
    cell: CellId,
    findings: &mut Findings,
) -> Result<(), AuditError> {
    let totals = rows::totals(mysql, cell).await?;
    let rows::Totals { paid_orders, payments, ledger_payments, waiting, published } = totals;
    let published = published.unwrap_or(0);
    findings.report.checked.payments += payments as u64;
    findings.report.checked.messages += waiting as u64 + published;
    if paid_orders as u64 != published + waiting as u64 {
        let text = format!("{paid_orders} paid orders, {published} messages published, {waiting} waiting");
        findings.add(kind::MESSAGE, format!("cell {cell}"), text);
    }
    if paid_orders != payments {
        rows::payments_without_order(mysql, cell, |order, amount| {
            findings.add(kind::PAYMENT, order.to_string(), format!("payment {amount} without a paid order"));
        })
        .await?;
    }
    if payments != ledger_payments {
        rows::ledger_without_payment(mysql, cell, |seq: Seq, amount| {
            let text = format!("ledger entry {amount} without a payment");
            findings.add(kind::LEDGER, format!("{cell}-{seq}"), text);
        })
        .await?;
    }
    Ok(())
}
