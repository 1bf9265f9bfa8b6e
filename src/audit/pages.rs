//! MySQL's side of a page: what Redis should hold, and what MySQL alone shows to be wrong.

use std::collections::{HashMap, HashSet};

use super::AuditError;
use super::report::{Difference, kind};
use crate::cell::CellId;
use crate::coupon::{IssueId, IssueState};
use crate::event::Holding;
use crate::ids::{CouponId, ID_MAX, NotAnId, OptionId, OrderId, ProductId, UserId};
use crate::mysql::audit::{self as rows, IDS_MAX, Snapshot};
use crate::pool::Pool;
use crate::product::SkuId;
use crate::scripts::audit_read::AuditItem;

/// Wallets, SKUs or issues compared at once.
pub(super) const PAGE: usize = IDS_MAX;

/// SKUs compared at once: two items each.
const SKU_PAGE: usize = PAGE / 2;

/// Campaigns compared at once: three items each.
pub(super) const COUPON_PAGE: usize = PAGE / 3;

/// What Redis and MySQL both hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Wallets,
    Skus,
    Coupons,
    Issues,
}

/// What a page is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum PageOf<'a> {
    /// MySQL's next rows behind these two numbers: user or coupon and 0, product and option, coupon and user.
    Behind(Kind, (u64, u64)),
    /// Users that Redis has.
    Users(&'a [UserId]),
    /// SKUs that Redis has.
    Skus(&'a [SkuId]),
    /// Campaigns that Redis has.
    Coupons(&'a [CouponId]),
    /// Users who have a unit of a campaign in Redis.
    IssuesOf(CouponId, &'a [UserId]),
}

impl PageOf<'_> {
    /// Whether it only asks for what Redis has and MySQL does not know.
    pub(super) fn is_of_strangers(self) -> bool {
        match self {
            Self::Behind(..) => false,
            Self::Users(_) | Self::Skus(_) | Self::Coupons(_) | Self::IssuesOf(..) => true,
        }
    }
}

#[derive(Default)]
pub(super) struct Page {
    /// What to compare, and MySQL's value; `None` where it has none.
    pub(super) items: Vec<(AuditItem, Option<i64>)>,
    /// Rows of the kind that was asked for.
    pub(super) rows: u64,
    pub(super) ledger_entries: u64,
    /// What MySQL alone shows to be wrong.
    pub(super) own: Vec<Difference>,
    /// Behind which the next page begins; `None` where there is none.
    pub(super) next: Option<(u64, u64)>,
}

impl Page {
    pub(super) async fn read(
        of: PageOf<'_>,
        snapshot: &mut Snapshot,
        cell: CellId,
    ) -> Result<Self, AuditError> {
        match of {
            PageOf::Behind(Kind::Wallets, (after, _)) => wallets(snapshot, cell, after).await,
            PageOf::Behind(Kind::Skus, after) => skus(snapshot, cell, after).await,
            PageOf::Behind(Kind::Coupons, (after, _)) => coupons(snapshot, cell, after).await,
            PageOf::Behind(Kind::Issues, after) => issues(snapshot, cell, after).await,
            PageOf::Users(users) => unknown_users(snapshot, cell, users).await,
            PageOf::Skus(skus) => unknown_skus(snapshot, cell, skus).await,
            PageOf::Coupons(coupons) => unknown_coupons(snapshot, cell, coupons).await,
            PageOf::IssuesOf(coupon, users) => unknown_issues(snapshot, cell, coupon, users).await,
        }
    }

    /// What MySQL does not know (yet).
    fn of_strangers(items: impl Iterator<Item = Holding>) -> Self {
        Self { items: items.map(|it| (AuditItem::Holding(it), None)).collect(), ..Self::default() }
    }
}

/// The next wallets, and whether each is the sum of its ledger entries.
async fn wallets(snapshot: &mut Snapshot, cell: CellId, after: u64) -> Result<Page, AuditError> {
    let wallets = snapshot.wallets(cell, after, PAGE).await?;
    let next = wallets.last().filter(|_| wallets.len() == PAGE).map(|it| it.user_id);
    let sums = snapshot.ledger_sums(cell, after, next.unwrap_or(ID_MAX)).await?;
    let balances: Vec<(u64, i64)> = wallets.iter().map(|it| (it.user_id, it.balance)).collect();
    let sums_by_user: Vec<(u64, i64)> = sums.iter().map(|it| (it.user_id, it.amount)).collect();
    let item = |(user, balance): &(u64, i64)| {
        Ok((AuditItem::Holding(Holding::Wallet(UserId::new(*user)?)), Some(*balance)))
    };
    Ok(Page {
        items: balances.iter().map(item).collect::<Result<_, NotAnId>>()?,
        rows: wallets.len() as u64,
        ledger_entries: sums.iter().map(|it| it.entries as u64).sum(),
        own: ledger_differences(&balances, &sums_by_user),
        next: next.map(|it| (it, 0)),
    })
}

async fn skus(snapshot: &mut Snapshot, cell: CellId, after: (u64, u64)) -> Result<Page, AuditError> {
    let skus = snapshot.skus(cell, after, SKU_PAGE).await?;
    let next = skus.last().filter(|_| skus.len() == SKU_PAGE).map(|it| (it.product_id, it.option_id));
    let mut items = Vec::with_capacity(2 * skus.len());
    for it in &skus {
        let sku = SkuId { product: ProductId::new(it.product_id)?, option: OptionId::new(it.option_id)? };
        items.push((AuditItem::Holding(Holding::Sku(sku)), Some(it.remaining)));
        items.push((AuditItem::Holding(Holding::Moved(Pool::Stock(sku))), Some(it.moved)));
    }
    Ok(Page { items, rows: skus.len() as u64, next, ..Page::default() })
}

/// The next campaigns, and whether the units of each add up. Of one that was forgotten there is nothing in Redis.
async fn coupons(snapshot: &mut Snapshot, cell: CellId, after: u64) -> Result<Page, AuditError> {
    let coupons = snapshot.coupons(cell, after, COUPON_PAGE).await?;
    let next = coupons.last().filter(|_| coupons.len() == COUPON_PAGE).map(|it| (it.coupon_id, 0));
    let mut items = Vec::new();
    for row in &coupons {
        let coupon = CouponId::new(row.coupon_id)?;
        let live = !row.forgotten;
        items.push((AuditItem::Holding(Holding::Coupon(coupon)), live.then_some(row.remaining)));
        items.push((AuditItem::Holding(Holding::Moved(Pool::Coupon(coupon))), live.then_some(row.moved)));
        // Each of MySQL's issues is looked for in Redis, so that as many are the same ones: this finds those
        // that MySQL does not know without a walk through all.
        items.push((AuditItem::IssueCount(coupon), Some(if live { row.issues } else { 0 })));
    }
    let own = coupons.iter().filter_map(coupon_difference).collect();
    Ok(Page { items, rows: coupons.len() as u64, own, next, ..Page::default() })
}

/// The next issues, and whether the order of each agrees. Those of forgotten campaigns and of earlier lives are
/// not in Redis.
async fn issues(snapshot: &mut Snapshot, cell: CellId, after: (u64, u64)) -> Result<Page, AuditError> {
    let issues = snapshot.issues(cell, after, PAGE).await?;
    let next = issues.last().filter(|_| issues.len() == PAGE).map(|it| (it.coupon_id, it.user_id));
    let mut items = Vec::new();
    for row in issues.iter().filter(|it| it.live == Some(1)) {
        let order = row.order_id.map(OrderId::new).transpose()?;
        let id = IssueId { coupon: CouponId::new(row.coupon_id)?, user: UserId::new(row.user_id)? };
        // A row that makes no sense is one of MySQL's own differences.
        if let Some(state) = IssueState::from_parts(&row.state, order) {
            items.push((AuditItem::Holding(Holding::Issue(id)), Some(state.number())));
        }
    }
    let own = issues.iter().filter_map(issue_difference).collect();
    Ok(Page { items, rows: issues.len() as u64, own, next, ..Page::default() })
}

/// Those users that have no wallet in MySQL (yet).
async fn unknown_users(snapshot: &mut Snapshot, cell: CellId, users: &[UserId]) -> Result<Page, AuditError> {
    let ids: Vec<u64> = users.iter().map(|it| it.get()).collect();
    let known: HashSet<u64> = snapshot.wallets_of(cell, &ids).await?.iter().map(|it| it.user_id).collect();
    let unknown = users.iter().filter(|it| !known.contains(&it.get()));
    Ok(Page::of_strangers(unknown.map(|it| Holding::Wallet(*it))))
}

/// Those SKUs that have no row in MySQL (yet).
async fn unknown_skus(snapshot: &mut Snapshot, cell: CellId, skus: &[SkuId]) -> Result<Page, AuditError> {
    let products: Vec<u64> = skus.iter().map(|it| it.product.get()).collect();
    let rows = snapshot.skus_of(cell, &products).await?;
    let known: HashSet<(u64, u64)> = rows.iter().map(|it| (it.product_id, it.option_id)).collect();
    let unknown = skus.iter().filter(|it| !known.contains(&(it.product.get(), it.option.get())));
    Ok(Page::of_strangers(unknown.map(|it| Holding::Sku(*it))))
}

/// Those campaigns that MySQL does not know (yet), or that it has as forgotten.
async fn unknown_coupons(
    snapshot: &mut Snapshot,
    cell: CellId,
    coupons: &[CouponId],
) -> Result<Page, AuditError> {
    let ids: Vec<u64> = coupons.iter().map(|it| it.get()).collect();
    let known: HashSet<u64> = snapshot.coupons_of(cell, &ids).await?.into_iter().collect();
    let unknown = coupons.iter().filter(|it| !known.contains(&it.get()));
    let items = unknown.flat_map(|it| {
        [(AuditItem::Holding(Holding::Coupon(*it)), None), (AuditItem::IssueCount(*it), Some(0))]
    });
    Ok(Page { items: items.collect(), ..Page::default() })
}

/// Those users that have no unit of the campaign's present life in MySQL (yet).
async fn unknown_issues(
    snapshot: &mut Snapshot,
    cell: CellId,
    coupon: CouponId,
    users: &[UserId],
) -> Result<Page, AuditError> {
    let ids: Vec<u64> = users.iter().map(|it| it.get()).collect();
    let known: HashSet<u64> = snapshot.issues_of(cell, coupon.get(), &ids).await?.into_iter().collect();
    let unknown = users.iter().filter(|it| !known.contains(&it.get()));
    Ok(Page::of_strangers(unknown.map(|it| Holding::Issue(IssueId { coupon, user: *it }))))
}

/// Users whose balance is not the sum of their ledger entries, and such sums without a wallet.
fn ledger_differences(balances: &[(u64, i64)], sums: &[(u64, i64)]) -> Vec<Difference> {
    let mut sums: HashMap<u64, i64> = sums.iter().copied().collect();
    let mut found = Vec::new();
    for (user, balance) in balances {
        let sum = sums.remove(user).unwrap_or(0);
        if sum != *balance {
            found.push((*user, format!("balance {balance}, ledger {sum}")));
        }
    }
    let mut without_wallet: Vec<_> = sums.into_iter().collect();
    without_wallet.sort_unstable();
    found.extend(without_wallet.iter().map(|(user, sum)| (*user, format!("no wallet, ledger {sum}"))));
    found.into_iter().map(|(user, text)| Difference::of_mysql(kind::LEDGER, user.to_string(), text)).collect()
}

/// Whether a campaign's units are not those left plus those that users have.
fn coupon_difference(row: &rows::CouponRow) -> Option<Difference> {
    let rows::CouponRow { coupon_id, quantity, remaining, issues, home, moved, .. } = *row;
    let put_in = moved + if home { quantity } else { 0 };
    let text = || format!("{put_in} units, but {remaining} remain and users have {issues}");
    (put_in != remaining + issues).then(|| Difference::of_mysql(kind::COUPON, coupon_id.to_string(), text()))
}

/// Whether an issue and its order do not agree: one that is used names an order of its user that was paid with
/// it, one that is held such an order that is pending, and one that is issued none. A refund does not give back what is
/// forgotten.
fn issue_difference(row: &rows::IssueRow) -> Option<Difference> {
    let own = row.order_user == Some(row.user_id) && row.order_coupon == Some(row.coupon_id);
    let agrees = match (row.state.as_str(), row.order_id, row.order_status.as_deref()) {
        ("issued", None, _) => true,
        ("used", Some(_), Some("paid")) | ("held", Some(_), Some("pending")) => own,
        ("used", Some(_), Some("refunded")) => own && row.live == Some(0),
        _ => false,
    };
    let id = || format!("{}:{}", row.coupon_id, row.user_id);
    if row.live.is_none() {
        return Some(Difference::of_mysql(kind::COUPON_ISSUE, id(), "of no campaign".to_owned()));
    }
    (!agrees).then(|| {
        let number = |it: Option<u64>| it.map_or("none".to_owned(), |it| it.to_string());
        let (user, coupon) = (number(row.order_user), number(row.order_coupon));
        let order = match &row.order_status {
            Some(status) => format!("which is {status}, of user {user}, with coupon {coupon}"),
            None => "which is not there".to_owned(),
        };
        let text = match row.order_id {
            Some(id) => format!("{} by order {id}, {order}", row.state),
            None => format!("{}, without an order", row.state),
        };
        Difference::of_mysql(kind::COUPON_ISSUE, id(), text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(found: impl IntoIterator<Item = Difference>) -> Vec<(String, String)> {
        found.into_iter().map(|it| (it.id, it.mysql)).collect()
    }

    #[test]
    fn every_balance_is_the_sum_of_its_ledger_entries() {
        let found = ledger_differences(&[(1, 5), (2, 0), (3, 1)], &[(1, 5), (3, 2), (4, 0)]);
        let found = told(found);
        let found: Vec<_> = found.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
        assert_eq!(found, [("3", "balance 1, ledger 2"), ("4", "no wallet, ledger 0")]);
    }

    #[test]
    fn every_unit_of_a_campaign_is_left_or_with_a_user() {
        let row = rows::CouponRow {
            coupon_id: 7,
            quantity: 10,
            remaining: 8,
            forgotten: false,
            home: true,
            moved: 0,
            issues: 2,
        };
        assert_eq!(coupon_difference(&row), None);
        let copy = rows::CouponRow { home: false, moved: 4, remaining: 2, ..row };
        assert_eq!(coupon_difference(&copy), None);
        assert_eq!(coupon_difference(&rows::CouponRow { moved: -4, remaining: 4, ..row }), None);
        for wrong in [
            rows::CouponRow { remaining: 9, ..row },
            rows::CouponRow { issues: 3, ..row },
            rows::CouponRow { moved: 1, ..row },
            rows::CouponRow { home: false, ..row },
            rows::CouponRow { forgotten: true, quantity: 9, ..row },
        ] {
            assert_eq!(
                coupon_difference(&wrong).map(|it| (it.kind, it.id)),
                Some((kind::COUPON, "7".to_owned()))
            );
        }
    }

    #[test]
    fn an_issue_names_the_order_that_has_it() {
        let issued = rows::IssueRow {
            coupon_id: 7,
            user_id: 3,
            state: "issued".to_owned(),
            order_id: None,
            live: Some(1),
            order_user: None,
            order_coupon: None,
            order_status: None,
        };
        let with = |state: &str, status: &str| rows::IssueRow {
            state: state.to_owned(),
            order_id: Some(1_024),
            order_user: Some(3),
            order_coupon: Some(7),
            order_status: Some(status.to_owned()),
            ..issued.clone()
        };
        for right in [issued.clone(), with("used", "paid"), with("held", "pending")] {
            assert_eq!(issue_difference(&right), None, "{right:?}");
            let earlier_life = rows::IssueRow { live: Some(0), ..right };
            assert_eq!(issue_difference(&earlier_life), None, "{earlier_life:?}");
        }
        let forgotten = rows::IssueRow { live: Some(0), ..with("used", "refunded") };
        assert_eq!(issue_difference(&forgotten), None);
        let used = with("used", "paid");
        let wrong = [
            (with("used", "pending"), "used by order 1024, which is pending, of user 3, with coupon 7"),
            (with("used", "refunded"), "used by order 1024, which is refunded, of user 3, with coupon 7"),
            (with("held", "paid"), "held by order 1024, which is paid, of user 3, with coupon 7"),
            (with("issued", "paid"), "issued by order 1024, which is paid, of user 3, with coupon 7"),
            (with("lost", "paid"), "lost by order 1024, which is paid, of user 3, with coupon 7"),
            (
                rows::IssueRow { order_user: Some(4), ..used.clone() },
                "used by order 1024, which is paid, of user 4, with coupon 7",
            ),
            (
                rows::IssueRow { order_coupon: None, ..used.clone() },
                "used by order 1024, which is paid, of user 3, with coupon none",
            ),
            (rows::IssueRow { order_status: None, ..used.clone() }, "used by order 1024, which is not there"),
            (rows::IssueRow { state: "held".to_owned(), ..issued.clone() }, "held, without an order"),
            (rows::IssueRow { live: None, ..issued.clone() }, "of no campaign"),
        ];
        for (row, text) in wrong {
            assert_eq!(told(issue_difference(&row)), [("7:3".to_owned(), text.to_owned())], "{row:?}");
        }
    }
}
