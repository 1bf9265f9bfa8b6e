//! Promise: where a URL asks for TLS, the engine talks to the server that it means, or to none.

mod certificates;
mod cluster;

use std::time::Duration;

use firstcome::app;
use firstcome::config::{Authorities, Secret, Settings};
use firstcome::dev::{
    MysqlOptions, PrivateMysql, PrivateRabbitmq, PrivateRedis, RabbitmqOptions, RedisOptions, ports,
};
use firstcome::mysql;
use firstcome::rabbitmq::{PublishError, Publisher};
use firstcome::scripts::connect::RedisServer;
use serde_json::json;

use super::test_app::{TestApp, eventually, fresh_settings, take_messages};
use super::test_sentinels::launch;
use super::test_servers::{self, binaries, fresh_folder, start_redis};
use certificates::{Authority, Certificate};

/// Generous: a slow machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

/// The three servers with one certificate, which is for `localhost`. Each has a door without TLS, too.
struct Servers {
    redis: PrivateRedis,
    redis_port: u16,
    mysql: PrivateMysql,
    rabbitmq: PrivateRabbitmq,
    rabbitmq_port: u16,
}

impl Servers {
    async fn start(authority: &Authority, certificate: &Certificate) -> Self {
        let (folder, binaries) = (fresh_folder(), binaries());
        let free = || ports::free().unwrap();
        let (redis_port, rabbitmq_port) = (free(), free());
        let [ca, chain, key] =
            [&authority.file, &certificate.chain, &certificate.key].map(|it| it.to_str().unwrap().to_owned());
        let port = redis_port.to_string();
        let redis_args = [
            ["--tls-port", &port],
            ["--tls-cert-file", &chain],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &ca],
            ["--tls-auth-clients", "no"],
        ];
        let redis_options = RedisOptions {
            extra_args: redis_args.iter().flatten().map(|it| (*it).to_owned()).collect(),
            ..RedisOptions::default()
        };
        let mysql_options = MysqlOptions {
            extra_args: vec![
                format!("--ssl-ca={ca}"),
                format!("--ssl-cert={chain}"),
                format!("--ssl-key={key}"),
            ],
        };
        let rabbitmq_options = RabbitmqOptions {
            extra_settings: vec![
                format!("listeners.ssl.1 = 127.0.0.1:{rabbitmq_port}"),
                format!("ssl_options.cacertfile = {ca}"),
                format!("ssl_options.certfile = {chain}"),
                format!("ssl_options.keyfile = {key}"),
                "ssl_options.verify = verify_none".to_owned(),
                "ssl_options.fail_if_no_peer_cert = false".to_owned(),
            ],
        };
        let redis = start_redis(&folder, redis_options).await;
        let (mysql, rabbitmq) = tokio::try_join!(
            PrivateMysql::start(&binaries, &folder, free(), mysql_options),
            PrivateRabbitmq::start(&binaries, &folder, free(), rabbitmq_options),
        )
        .expect("private servers start with TLS");
        Self { redis, redis_port, mysql, rabbitmq, rabbitmq_port }
    }

    fn redis_url(&self, host: &str) -> String {
        format!("rediss://{host}:{}/", self.redis_port)
    }

    fn mysql_url(&self, host: &str, parameters: &str) -> String {
        format!("{}shop?{parameters}", self.mysql.url().replace("127.0.0.1", host))
    }

    fn amqp_url(&self, host: &str) -> String {
        format!("amqps://guest:guest@{host}:{}/%2f", self.rabbitmq_port)
    }
}

/// Settings for three servers without TLS; a case replaces one of them.
async fn plain() -> (PrivateRedis, Settings) {
    let (redis, _) = test_servers::redis().await;
    let mut settings = fresh_settings(redis.url()).await;
    mysql::migrate(&settings.mysql_url, &Authorities::default()).await.unwrap();
    // Else the authorities would count for it, too.
    settings.mysql_url = Secret::new(format!("{}?ssl-mode=DISABLED", settings.mysql_url.expose()));
    (redis, settings)
}

/// What the engine says where it cannot connect to Redis or MySQL.
async fn refusal(settings: &Settings) -> String {
    let refused = app::connect(settings.clone()).await.err();
    format!("{:#}", refused.expect("no connection"))
}

/// The same of RabbitMQ.
async fn publisher_refusal(url: &str, authorities: &Authorities) -> String {
    publisher(url, authorities).await.err().expect("no connection").to_string()
}

