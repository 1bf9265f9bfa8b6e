//! Settings: defaults < `firstcome.toml` < `FIRSTCOME_*` in the environment < flags.
//!
//! A wrong value stops the start with the key, the value and what is allowed.

mod address;
mod allowed;
mod authorities;
mod cluster_url;
mod list;
mod mysql_url;
mod otlp;
mod secret;
mod sentinel_url;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::allowed::{RANGES, allowed, keys};
use self::mysql_url::unknown_parameter;
use crate::cell::Cells;
use crate::money::Amount;

pub use address::Address;
pub use authorities::Authorities;
pub use cluster_url::ClusterUrl;
pub use list::{List, Network, Origin};
pub use otlp::{OtlpEndpoint, Share};
pub use secret::{Passphrase, Secret};
pub use sentinel_url::SentinelUrl;

/// All settings. Each is also read from `FIRSTCOME_<NAME>`; only `app` hands them out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Address the API listens on. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Address of a listener of its own for `/metrics` and `/healthz`, of every role; `/metrics` is not at `listen` then.
    /// Default: none, and a worker that answers no calls tells no metrics.
    #[serde(deserialize_with = "address_or_nothing")]
    pub metrics_listen: Option<SocketAddr>,
    /// Who may call: `none` (everybody; loopback only unless `--allow-insecure`) or `jwt` (who has a token).
    pub auth: Auth,
    /// What signs tokens by HS256: at least 32 bytes. Either this or `jwt_keys`, and only with `jwt`.
    pub jwt_secret: Passphrase,
    /// File of the public keys that tokens are checked with: PEM or JWKS. Read at the start only.
    pub jwt_keys: PathBuf,
    /// What a token's `aud` must name.
    pub jwt_audience: String,
    /// What a token's `iss` must be.
    pub jwt_issuer: String,
    /// Whether users may charge their own wallets and refund their own orders. Default false: administrators only.
    pub self_service: bool,
    /// What `type` of a problem is prefixed with, such as `https://shop.example`. Default: nothing.
    pub public_url: String,

    /// `redis://[user:password@]host:port/[db]`, or `rediss://` for TLS, with the server's certificate verified. Or
    /// `redis+sentinel://[user:password@]host:port,host:port/name[/db]` (`rediss+sentinel://`): Sentinels, and the name
    /// under which they know the primary; `?sentinel_user=…&sentinel_password=…` are for them. Or several `redis://` (or
    /// `rediss://`) with commas between them: nodes of a Redis Cluster.
    pub redis_url: Secret,
    /// `mysql://user[:password]@host:port/database`; the database must exist. `?ssl-mode=VERIFY_IDENTITY` for TLS with
    /// the server's certificate verified.
    pub mysql_url: Secret,
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS, with the server's certificate verified.
    pub amqp_url: Secret,
    /// PEM file of the authorities that signed the certificates of these three servers, and of a collector. Default: none,
    /// and the public authorities in the binary count. Read at the start only.
    pub tls_ca_file: Authorities,
    /// Number of cells, a power of two: fixed when the database is created.
    pub cells: u16,

    /// Longest wait for one Redis reply, in milliseconds, before the caller gets 503.
    ///
    /// Default 2,000; allowed 10 to 60,000. A time-out does not tell whether the script ran.
    pub redis_reply_timeout_ms: u64,
    /// Connections to MySQL. Default 16; allowed 4 to 1,000.
    pub mysql_connections: u32,
    /// Topic exchange for paid orders. Default `firstcome`.
    pub amqp_exchange: String,
    /// Quorum queue of the data platform, bound to `order.*`. Default `firstcome.data-platform`.
    pub amqp_queue: String,

    /// Most of one charge, in minor units. Default 1,000,000,000.
    pub charge_limit: Amount,
    /// Most a charge may leave in a wallet, in minor units. Default 10,000,000,000.
    pub wallet_limit: Amount,
    /// How long an idempotency key is kept, in milliseconds. Default 24 hours; allowed 1 s to 30 days.
    /// Memory in Redis: rate × time × about 110 bytes.
    pub idempotency_ttl_ms: u64,

    /// How long a node says by itself that a SKU or coupon is sold out, in milliseconds since it asked. Default 100;
    /// allowed 0 to 1,000, 0: it always asks. After a restock through another node, buyers may be sent away for so long.
    pub sold_out_memory_ms: u64,
    /// How long a list of products or campaigns, or a ranking, may serve others who ask for the same, in milliseconds since
    /// its reading began. Default 100; allowed 0 to 100, 0: each is read anew.
    pub list_staleness_ms: u64,
    /// How long an order that is placed for later payment can be paid, in milliseconds. Default 10 minutes; allowed
    /// 1 s to 24 hours, and less than `keep_ended_ms`.
    pub payment_window_ms: u64,
    /// How long a sale or campaign that is over stays in Redis since its end, or since it was last set if that is
    /// later, in milliseconds. Default 7 days; allowed 1 minute to 1 year. Then its product is no longer listed, as if deleted; MySQL keeps everything.
    pub keep_ended_ms: u64,

    /// Persisted events that stay in Redis, for a MySQL failover that lost its tail. Default 100,000;
    /// at least 1, since the newest entry says where the log stands. The same on all nodes.
    pub keep_events: u64,
    /// Events that may wait for MySQL before new writes get 503. Default 1,000,000.
    /// The same on all nodes.
    pub backlog_bound: u64,
    /// Bytes that the event log of a cell may take in Redis, what is kept included, before new writes get 503. Default
    /// 1 GiB; at least 1 MiB.
    pub backlog_bound_bytes: u64,
    /// Share of Redis's `maxmemory` in percent, beyond which new writes get 503. Default 90; allowed 10 to 100.
    pub memory_bound_percent: u8,
    /// Most events in one MySQL transaction. Default 2,048; allowed 1 to 10,000.
    pub persist_batch_events: usize,
    /// Messages on their way to RabbitMQ at once. Default 4,096; allowed 1 to 10,000.
    pub publish_batch_messages: usize,
    /// Longest wait for RabbitMQ's confirms, in milliseconds. Default 10,000; allowed 100 to 600,000.
    pub publish_timeout_ms: u64,

    /// Requests worked on at once; more get 503. Default 4,096; allowed 1 to 1,000,000.
    pub max_in_flight: usize,
    /// Open connections; more wait to be accepted. Default 16,384; allowed 1 to 1,000,000.
    pub max_connections: usize,
    /// Longest time for a request's headers, and between requests, in milliseconds. Default 5,000.
    pub header_timeout_ms: u64,
    /// Longest time for a request's body, in milliseconds. Default 5,000.
    pub body_timeout_ms: u64,
    /// How long `Prefer: wait=persisted` waits, in milliseconds, before it answers 202. Default 2,000; allowed 10 to
    /// 60,000.
    pub persist_wait_ms: u64,
    /// Longest time for which a client may take nothing of its answer, in milliseconds. Default 30,000. Until then
    /// the kernel's send buffer has taken some megabytes.
    pub answer_timeout_ms: u64,
    /// How long requests in flight may take after SIGTERM, in milliseconds. Default 10,000.
    pub drain_timeout_ms: u64,

    /// Requests per second of one user (a token's `sub`; administrators are not counted). Default 50, in `dev` 0;
    /// 0: no limit. Each node counts for itself.
    pub rate_limit_user_per_second: u32,
    /// Requests per second from one address. Default 0: no limit, because behind a proxy all come from one.
    pub rate_limit_address_per_second: u32,
    /// Seconds' worth of either limit that may come at once. Default 2; allowed 1 to 60.
    pub rate_limit_burst_seconds: u32,
    /// Proxies whose `X-Forwarded-For` is believed: addresses and networks. Default: none.
    pub trusted_proxies: List<Network>,
    /// Origins of web pages that may call from a browser. Default: none.
    pub cors_origins: List<Origin>,

    /// Base URL of a collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`; `user:password@` in it is sent
    /// as `Authorization`. Default: none, and nothing is traced.
    pub otlp_endpoint: OtlpEndpoint,
    /// Share of traces that are sent, of those that begin here. Default 0.01; allowed 0 to 1. Of a request with a
    /// `traceparent` the caller decides.
    pub otlp_sample_ratio: Share,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    None,
    Jwt,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            metrics_listen: None,
            auth: Auth::None,
            jwt_secret: Passphrase::default(),
            jwt_keys: PathBuf::new(),
            jwt_audience: String::new(),
            jwt_issuer: String::new(),
            self_service: false,
            public_url: String::new(),
            redis_url: Secret::new("redis://127.0.0.1:6379/"),
            mysql_url: Secret::new("mysql://root@127.0.0.1:3306/firstcome"),
            amqp_url: Secret::new("amqp://guest:guest@127.0.0.1:5672/%2f"),
            tls_ca_file: Authorities::default(),
            cells: 1,
            redis_reply_timeout_ms: 2_000,
            mysql_connections: 16,
            amqp_exchange: "firstcome".to_owned(),
            amqp_queue: "firstcome.data-platform".to_owned(),
            charge_limit: 1_000_000_000,
            wallet_limit: 10_000_000_000,
            idempotency_ttl_ms: 24 * 60 * 60 * 1_000,
            sold_out_memory_ms: 100,
            list_staleness_ms: 100,
            payment_window_ms: 10 * 60 * 1_000,
            keep_ended_ms: 7 * 24 * 60 * 60 * 1_000,
            keep_events: 100_000,
            backlog_bound: 1_000_000,
            backlog_bound_bytes: 1 << 30,
            memory_bound_percent: 90,
            persist_batch_events: 2_048,
            publish_batch_messages: 4_096,
            publish_timeout_ms: 10_000,
            max_in_flight: 2_048,
            max_connections: 16_384,
            header_timeout_ms: 5_000,
            body_timeout_ms: 5_000,
            persist_wait_ms: 2_000,
            answer_timeout_ms: 30_000,
            drain_timeout_ms: 10_000,
            rate_limit_user_per_second: 50,
            rate_limit_address_per_second: 0,
            rate_limit_burst_seconds: 2,
            trusted_proxies: List::default(),
            cors_origins: List::default(),
            otlp_endpoint: OtlpEndpoint::default(),
            otlp_sample_ratio: Share::new(0.01).expect("a share"),
        }
    }
}

