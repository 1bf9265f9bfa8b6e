//! Fills a catalogue, users and balances of a given size, for load tests and demonstrations.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::config::Settings;
use crate::idempotency::{Fingerprint, Idempotency, IdempotencyKey, Seen};
use crate::ids::{ID_MAX, OptionId, ProductId, UserId};
use crate::money::{Amount, PRICE_MAX, STOCK_MAX};
use crate::scripts::balance_charge::{BalanceCharge, ChargeRequest, balance_charge};
use crate::scripts::product_list::{Which, product_list};
use crate::scripts::product_set::{ProductDescription, ProductSet, SkuDescription, product_set};
use crate::scripts::user_create::{UserCreate, user_create};
use crate::scripts::{ScriptError, Scripts};

/// Calls on their way at once, over one connection.
const IN_FLIGHT: usize = 512;

/// How long one call is tried again while the backlog is full or the cell is being recovered.
const PATIENCE: Duration = Duration::from_secs(120);

/// The idempotency key of each user's first charge.
const KEY: &str = "seed";

/// What to make: products 1 to `products`, each with one SKU, and users 1 to `users`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct SeedPlan {
    /// Products, each sold without options
    #[arg(long, default_value_t = 100)]
    pub products: u64,
    /// Users with a wallet
    #[arg(long, default_value_t = 10_000)]
    pub users: u64,
    /// Charged into each wallet, in minor units; 0 makes empty wallets
    #[arg(long, default_value_t = 1_000_000)]
    pub balance: Amount,
    /// Units of each product
    #[arg(long, default_value_t = 1_000)]
    pub stock: i64,
    /// Price of one unit, in minor units
    #[arg(long, default_value_t = 1_000)]
    pub price: Amount,
}

/// What was made, and what was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seeded {
    pub products_created: u64,
    pub products_updated: u64,
    pub users_made: u64,
    /// Made by an earlier run of the same plan.
    pub users_found: u64,
}

/// Seeding stopped. What was made stays; running the same plan again goes on.
/// Products looked at with one call.
const LISTED_AT_ONCE: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error("seed plan: {field} is {value}; allowed: {min} to {max}")]
    WrongPlan { field: &'static str, value: i64, min: i64, max: i64 },
    /// Nothing was changed.
    #[error("product {id} is listed as {name:?}, which no seed has made: seed an empty catalogue")]
    ForeignProduct { id: ProductId, name: String },
    #[error("product {0} exists with another initial stock")]
    StockDiffers(ProductId),
    #[error("user {0} was seeded with another balance before")]
    OtherBalance(UserId),
    #[error("user {user} holds {balance} already: the charge would go over the limit of a wallet")]
    WalletLimit { user: UserId, balance: Amount },
    #[error(transparent)]
    Script(#[from] ScriptError),
}

impl SeedPlan {
    /// Checks every number before anything is made.
    fn check(&self, settings: &Settings) -> Result<(), SeedError> {
        let Self { products, users, balance, stock, price } = *self;
        let count = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        let rules = [
            ("products", count(products), ID_MAX as i64),
            ("users", count(users), ID_MAX as i64),
            ("balance", balance, settings.charge_limit.min(settings.wallet_limit)),
            ("stock", stock, STOCK_MAX),
            ("price", price, PRICE_MAX),
        ];
        match rules.into_iter().find(|(_, value, max)| !(0..=*max).contains(value)) {
            Some((field, value, max)) => Err(SeedError::WrongPlan { field, value, min: 0, max }),
            None => Ok(()),
        }
    }
}

/// What seeding tells while it runs.
pub trait SeedProgress: Send + Sync {
    fn begin(&self, _plan: &SeedPlan) {}
    fn product_done(&self) {}
    fn user_done(&self) {}
}

/// Nobody watches.
pub struct Silent;

impl SeedProgress for Silent {}

/// Two bars on standard error; nothing where that is no terminal.
pub struct Bars {
    products: ProgressBar,
    users: ProgressBar,
}

impl Bars {
    #[expect(clippy::new_without_default, reason = "it draws on a terminal")]
    pub fn new() -> Self {
        let style =
            ProgressStyle::with_template("{prefix:8} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}")
                .expect("a constant template");
        let bars = MultiProgress::new();
        let bar = |prefix: &'static str| {
            bars.add(ProgressBar::no_length()).with_style(style.clone()).with_prefix(prefix)
        };
        Self { products: bar("products"), users: bar("users") }
    }
}

impl SeedProgress for Bars {
    fn begin(&self, plan: &SeedPlan) {
        self.products.set_length(plan.products);
        self.users.set_length(plan.users);
    }

    fn product_done(&self) {
        self.products.inc(1);
    }

    fn user_done(&self) {
        self.users.inc(1);
    }
}

/// Makes what the plan says, through the same scripts as the API, with many calls on their way at once.
///
/// Run again with the same plan, or after it was killed, it makes only what is missing: a product with
/// the same stock is only described anew (units sold since stay sold), and a user's charge carries the
/// idempotency key `seed`, so nobody is charged twice. That lasts as long as
/// the engine keeps keys (`idempotency_ttl_ms`, 24 hours by default): a later run charges everybody
/// once more. With balance 0 a run never changes a user who exists.
///
/// # Errors
/// A plan out of bounds before anything is made; another plan's product or charge when it is met; a
/// cell that stays closed or a backlog that stays full.
pub async fn seed(
    scripts: &Scripts,
    settings: &Settings,
    plan: SeedPlan,
    progress: &dyn SeedProgress,
) -> Result<Seeded, SeedError> {
    plan.check(settings)?;
    spare_others(scripts, plan).await?;
    progress.begin(&plan);
    let mut seeded = Seeded::default();
    let mut products =
        stream::iter(1..=plan.products).map(|id| seed_product(scripts, plan, id)).buffer_unordered(IN_FLIGHT);
    while let Some(created) = products.try_next().await? {
        progress.product_done();
        *(if created { &mut seeded.products_created } else { &mut seeded.products_updated }) += 1;
    }
    let idempotency = Idempotency {
        key: IdempotencyKey::new(KEY).expect("printable"),
        fingerprint: Fingerprint::of("SEED", "/users", plan.balance.to_string().as_bytes()),
    };
    let mut users = stream::iter(1..=plan.users)
        .map(|id| seed_user(scripts, settings, plan, &idempotency, id))
        .buffer_unordered(IN_FLIGHT);
    while let Some(made) = users.try_next().await? {
        progress.user_done();
        *(if made { &mut seeded.users_made } else { &mut seeded.users_found }) += 1;
    }
    Ok(seeded)
}

