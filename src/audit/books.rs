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

/// Units that moved between cells: what one gave the other took, but for one transfer that is under way.
pub(super) async fn check_transfers(mysql: &MySqlPool, findings: &mut Findings) -> Result<(), AuditError> {
    for row in rows::transfers_that_differ(mysql).await? {
        let rows::TransferRow { kind, item_id, option_id, cell, peer, given, taken } = row;
        let text = format!("cell {cell} gave number {given} to cell {peer}, which took number {taken}");
        findings.add(kind::TRANSFER, format!("{kind}:{item_id}:{option_id}"), text);
    }
    for row in rows::moves_that_differ(mysql).await? {
        let rows::MovedRow { kind, item_id, option_id, moved, under_way } = row;
        let text = format!("{moved} units moved in all cells together, {under_way} are under way");
        findings.add(kind::TRANSFER, format!("{kind}:{item_id}:{option_id}"), text);
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
                let [payment, ledger, refund] = [row.payment, row.ledger_amount, row.refund_amount].map(text);
                let text = format!("{order}; payment {payment}, ledger {ledger}, refund {refund}");
                findings.add(kind::PAYMENT, id.to_string(), text);
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

/// Paid orders, payments and ledger entries one for one, and one message for each payment and refund. That each order has
/// its payment and entry is checked order by order; here, that there are no others.
pub(super) async fn check_totals(
    mysql: &MySqlPool,
    cell: CellId,
    findings: &mut Findings,
) -> Result<(), AuditError> {
    let totals = rows::totals(mysql, cell).await?;
    let rows::Totals { paid_orders, payments, ledger_payments, refunded_orders, ledger_refunds, .. } = totals;
    let waiting = totals.waiting as u64;
    let published = totals.published.unwrap_or(0);
    findings.report.checked.payments += payments as u64;
    findings.report.checked.messages += waiting + published;
    if (paid_orders + refunded_orders) as u64 != published + waiting {
        let orders = format!("{paid_orders} paid orders, {refunded_orders} of them refunded");
        let text = format!("{orders}, {published} messages published, {waiting} waiting");
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
    if refunded_orders != ledger_refunds {
        let text = format!("{ledger_refunds} ledger entries for {refunded_orders} refunded orders");
        findings.add(kind::LEDGER, format!("cell {cell}"), text);
    }
    Ok(())
}