async fn publisher(url: &str, authorities: &Authorities) -> Result<Publisher, PublishError> {
    Publisher::connect(&Secret::new(url), authorities, "tls", "tls", PATIENCE).await
}

fn assert_says(said: &str, words: &[&str]) {
    assert!(words.iter().all(|it| said.contains(it)), "{words:?} is not in: {said}");
    assert!(!said.contains("guest"), "{said}");
}

/// Goal: with the right authority everything goes by TLS, from the schema to the message, and as well after a restart.
#[tokio::test]
async fn the_engine_works_over_tls() {
    let folder = fresh_folder();
    let ours = Authority::new(&folder, "ours");
    let Servers { redis, redis_port, mysql, rabbitmq, rabbitmq_port } =
        Servers::start(&ours, &ours.certify(&folder, "localhost")).await;
    let admin = mysql::connect(&Secret::new(mysql.url()), &Authorities::default(), 1).await.unwrap();
    for sql in ["CREATE USER shop IDENTIFIED BY 'secret' REQUIRE SSL", "GRANT ALL ON shop.* TO shop"] {
        sqlx::raw_sql(sql).execute(&admin).await.unwrap();
    }
    let plain_amqp_url = rabbitmq.url();
    let mysql_url = mysql.url().replace("root@127.0.0.1", "shop:secret@localhost");
    let mut app = TestApp::start_on(redis, folder, |settings| {
        settings.redis_url = Secret::new(format!("rediss://localhost:{redis_port}/"));
        // The authority is named, so the certificate is verified without further words.
        settings.mysql_url = Secret::new(format!("{mysql_url}shop"));
        settings.amqp_url = Secret::new(format!("amqps://guest:guest@localhost:{rabbitmq_port}/%2f"));
        settings.tls_ca_file = ours.trusted();
    })
    .await;
    app.user_with(1, 1_000).await;
    app.product_with(1, 10, 100).await;
    for _ in 0..2 {
        let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
        assert_eq!(app.post("/orders", order).await.status, 201);
        app.assert_clean().await;
        app.redis.own().restart().await.unwrap();
        eventually!(app.get("/users/1/balance").await.status == 200);
        app.stop_engine().await;
        app.start_engine().await;
    }
    let (_, cipher): (String, String) = sqlx::query_as("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        .fetch_one(&app.connections().mysql)
        .await
        .unwrap();
    assert!(!cipher.is_empty());
    let mut observer = app.redis_of(1).await;
    let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut observer).await.unwrap();
    let secured = clients.lines().filter(|it| it.contains(&format!("laddr=127.0.0.1:{redis_port} "))).count();
    assert!(secured >= 2 && secured + 1 == clients.lines().count(), "all but the observer: {clients}");
    let settings = Settings { amqp_url: Secret::new(plain_amqp_url), ..app.settings.clone() };
    assert_eq!(take_messages(&settings).await.len(), 2);
    app.finish().await;
}