/// A setting is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting `{key}`: {value} is not allowed; allowed: {allowed}")]
pub struct WrongSetting {
    pub key: String,
    pub value: String,
    pub allowed: String,
}

impl WrongSetting {
    /// A value of a known key that is not one of those allowed.
    pub fn of(key: &str, value: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.into(), allowed: allowed(key).unwrap_or_default() }
    }
}

/// Beginnings of variables that are for something else: programs of servers, tests.
const NO_SETTINGS: [&str; 11] = [
    "redis_server",
    "mysqld",
    "rabbitmq_server",
    "epmd",
    "compose_",
    "test_",
    "model_",
    "faults_",
    "dead_",
    "sales_",
    "previous",
];

/// Defaults that `firstcome dev` has instead: who develops may send as fast as they like.
pub const DEV_DEFAULTS: &[(&str, &str)] = &[("rate_limit_user_per_second", "0")];

impl Settings {
    /// Reads `file` (it may be missing unless it was named), then the environment, then `flags`
    /// (key and value as text). `defaults` replace those of [`Settings::default`].
    pub fn load(
        file: Option<&Path>,
        defaults: &[(&str, &str)],
        flags: &[(&str, String)],
    ) -> Result<Self, WrongSetting> {
        let in_file = match file {
            Some(path) => config::File::from(path).format(config::FileFormat::Toml).required(true),
            None => config::File::new("firstcome.toml", config::FileFormat::Toml).required(false),
        };
        let file_only =
            config::Config::builder().add_source(in_file.clone()).build().map_err(|error| wrong(&error))?;
        let written: config::Map<String, config::Value> =
            file_only.try_deserialize().map_err(|error| wrong(&error))?;
        if let Some(key) = written.keys().find(|it| allowed(it).is_none()) {
            let known: Vec<&str> = keys().collect();
            return Err(WrongSetting {
                key: key.clone(),
                value: "an unknown key".to_owned(),
                allowed: known.join(", "),
            });
        }
        for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
            let key = name.strip_prefix("FIRSTCOME_").map(str::to_ascii_lowercase);
            let foreign =
                |it: &String| allowed(it).is_none() && !NO_SETTINGS.iter().any(|no| it.starts_with(no));
            if key.is_some_and(|it| foreign(&it)) {
                tracing::warn!("{name} is no setting; firstcome.example.toml has them all");
            }
        }
        // Values stay text until their field's type reads them: digits may be a secret.
        let environment = config::Environment::with_prefix("FIRSTCOME").ignore_empty(true);
        let mut builder = config::Config::builder().add_source(in_file).add_source(environment);
        for (key, value) in defaults {
            builder = builder.set_default(*key, *value).map_err(|error| wrong(&error))?;
        }
        for (key, value) in flags {
            builder = builder.set_override(*key, value.clone()).map_err(|error| wrong(&error))?;
        }
        let settings: Self =
            builder.build().and_then(config::Config::try_deserialize).map_err(|error| wrong(&error))?;
        settings.check()?;
        Ok(settings)
    }

    /// The number of cells; [`Settings::load`] has checked it.
    pub fn cells(&self) -> Cells {
        Cells::new(self.cells).expect("checked when loaded")
    }

    /// Length of the event log at which appending scripts refuse.
    pub fn stream_bound(&self) -> u64 {
        self.keep_events + self.backlog_bound
    }

    /// Refuses values that are not allowed; what [`Settings::load`] gives has been checked.
    pub fn check(&self) -> Result<(), WrongSetting> {
        let refuse = |key: &str, value: String| Err(WrongSetting::of(key, value));
        let values = serde_json::to_value(self).expect("settings are plain values");
        for (key, range) in RANGES {
            let number = values[*key].as_u64();
            if !number.is_some_and(|it| range.contains(&it)) {
                return refuse(key, values[*key].to_string());
            }
        }
        if Cells::new(self.cells).is_none() {
            return refuse("cells", self.cells.to_string());
        }
        // A campaign must outlive the orders that hold its coupons.
        if self.payment_window_ms >= self.keep_ended_ms {
            let allowed = format!("less than keep_ended_ms ({})", self.keep_ended_ms);
            let (key, value) = ("payment_window_ms".to_owned(), self.payment_window_ms.to_string());
            return Err(WrongSetting { key, value, allowed });
        }
        let schemes: [(&str, &Secret, &[&str]); 3] = [
            (
                "redis_url",
                &self.redis_url,
                &["redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://"],
            ),
            ("mysql_url", &self.mysql_url, &["mysql://", "mariadb://"]),
            ("amqp_url", &self.amqp_url, &["amqp://", "amqps://"]),
        ];
        for (key, url, schemes) in schemes {
            if !schemes.iter().any(|it| url.expose().starts_with(it)) {
                return refuse(key, url.to_string());
            }
        }
        // It would have the certificate go unverified.
        if self.redis_url.expose().contains('#') {
            return refuse("redis_url", format!("{}: a fragment", self.redis_url));
        }
        if let Some(Err(why)) = SentinelUrl::parse(self.redis_url.expose()) {
            return refuse("redis_url", format!("{}: {why}", self.redis_url));
        }
        if let Some(Err(why)) = ClusterUrl::parse(self.redis_url.expose()) {
            return refuse("redis_url", format!("{}: {why}", self.redis_url));
        }
        // The library passes over what it does not know, and so over a wish for TLS in other words.
        if let Some(parameter) = unknown_parameter(&self.mysql_url) {
            return refuse("mysql_url", format!("{}: the parameter {parameter:?}", self.mysql_url));
        }
        for (key, name) in [("amqp_exchange", &self.amqp_exchange), ("amqp_queue", &self.amqp_queue)] {
            if !(1..=255).contains(&name.len()) {
                return refuse(key, format!("{name:?}"));
            }
        }
        Ok(())
    }
}

/// An empty text is no address.
fn address_or_nothing<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| serde::de::Error::invalid_value(serde::de::Unexpected::Str(&text), &"an address"))
}

/// Turns the library's error into ours: it knows the key of a wrong type, and of a syntax error the line.
fn wrong(error: &config::ConfigError) -> WrongSetting {
    let key = match error {
        config::ConfigError::Type { key: Some(key), .. } | config::ConfigError::At { key: Some(key), .. } => {
            key.clone()
        }
        _ => String::new(),
    };
    let value = match error {
        config::ConfigError::Type { unexpected, .. } => unexpected.to_string(),
        // Its first line says where; the next ones quote the file, and it may hold secrets.
        config::ConfigError::FileParse { cause, .. } => {
            cause.to_string().lines().next().unwrap_or_default().to_owned()
        }
        other => other.to_string(),
    };
    let allowed = allowed(&key).unwrap_or_else(|| "a readable TOML file".to_owned());
    WrongSetting { key: if key.is_empty() { "firstcome.toml".to_owned() } else { key }, value, allowed }
}

#[cfg(test)]
mod tests;
