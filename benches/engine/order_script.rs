//! The order script on a Redis of its own, called by `redis-benchmark`.

use std::process::Stdio;

use anyhow::{Context, bail};
use firstcome::cell::{CellId, Cells, Fence};
use firstcome::dev::PrivateRedis;
use firstcome::ids::{OptionId, ProductId, UserId};
use firstcome::product::SkuId;
use firstcome::scripts::{Script, keys, loaded_text};
use redis::aio::MultiplexedConnection;
use tokio::process::Command;

use crate::process::cpu_us;
use crate::traffic::{FIRST_PRODUCT, PRICE};

pub const CELL: CellId = CellId(0);

/// Users of the script's Redis. `redis-benchmark` writes its random numbers in twelve digits; others do not.
pub const USERS: u64 = 100_000;

/// What `redis-benchmark` puts a random number for.
const RANDOM: &str = "__rand_int__";

/// As good as no bound for the event log.
const STREAM_BOUND: u64 = 100_000_000;

/// A script that does nothing, behind the same prologue and in the same guard as one that appends.
const EMPTY: &str = "#!lua\nif not CELL then redis.call('XADD') end\nreturn {'PAID', '', 0, 0}\n";

/// Which script is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    Order,
    OrderWithKey,
    Claim,
    Empty,
}

/// What one measurement came to.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub per_second: f64,
    /// Redis's processor time for each call.
    pub redis_us: f64,
}

pub struct ScriptServer {
    redis: PrivateRedis,
    connection: MultiplexedConnection,
    digests: [String; 3],
}

impl ScriptServer {
    /// Fills an empty Redis with one open cell: users, one product, one campaign.
    pub async fn new(redis: PrivateRedis) -> anyhow::Result<Self> {
        let client = redis::Client::open(redis.url())?;
        let settings = redis::AsyncConnectionConfig::new()
            .set_response_timeout(Some(std::time::Duration::from_secs(60)));
        let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
        let fence = Fence { epoch: 1, replid: None };
        let mut digests = Vec::new();
        for text in [Script::OrderPlace.text(), Script::CouponIssue.text(), EMPTY] {
            let text = loaded_text(text, CELL, Cells::new(1).expect("a power of two"), &fence, STREAM_BOUND);
            digests.push(redis::cmd("SCRIPT").arg("LOAD").arg(text).query_async(&mut connection).await?);
        }
        let digests: [String; 3] = digests.try_into().expect("three scripts");
        fill(&mut connection).await?;
        Ok(Self { redis, connection, digests })
    }

    pub fn pid(&self) -> u32 {
        self.redis.pid()
    }

    pub fn url(&self) -> String {
        self.redis.url()
    }

    pub fn order_digest(&self) -> &str {
        &self.digests[0]
    }