/// Goal: a server that shows another authority's certificate, an old one, or another host's is refused, and the message
/// says which server and why.
#[tokio::test]
async fn a_certificate_that_proves_nothing_is_refused() {
    let folder = fresh_folder();
    let (ours, other) = (Authority::new(&folder, "ours"), Authority::new(&folder, "other"));
    let good = Servers::start(&ours, &ours.certify(&folder, "localhost")).await;
    let old_folder = fresh_folder();
    let old = Servers::start(&ours, &ours.certify_in_the_past(&old_folder, "localhost")).await;
    let (_redis, plain) = plain().await;
    for (servers, host, authorities, reason) in [
        (&good, "localhost", other.trusted(), "UnknownIssuer"),
        // The public ones do not know it.
        (&good, "localhost", Authorities::default(), "UnknownIssuer"),
        (&good, "127.0.0.1", ours.trusted(), "not valid for name \"127.0.0.1\""),
        (&old, "localhost", ours.trusted(), "certificate expired"),
    ] {
        let base = Settings { tls_ca_file: authorities.clone(), ..plain.clone() };
        let url = servers.redis_url(host);
        let said = refusal(&Settings { redis_url: Secret::new(&url), ..base.clone() }).await;
        assert_says(&said, &["cannot connect to Redis at", &url, reason]);

        let url = servers.mysql_url(host, "ssl-mode=VERIFY_IDENTITY");
        let said = refusal(&Settings { mysql_url: Secret::new(&url), ..base.clone() }).await;
        let place = url.split_once('@').unwrap().1;
        assert_says(&said, &["cannot connect to MySQL at", place, reason]);
        let said = mysql::migrate(&Secret::new(url), &authorities).await.unwrap_err().to_string();
        assert_says(&said, &[reason]);

        let url = servers.amqp_url(host);
        let place = url.split_once('@').unwrap().1;
        let said = publisher_refusal(&url, &authorities).await;
        assert_says(&said, &["cannot connect to RabbitMQ at", place, reason]);
    }

    // As MySQL means it: VERIFY_CA does not look at the name, REQUIRED at nothing.
    let connects = async |servers: &Servers, host: &str, parameters: &str, authorities: &Authorities| {
        let url = Secret::new(servers.mysql_url(host, parameters).replace("/shop", "/mysql"));
        mysql::connect(&url, authorities, 1).await.map(drop).map_err(|error| error.to_string())
    };
    let (right, wrong, none) = (ours.trusted(), other.trusted(), Authorities::default());
    assert_eq!(connects(&good, "127.0.0.1", "ssl-mode=VERIFY_CA", &right).await, Ok(()));
    assert_eq!(connects(&old, "127.0.0.1", "ssl-mode=REQUIRED", &wrong).await, Ok(()));
    let file = |authority: &Authority| authority.file.to_str().unwrap().to_owned();
    assert_eq!(connects(&good, "localhost", &format!("ssl-ca={}", file(&ours)), &wrong).await, Ok(()));
    for (parameters, authorities) in [
        ("ssl-mode=VERIFY_CA", &wrong),
        // On loopback, too; by both names of the parameter; and where only the authority is named.
        ("ssl-mode=verify_identity", &none),
        ("sslmode=VERIFY_IDENTITY", &none),
        ("", &wrong),
        (&format!("ssl-ca={}", file(&other)), &none),
        (&format!("sslca={}", file(&other)), &right),
    ] {
        let said = connects(&good, "localhost", parameters, authorities).await.unwrap_err();
        assert_says(&said, &["UnknownIssuer"]);
    }
}

/// Goal: a server without TLS is never talked to in plain text instead.
#[tokio::test]
async fn a_plain_server_is_refused_where_tls_is_asked_for() {
    let (redis, plain) = plain().await;
    let folder = fresh_folder();
    let base = Settings { tls_ca_file: Authority::new(&folder, "ours").trusted(), ..plain.clone() };

    // Redis says nothing.
    let url = redis.url().replace("redis://", "rediss://");
    let server = RedisServer::new(&url, &base.tls_ca_file, PATIENCE).unwrap();
    let own = server.own_connection().await.expect_err("no connection").to_string();
    let shared = server.shared_connection().await.expect_err("no connection").to_string();
    for said in [own, shared] {
        assert_says(&said, &["timed out", "does this port speak"]);
    }

    for (parameters, authorities) in [
        ("?ssl-mode=VERIFY_IDENTITY", &base.tls_ca_file),
        ("?ssl-mode=REQUIRED", &Authorities::default()),
        ("?sslmode=REQUIRED", &Authorities::default()),
        ("", &base.tls_ca_file),
    ] {
        let url = plain.mysql_url.expose().replace("?ssl-mode=DISABLED", parameters);
        let mysql_url = Secret::new(&url);
        match app::connect(Settings { mysql_url, tls_ca_file: authorities.clone(), ..plain.clone() }).await {
            // MySQL makes certificates for itself, where MariaDB has none: then it is no plain server.
            Ok(connections) => {
                let (_, cipher): (String, String) = sqlx::query_as("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
                    .fetch_one(&connections.mysql)
                    .await
                    .unwrap();
                assert!(parameters.contains("REQUIRED") && !cipher.is_empty(), "{parameters}: {cipher:?}");
            }
            Err(error) => {
                let said = format!("{error:#}");
                assert_says(&said, &["cannot connect to MySQL at", url.split_once('@').unwrap().1]);
                assert!(said.contains("does not support TLS") || said.contains("UnknownIssuer"), "{said}");
            }
        }
    }

    let url = plain.amqp_url.expose().replace("amqp://", "amqps://");
    let said = publisher_refusal(&url, &base.tls_ca_file).await;
    assert_says(&said, &["cannot connect to RabbitMQ at", url.split_once('@').unwrap().1, "corrupt message"]);
}

/// Goal: settings that would leave something unverified, or that cannot be meant, stop the start.
#[test]
fn settings_that_weaken_tls_stop_the_start() {
    let folder = fresh_folder();
    let ours = Authority::new(&folder, "ours");
    let certificate = ours.certify(&folder, "localhost");
    let text = std::fs::read_to_string(&ours.file).unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).to_str().unwrap().to_owned()
    };
    let garbage = text.replace("MII", "AAA");
    let cases = [
        ("tls_ca_file", "/nowhere/ca.pem".to_owned(), "No such file"),
        ("tls_ca_file", file("empty.pem", ""), "no certificate"),
        ("tls_ca_file", file("words.pem", "no PEM"), "no certificate"),
        ("tls_ca_file", file("half.pem", &format!("{text}{}", &text[..200])), "damaged"),
        ("tls_ca_file", file("garbage.pem", &garbage), "cannot be read"),
        ("tls_ca_file", certificate.key.to_str().unwrap().to_owned(), "only certificates"),
        ("redis_url", "rediss://localhost:1/#insecure".to_owned(), "fragment"),
        ("mysql_url", "mysql://localhost:1/x?ssl_mode=VERIFY_IDENTITY".to_owned(), "ssl_mode"),
        ("mysql_url", "mysql://localhost:1/x?ssl-mode=REQUIRED&useSSL=true".to_owned(), "useSSL"),
        ("amqp_url", "AMQPS://localhost:1/".to_owned(), "amqps://"),
    ];
    for (key, value, why) in cases {
        let error = Settings::load(None, &[], &[(key, value.clone())]).expect_err(&value).to_string();
        assert!(error.starts_with(&format!("setting `{key}`: ")) && error.contains(why), "{value}: {error}");
    }
    let path = ours.file.to_str().unwrap().to_owned();
    let settings = Settings::load(None, &[], &[("tls_ca_file", path)]).unwrap();
    assert_eq!(settings.tls_ca_file, ours.trusted());
}

