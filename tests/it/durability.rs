//! Promise: the engine says at the start what its servers' settings can lose, and refuses those it must not sell on.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use firstcome::app;
use firstcome::config::{Authorities, Secret, Settings};
use firstcome::dev::{MysqlOptions, PrivateMysql, PrivateRedis, RedisOptions, ports};
use firstcome::durability::{Durability, DurabilityError, check, look};
use firstcome::mysql;
use firstcome::scripts::connect::RedisServer;
use redis::AsyncCommands;
use sqlx::mysql::MySqlPool;

use super::cell_dump::connect;
use super::test_app::fresh_settings;
use super::test_cluster::{CELLS, start_cluster};
use super::test_servers::{self, binaries, fresh_folder, start_redis};

async fn looked(url: &str, mysql: &MySqlPool) -> Result<Durability, DurabilityError> {
    look(&RedisServer::new(url, &Authorities::default(), Duration::from_secs(20)).unwrap(), mysql).await
}

/// Settings that are weaker than they should be, with their values.
async fn weak(url: &str, mysql: &MySqlPool) -> Vec<(&'static str, String)> {
    let found = looked(url, mysql).await.unwrap();
    found.weaknesses.into_iter().map(|it| (it.setting, it.value)).collect()
}

async fn set(redis: &PrivateRedis, setting: &str, value: &str) {
    let mut connection = connect(&redis.url()).await;
    redis::cmd("CONFIG").arg("SET").arg(setting).arg(value).query_async::<()>(&mut connection).await.unwrap();
}

async fn pool() -> MySqlPool {
    let servers = test_servers::shared().await;
    mysql::connect(&Secret::new(format!("{}mysql", servers.mysql_url)), &Authorities::default(), 4)
        .await
        .unwrap()
}