    /// `appendonly`: yes or no.
    pub async fn set_append_only(&mut self, yes: bool) -> anyhow::Result<()> {
        let value = if yes { "yes" } else { "no" };
        redis::cmd("CONFIG")
            .arg(&["SET", "appendonly", value])
            .query_async::<()>(&mut self.connection)
            .await?;
        // Switched on, the file is written anew by a child first.
        while self.info("persistence", "aof_rewrite_in_progress").await? != "0"
            || self.info("persistence", "aof_rewrite_scheduled").await? != "0"
        {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn info(&mut self, section: &str, field: &str) -> anyhow::Result<String> {
        let text: String = redis::cmd("INFO").arg(section).query_async(&mut self.connection).await?;
        let line = text.lines().find_map(|it| it.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.unwrap_or("0").trim().to_owned())
    }

    /// Has `redis-benchmark` call a script so often, and checks that each call did its work.
    pub async fn measure(
        &mut self,
        called: Called,
        connections: usize,
        pipeline: usize,
        calls: u64,
    ) -> anyhow::Result<Cost> {
        // Claims of the campaign and what earlier calls left.
        let gone = [keys::events(CELL), "{c0}:coupon:1:issues".to_owned()];
        redis::cmd("UNLINK").arg(&gone).query_async::<()>(&mut self.connection).await?;
        let opener: &[&str] = &["XADD", "{c0}:events", "1-1", "opener:1", "1 0-0"];
        redis::cmd(opener[0]).arg(&opener[1..]).query_async::<()>(&mut self.connection).await?;

        let before = cpu_us(self.redis.pid());
        let output = Command::new("redis-benchmark")
            .args(["-p", &port_of(&self.redis.url())?, "-c", &connections.to_string()])
            .args(["-P", &pipeline.to_string(), "-n", &calls.to_string(), "-r", &USERS.to_string(), "--csv"])
            .arg("EVALSHA")
            .args(self.arguments(called))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("redis-benchmark (it comes with Debian's redis-tools)")?;
        let used = cpu_us(self.redis.pid()) - before;
        let text = String::from_utf8_lossy(&output.stdout);
        // "EVALSHA …","72992.70","0.684",…: the command may hold commas and quotes.
        let row = text.lines().last().and_then(|it| it.split_once("\",\""));
        let row = row.and_then(|it| it.1.split('"').next()?.parse::<f64>().ok());
        let Some(per_second) = row else {
            bail!("redis-benchmark says {text}{}", String::from_utf8_lossy(&output.stderr))
        };
        let appended: u64 =
            redis::cmd("XLEN").arg(keys::events(CELL)).query_async(&mut self.connection).await?;
        let least = match called {
            Called::Empty => 0,
            Called::Order => calls,
            // A few random numbers come twice: the same claim or key again.
            Called::OrderWithKey | Called::Claim => calls * 99 / 100,
        };
        anyhow::ensure!(appended >= least, "{called:?}: {calls} calls made only {appended} events");
        Ok(Cost { per_second, redis_us: used / calls as f64 })
    }

    fn arguments(&self, called: Called) -> Vec<String> {
        let [order, claim, empty] = &self.digests;
        let (fingerprint, key) = match called {
            Called::OrderWithKey => ("00112233445566778899aabbccddeeff", RANDOM),
            Called::Order | Called::Claim | Called::Empty => ("", ""),
        };
        let idem = match called {
            Called::OrderWithKey => format!("{{c0}}:idem:1:{}", RANDOM.repeat(2)),
            Called::Order | Called::Claim | Called::Empty => keys::no_idempotency(CELL),
        };
        let user = format!("{{c0}}:user:{RANDOM}");
        let sku = sku_key(FIRST_PRODUCT);
        let product = FIRST_PRODUCT.to_string();
        let order_arguments = |digest: &String| {
            let mut all = vec![digest.clone(), "9".to_owned(), keys::gate(CELL), keys::events(CELL)];
            all.extend([
                user.clone(),
                idem.clone(),
                "{c0}:coupon".to_owned(),
                "{c0}:coupon:issues".to_owned(),
            ]);
            all.extend([keys::rolling_sales(CELL), keys::due(CELL), sku.clone()]);
            let rest = [RANDOM, fingerprint, key, "86400000", "0", "0", &product, "0", "1"];
            all.extend(rest.map(str::to_owned));
            all
        };
        match called {
            Called::Order | Called::OrderWithKey => order_arguments(order),
            Called::Empty => order_arguments(empty),
            Called::Claim => {
                let mut all = vec![claim.clone(), "6".to_owned(), keys::gate(CELL), keys::events(CELL)];
                all.extend([user, "{c0}:coupon:1".to_owned(), "{c0}:coupon:1:issues".to_owned(), idem]);
                // Another user's each time: as many as there are wallets would soon have claimed all.
                all.extend(["1".to_owned(), RANDOM.repeat(2)]);
                all.extend(["", "", "", "86400000"].map(str::to_owned));
                all
            }
        }
    }
}

fn sku_key(product: u64) -> String {
    let product = ProductId::new(product).expect("an id");
    keys::sku(CELL, SkuId { product, option: OptionId::NONE })
}

fn port_of(url: &str) -> anyhow::Result<String> {
    let port = url.trim_end_matches('/').rsplit_once(':').map(|it| it.1);
    port.map(str::to_owned).with_context(|| format!("no port in {url}"))
}

async fn fill(connection: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(keys::gate(CELL)).arg(1).ignore();
    pipeline.cmd("HSET").arg(sku_key(FIRST_PRODUCT)).arg(&["name", ""]).arg("price").arg(PRICE).ignore();
    let far = "9999999999999";
    let units = ["remaining", "1000000000", "initial", "1000000000", "starts_at_ms", "1", "ends_at_ms", far];
    pipeline.cmd("HSET").arg(sku_key(FIRST_PRODUCT)).arg(&units).ignore();
    let campaign = [
        "name",
        "c",
        "kind",
        "fixed",
        "value",
        "10",
        "quantity",
        "1000000000",
        "remaining",
        "1000000000",
        "starts_at_ms",
        "1",
        "ends_at_ms",
        far,
        "expires_at_ms",
        far,
    ];
    pipeline.cmd("HSET").arg("{c0}:coupon:1").arg(&campaign).ignore();
    pipeline.query_async::<()>(connection).await?;
    for chunk in (0..=USERS).collect::<Vec<_>>().chunks(10_000) {
        let mut pipeline = redis::pipe();
        for &user in chunk {
            pipeline.cmd("HSET").arg(format!("{{c0}}:user:{user:012}")).arg(&["balance", far]).ignore();
            if let Ok(user) = UserId::new(user) {
                pipeline.cmd("HSET").arg(keys::user(CELL, user)).arg(&["balance", far]).ignore();
            }
        }
        pipeline.query_async::<()>(connection).await?;
    }
    Ok(())
}