/// Goal: with `rediss+sentinel://` neither Sentinels nor Redis are talked to in plain text, but where the URL says so.
#[tokio::test]
async fn sentinels_and_the_primary_speak_tls() {
    let folder = fresh_folder();
    let (ours, other) = (Authority::new(&folder, "ours"), Authority::new(&folder, "other"));
    let certificate = ours.certify(&folder, "127.0.0.1");
    let [ca, chain, key] =
        [&ours.file, &certificate.chain, &certificate.key].map(|it| it.to_str().unwrap().to_owned());
    let [redis_port, plain_port, tls_port] = [(); 3].map(|()| ports::free().unwrap());
    let tls = [
        ("tls-cert-file", &*chain),
        ("tls-key-file", &key),
        ("tls-ca-cert-file", &ca),
        ("tls-auth-clients", "no"),
        ("tls-replication", "yes"),
    ];
    let mut extra_args = vec!["--tls-port".to_owned(), redis_port.to_string()];
    extra_args.extend(tls.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]));
    let _redis = start_redis(&folder, RedisOptions { extra_args, ..RedisOptions::default() }).await;
    let mut text = format!("port {plain_port}\ntls-port {tls_port}\nbind 127.0.0.1\n");
    tls.iter().for_each(|(name, value)| text += &format!("{name} {value}\n"));
    text += &format!("sentinel monitor main 127.0.0.1 {redis_port} 1\n");
    std::fs::write(folder.join("sentinel.conf"), text).unwrap();
    let _sentinel = launch(plain_port, &folder).await;

    let ping = async |url: &str, authorities: &Authorities| {
        let server = RedisServer::new(url, authorities, PATIENCE).unwrap();
        let mut connection = server.own_connection().await.map_err(|error| error.to_string())?;
        redis::cmd("PING").query_async::<String>(&mut connection).await.map_err(|error| error.to_string())
    };
    let by_tls = format!("rediss+sentinel://127.0.0.1:{tls_port}/main");
    let by_both = format!("rediss+sentinel://127.0.0.1:{plain_port}/main?sentinel_tls=no");
    let trusted = ours.trusted();
    for url in [&by_tls, &by_both] {
        eventually!(ping(url, &trusted).await.as_deref() == Ok("PONG"));
        assert_says(&ping(url, &other.trusted()).await.unwrap_err(), &["UnknownIssuer"]);
    }
    let plain = by_both.replace("?sentinel_tls=no", "");
    assert_says(&ping(&plain, &trusted).await.unwrap_err(), &["1 of 1 Sentinels", "does this port speak"]);
    // Redis by TLS only: the Sentinel names no port without it.
    assert!(ping(&format!("redis+sentinel://127.0.0.1:{plain_port}/main"), &trusted).await.is_err());
}