/// Goal: what `dev` and `ops/` set has no weakness; each weaker setting is named with its value.
#[tokio::test]
async fn each_weak_setting_of_redis_is_named() {
    let ((redis, _folder), mysql) = (test_servers::redis().await, pool().await);
    let url = redis.url();
    // Tests kill Redis, never the machine.
    assert_eq!(weak(&url, &mysql).await, [("appendfsync", "everysec".to_owned())]);
    set(&redis, "appendfsync", "always").await;
    assert_eq!(weak(&url, &mysql).await, []);
    for (setting, value, strong) in [
        ("appendfsync", "no", "always"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
        ("appendonly", "no", "yes"),
    ] {
        set(&redis, setting, value).await;
        assert_eq!(weak(&url, &mysql).await, [(setting, value.to_owned())]);
        set(&redis, setting, strong).await;
    }
    // Replicas that no setting asks for change nothing.
    set(&redis, "min-replicas-to-write", "0").await;
    assert_eq!(weak(&url, &mysql).await, []);
    for policy in ["allkeys-lru", "volatile-ttl"] {
        set(&redis, "maxmemory-policy", policy).await;
        let refused = looked(&url, &mysql).await.unwrap_err();
        assert!(matches!(&refused, DurabilityError::Evicts(it) if it == policy), "{refused}");
    }
}

/// Goal: a primary with replicas is to stop when it has lost them; the sentence speaks of failovers.
#[tokio::test]
async fn replicas_are_seen() {
    let ((redis, _folder), mysql) = (test_servers::redis().await, pool().await);
    set(&redis, "appendfsync", "always").await;
    let port = redis.url().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let extra_args = vec!["--replicaof".to_owned(), "127.0.0.1".to_owned(), port];
    let _replica = start_redis(&fresh_folder(), RedisOptions { extra_args, ..RedisOptions::default() }).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let found = loop {
        let found = looked(&redis.url(), &mysql).await.unwrap();
        if found.replicas == 1 {
            break found;
        }
        assert!(Instant::now() < deadline, "the replica never came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(
        found.sentence().contains("failover") && found.sentence().contains("goes on selling"),
        "{found:?}"
    );
    assert_eq!(weak(&redis.url(), &mysql).await, [("min-replicas-to-write", "0".to_owned())]);
    set(&redis, "min-replicas-to-write", "1").await;
    set(&redis, "min-replicas-max-lag", "0").await;
    assert_eq!(weak(&redis.url(), &mysql).await, [("min-replicas-max-lag", "0".to_owned())]);
    set(&redis, "min-replicas-max-lag", "2").await;
    assert_eq!(weak(&redis.url(), &mysql).await, []);
}

/// Goal: in a cluster every server is named that would sell on alone, replicas among them, since each may become a primary; where
/// weak settings are refused, those are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_weak_server_of_a_cluster_is_named() {
    let cluster = start_cluster(true).await;
    let settings = Settings { cells: CELLS, ..fresh_settings(cluster.url()).await };
    mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
    let app::Connections { scripts, mysql, .. } = app::connect(settings).await.unwrap();
    let named = async |setting: &str| -> Vec<u16> {
        let Err(DurabilityError::Weak(found)) = check(&scripts, &mysql, true).await else {
            panic!("tests have no strong fsync")
        };
        let mut ports: Vec<u16> = found
            .iter()
            .filter(|it| it.setting == setting)
            .map(|it| it.address.as_ref().expect("a server of a cluster has an address").port)
            .collect();
        ports.sort();
        ports
    };
    let mut weak: Vec<u16> = (0..6).map(|it| cluster.port(it)).collect();
    weak.sort();
    for server in 0..6 {
        assert_eq!(named("min-replicas-to-write").await, weak);
        let set = ["CONFIG", "SET", "min-replicas-to-write", "1"];
        let () = cluster.ask(server, &set).await.unwrap();
        weak.retain(|it| *it != cluster.port(server));
    }
    assert_eq!(named("min-replicas-to-write").await, [0; 0]);
    let () = cluster.ask(4, &["CONFIG", "SET", "min-replicas-max-lag", "0"]).await.unwrap();
    assert_eq!(named("min-replicas-max-lag").await, [cluster.port(4)]);
}

/// Goal: a setting that the engine's user may not read counts as weak, not as strong.
#[tokio::test]
async fn what_is_not_told_is_weak() {
    let ((redis, _folder), mysql) = (test_servers::redis().await, pool().await);
    let mut connection = connect(&redis.url()).await;
    let rules = ["SETUSER", "blind", "on", ">secret", "~*", "+@all", "-config"];
    redis::cmd("ACL").arg(&rules).query_async::<()>(&mut connection).await.unwrap();
    let url = redis.url().replace("redis://", "redis://blind:secret@");
    let unknown = |it| (it, "unknown".to_owned());
    assert_eq!(weak(&url, &mysql).await, [unknown("appendfsync"), unknown("no-appendfsync-on-rewrite")]);
    let _: Option<String> = connection.get("still there").await.unwrap();
}

/// Goal: so are MySQL's.
#[tokio::test]
async fn each_weak_setting_of_mysql_is_named() {
    let (redis, _folder) = test_servers::redis().await;
    set(&redis, "appendfsync", "always").await;
    let port = ports::free().unwrap();
    let server =
        PrivateMysql::start(&binaries(), &fresh_folder(), port, MysqlOptions::default()).await.unwrap();
    let mysql = mysql::connect(&Secret::new(format!("{}mysql", server.url())), &Authorities::default(), 4)
        .await
        .unwrap();
    assert_eq!(weak(&redis.url(), &mysql).await, []);
    for value in [0, 2] {
        let sql = format!("SET GLOBAL innodb_flush_log_at_trx_commit = {value}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mysql).await.unwrap();
        let named = weak(&redis.url(), &mysql).await;
        assert_eq!(named, [("innodb_flush_log_at_trx_commit", value.to_string())]);
    }
}

fn serve(settings: &Settings, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
    command
        .arg("serve")
        .args(arguments)
        .env("FIRSTCOME_LISTEN", format!("127.0.0.1:{}", ports::free().unwrap()))
        .env("FIRSTCOME_CELLS", settings.cells.to_string())
        .env("FIRSTCOME_REDIS_URL", settings.redis_url.expose())
        .env("FIRSTCOME_MYSQL_URL", settings.mysql_url.expose())
        .env("FIRSTCOME_AMQP_URL", settings.amqp_url.expose())
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Ends a process, and gives what it wrote.
fn ended(mut child: Child) -> String {
    child.kill().unwrap();
    text(&child.wait_with_output().unwrap())
}

/// Goal: `serve` says what can be lost, and with `--require-durable` ends with the settings that are too weak.
#[tokio::test]
async fn weak_servers_are_refused_where_that_is_asked_for() {
    let (redis, _folder) = test_servers::redis().await;
    let settings = fresh_settings(redis.url()).await;
    mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
    let refused = serve(&settings, &["--require-durable"]).output().unwrap();
    assert!(!refused.status.success());
    let told = text(&refused);
    for part in ["--require-durable", "redis: appendfsync is everysec, wanted: always", "the last seconds"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    set(&redis, "maxmemory-policy", "allkeys-lru").await;
    let refused = serve(&settings, &[]).output().unwrap();
    assert!(
        !refused.status.success() && text(&refused).contains("maxmemory-policy is allkeys-lru"),
        "{refused:?}"
    );
    set(&redis, "maxmemory-policy", "noeviction").await;
    set(&redis, "appendfsync", "always").await;

    let serving = serve(&settings, &["--require-durable"]).spawn().unwrap();
    let scripts = app::connect(settings.clone()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while mysql::cells::read_all(&scripts.mysql).await.unwrap()[0].view.persisted.epoch == 0 {
        assert!(Instant::now() < deadline, "it never sold");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = ended(serving);
    assert!(told.contains("what these servers can lose: a crash of Redis loses nothing"), "{told}");
}
