//! What `firstcome dev` has on sale at its first start.

use anyhow::bail;

use crate::across::desk::Desk;
use crate::across::{catalogue, lists};
use crate::app::Connections;
use crate::coupon::{CouponDescription, Discount};
use crate::ids::{CouponId, OptionId, ProductId, UserId};
use crate::money::Amount;
use crate::scripts::balance_charge::{BalanceCharge, ChargeRequest, balance_charge};
use crate::scripts::clock_read::clock_read;
use crate::scripts::product_list::Which;
use crate::scripts::product_set::{ProductDescription, ProductSet, SkuDescription};
use crate::scripts::user_create::{UserCreate, user_create};
use crate::watermark::Watermark;

/// Name, price in KRW, units, most per user, options (name, price, units).
type Offer = (&'static str, Amount, i64, Option<u32>, &'static [(&'static str, Amount, i64)]);

const OFFERS: [Offer; 6] = [
    ("Wireless earbuds", 39_000, 1_000, None, &[]),
    (
        "Limited sneakers",
        129_000,
        0,
        Some(1),
        &[("250 mm", 129_000, 50), ("260 mm", 129_000, 50), ("270 mm", 129_000, 50)],
    ),
    ("Hand drip coffee set", 25_000, 300, None, &[]),
    ("Concert ticket", 99_000, 100, Some(2), &[]),
    ("Cotton tote bag", 9_900, 5_000, None, &[]),
    ("Design lamp", 49_000, 200, Some(1), &[]),
];

/// The one whose sale begins later: there is a countdown to look at.
const LATER: &str = "Design lamp";
const LATER_MS: i64 = 2 * 60 * 1_000;

/// Name, discount, least total of an order, units.
type Campaign = (&'static str, Discount, Option<Amount>, i64);

const CAMPAIGNS: [Campaign; 2] = [
    ("Opening: 5,000 off", Discount::Fixed(5_000), Some(20_000), 1_000),
    ("First 100: 20 % off", Discount::Percent { value: 20, max_amount: Some(30_000) }, None, 100),
];

/// How long the campaigns run from the first start on.
const CAMPAIGN_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// Users 1 to this number have money.
const USERS: u64 = 100;
const BALANCE: Amount = 1_000_000;

/// Opens the campaigns, lists the products and fills the wallets, unless something is listed already.
pub async fn offer(connections: &Connections, watermark: Watermark) -> anyhow::Result<()> {
    let Connections { scripts, settings, .. } = connections;
    if !lists::products(scripts, Which::Behind { after: 0, limit: 1 }).await?.products.is_empty() {
        return Ok(());
    }
    // The products come last: where they are, everything before them is there too.
    for user in 1..=USERS {
        let user = UserId::new(user)?;
        let (UserCreate::Created { .. } | UserCreate::Exists { balance: 0 }) =
            user_create(scripts, user).await?
        else {
            continue;
        };
        let charge = ChargeRequest {
            user,
            amount: BALANCE,
            wallet_limit: settings.wallet_limit,
            create: false,
            idempotency: None,
            idempotency_ttl_ms: settings.idempotency_ttl_ms,
        };
        match balance_charge(scripts, charge).await? {
            BalanceCharge::Charged { .. } => {}
            refused @ (BalanceCharge::KeyReused
            | BalanceCharge::UserNotFound
            | BalanceCharge::LimitExceeded { .. }) => bail!("user {user} cannot be charged: {refused:?}"),
        }
    }
    let now_ms = clock_read(scripts, scripts.cells().first()).await?;
    let desk = Desk::new(scripts.clone(), watermark.clone());
    for (index, (name, discount, min_order_amount, quantity)) in CAMPAIGNS.into_iter().enumerate() {
        let campaign = CouponDescription {
            id: CouponId::new(index as u64 + 1)?,
            name: name.to_owned(),
            discount,
            min_order_amount,
            quantity,
            starts_at_ms: now_ms,
            ends_at_ms: now_ms + CAMPAIGN_MS,
            expires_at_ms: now_ms + CAMPAIGN_MS,
        };
        catalogue::set_coupon(scripts, &watermark, &desk, &campaign).await?;
    }
    for (index, (name, price, stock, limit_per_user, options)) in OFFERS.into_iter().enumerate() {
        let sku = |option: u64, name: &str, price, stock| {
            Ok::<_, anyhow::Error>(SkuDescription {
                option: OptionId::new(option)?,
                name: name.to_owned(),
                price,
                stock: Some(stock),
            })
        };
        let skus = if options.is_empty() {
            vec![sku(0, "", price, stock)?]
        } else {
            (1..)
                .zip(options)
                .map(|(id, (name, price, stock))| sku(id, name, *price, *stock))
                .collect::<Result<_, _>>()?
        };
        let description = ProductDescription {
            id: ProductId::new(index as u64 + 1)?,
            name: name.to_owned(),
            starts_at_ms: (name == LATER).then_some(now_ms + LATER_MS),
            ends_at_ms: None,
            limit_per_user,
            skus,
        };
        match catalogue::set_product(scripts, &watermark, &description).await? {
            ProductSet::Created(_) | ProductSet::Updated(_) | ProductSet::Known | ProductSet::OtherLife => {}
            refused @ (ProductSet::StockDiffers { .. } | ProductSet::TooManyOptions) => {
                bail!("product {} exists and cannot be set: {refused:?}", description.id)
            }
        }
    }
    Ok(())
}