fn product_name(id: ProductId) -> String {
    format!("Product {id}")
}

/// Refuses to describe anew what somebody else has listed under the plan's ids.
async fn spare_others(scripts: &Scripts, plan: SeedPlan) -> Result<(), SeedError> {
    let mut after = 0;
    loop {
        let which = Which::Behind { after, limit: LISTED_AT_ONCE };
        let page = product_list(scripts, scripts.cells().first(), which).await?.products;
        let mut listed = page.iter().take_while(|it| it.id.get() <= plan.products);
        if let Some(other) = listed.find(|it| it.name != product_name(it.id)) {
            return Err(SeedError::ForeignProduct { id: other.id, name: other.name.clone() });
        }
        match page.last().filter(|it| it.id.get() < plan.products) {
            Some(last) => after = last.id.get(),
            None => return Ok(()),
        }
    }
}

/// True: the product is new.
async fn seed_product(scripts: &Scripts, plan: SeedPlan, id: u64) -> Result<bool, SeedError> {
    let id = ProductId::new(id).expect("checked with the plan");
    let name = product_name(id);
    let sku = SkuDescription {
        option: OptionId::NONE,
        name: name.clone(),
        price: plan.price,
        stock: Some(plan.stock),
    };
    let description = ProductDescription {
        id,
        name,
        starts_at_ms: None,
        ends_at_ms: None,
        limit_per_user: None,
        skus: vec![sku],
    };
    match patiently(|| product_set(scripts, scripts.cells().home(id), &description, None)).await? {
        // One SKU leaves at most a few out.
        ProductSet::StockDiffers { .. } | ProductSet::TooManyOptions => Err(SeedError::StockDiffers(id)),
        ProductSet::Created(_) => Ok(true),
        // The other two are of copies, which a worker makes.
        ProductSet::Updated(_) | ProductSet::Known | ProductSet::OtherLife => Ok(false),
    }
}

/// True: the wallet was made or charged now.
async fn seed_user(
    scripts: &Scripts,
    settings: &Settings,
    plan: SeedPlan,
    idempotency: &Idempotency,
    id: u64,
) -> Result<bool, SeedError> {
    let user = UserId::new(id).expect("checked with the plan");
    if plan.balance == 0 {
        return match patiently(|| user_create(scripts, user)).await? {
            UserCreate::Created { .. } => Ok(true),
            UserCreate::Exists { .. } => Ok(false),
        };
    }
    let request = ChargeRequest {
        user,
        amount: plan.balance,
        wallet_limit: settings.wallet_limit,
        create: true,
        idempotency: Some(idempotency),
        idempotency_ttl_ms: settings.idempotency_ttl_ms,
    };
    match patiently(|| balance_charge(scripts, request.clone())).await? {
        BalanceCharge::KeyReused => Err(SeedError::OtherBalance(user)),
        BalanceCharge::UserNotFound => unreachable!("the charge creates the wallet"),
        BalanceCharge::LimitExceeded { balance } => Err(SeedError::WalletLimit { user, balance }),
        BalanceCharge::Charged { seen: Seen::New, .. } => Ok(true),
        BalanceCharge::Charged { seen: Seen::Replayed, .. } => Ok(false),
    }
}

/// Tries again what was refused for now, or may have run: every call here is safe to repeat.
async fn patiently<T, F: Future<Output = Result<T, ScriptError>>>(
    call: impl FnMut() -> F,
) -> Result<T, ScriptError> {
    let pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(1))
        .with_jitter()
        .without_max_times()
        .with_total_delay(Some(PATIENCE));
    call.retry(pauses).when(may_pass).await
}

fn may_pass(error: &ScriptError) -> bool {
    match error {
        ScriptError::CellClosed(_)
        | ScriptError::BacklogFull(_)
        | ScriptError::Refused(_)
        | ScriptError::Unknown(_) => true,
        ScriptError::Failed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_out_of_bounds_names_what_is_allowed() {
        let good = SeedPlan { products: 10, users: 100, balance: 1_000_000_000, stock: 0, price: 0 };
        let settings = Settings::default();
        good.check(&settings).unwrap();
        for (plan, text) in [
            (SeedPlan { balance: 1_000_000_001, ..good }, "balance is 1000000001; allowed: 0 to 1000000000"),
            (SeedPlan { stock: -1, ..good }, "stock is -1; allowed: 0 to 1000000000"),
            (SeedPlan { price: PRICE_MAX + 1, ..good }, "price is 1000000001; allowed: 0 to 1000000000"),
            (
                SeedPlan { users: ID_MAX + 1, ..good },
                "users is 9007199254740992; allowed: 0 to 9007199254740991",
            ),
        ] {
            assert_eq!(plan.check(&settings).unwrap_err().to_string(), format!("seed plan: {text}"));
        }
    }
}
