//! Promise: no secret is seen in a log line, an error or an answer, whatever goes wrong.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use firstcome::config::Settings;
use firstcome::dev::ports;
use firstcome::mysql;
use reqwest::StatusCode;
use serde_json::json;

use super::cell_dump;
use super::test_app::fresh_settings;
use super::test_servers;
use super::tokens::{AUDIENCE, ISSUER, claims, sign_with_secret};

/// What every secret of this test begins with, and no other text.
const CANARY: &str = "canary7d1f";

/// A secret for tokens.
const JWT: &str = "canary7d1f-4f1c2a8e9b7d6035a1e4c8f2b90d7e63";

fn password(of: &str) -> String {
    format!("{CANARY}-{of}")
}

/// A command whose secrets are in its environment, with all that it says in a file.
fn command(settings: &Settings, log: &Path, arguments: &[&str]) -> Command {
    let said = File::options().create(true).append(true).open(log).unwrap();
    let with_user =
        |url: &str, place: &str, of: &str| url.replace(place, &format!("://shop:{}@", password(of)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
    command.args(arguments).stdin(Stdio::null());
    command.stdout(said.try_clone().unwrap()).stderr(said);
    command
        .env("FIRSTCOME_LISTEN", settings.listen.to_string())
        .env("FIRSTCOME_CELLS", settings.cells.to_string())
        .env("FIRSTCOME_REDIS_URL", with_user(settings.redis_url.expose(), "://", "redis"))
        .env("FIRSTCOME_MYSQL_URL", with_user(settings.mysql_url.expose(), "://root@", "mysql"))
        // RabbitMQ knows no such user: this is what errors are made of.
        .env("FIRSTCOME_AMQP_URL", with_user(settings.amqp_url.expose(), "://guest:guest@", "amqp"))
        .env("FIRSTCOME_AMQP_EXCHANGE", &settings.amqp_exchange)
        .env("FIRSTCOME_AMQP_QUEUE", &settings.amqp_queue)
        .env("FIRSTCOME_AUTH", "jwt")
        .env("FIRSTCOME_JWT_SECRET", JWT)
        .env("FIRSTCOME_JWT_AUDIENCE", AUDIENCE)
        .env("FIRSTCOME_JWT_ISSUER", ISSUER)
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "1");
    command
}

/// Ends a process that a failed test leaves behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
}

/// An engine with passwords everywhere meets good and bad tokens, a RabbitMQ that knows it not, and a Redis that
/// goes away. Goal: the log tells all of it at its most talkative, and shows neither password, secret nor token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_ever_said() {
    let (mut redis, folder) = test_servers::redis().await;
    let mut settings = fresh_settings(redis.url()).await;
    settings.listen.set_port(ports::free().unwrap());
    mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
    let database = settings.mysql_url.expose().rsplit_once('/').unwrap().1;
    let pool = mysql::connect(&settings.mysql_url, &settings.tls_ca_file, 4).await.unwrap();
    let user = format!("CREATE USER IF NOT EXISTS shop IDENTIFIED BY '{}'", password("mysql"));
    for sql in [user, format!("GRANT ALL ON {database}.* TO shop")] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    }
    let mut connection = cell_dump::connect(&redis.url()).await;
    let rule = format!(">{}", password("redis"));
    let () = redis::cmd("ACL")
        .arg(&["SETUSER", "shop", "on", &rule, "~*", "&*", "+@all"])
        .query_async(&mut connection)
        .await
        .unwrap();

    let log = folder.join("serve.log");
    let mut engine = Running(command(&settings, &log, &["serve", "--log-format", "json"]).spawn().unwrap());
    let url = format!("http://{}", settings.listen);
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_ready = async || {
        let answer = client.get(format!("{url}/readyz")).send().await;
        answer.is_ok_and(|it| it.status() == StatusCode::OK)
    };
    while !is_ready().await {
        assert!(Instant::now() < deadline, "the engine never sold: {}", read(&log));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sign = |changes| sign_with_secret(JWT.as_bytes(), &claims("1", changes));
    let tokens = [
        sign(json!({})),
        sign(json!({"scope": "admin"})),
        sign(json!({"exp": CANARY})),
        sign(json!({"aud": CANARY, "iss": {CANARY: 1}})),
        sign(json!({"sub": CANARY})),
        sign(json!({"scope": [CANARY]})),
        format!("{CANARY}.{CANARY}.{CANARY}"),
    ];
    let mut answers = String::new();
    for round in 0..2 {
        for token in &tokens {
            let asked = client.put(format!("{url}/users/1")).bearer_auth(token).send().await.unwrap();
            answers += &format!("{:?} {}", asked.headers().clone(), asked.text().await.unwrap());
            let charge = client.post(format!("{url}/balance/charge")).basic_auth("shop", Some(CANARY));
            let charge = charge.json(&json!({"userId": 1, "amount": 5})).send().await.unwrap();
            answers += &format!("{:?} {}", charge.headers().clone(), charge.text().await.unwrap());
        }
        if round == 0 {
            redis.kill().await;
        }
    }
    assert!(answers.contains("dependency_down") && answers.contains("unauthenticated"), "{answers}");
    for path in ["/metrics", "/readyz", "/openapi.json", &format!("/{CANARY}"), &format!("/users/{CANARY}")] {
        let told = client.get(format!("{url}{path}")).bearer_auth(&tokens[0]).send().await.unwrap();
        let (headers, text) = (told.headers().clone(), told.text().await.unwrap());
        assert!(path != "/metrics" || text.contains("firstcome_http_request_duration_seconds"), "{text}");
        answers += &format!("{headers:?} {text}");
    }
    redis.restart().await.unwrap();
    let pid = rustix::process::Pid::from_child(&engine.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let _ = engine.0.wait();

    let said = read(&log);
    for told in ["a token was not accepted", "publishing pauses", "a request was refused"] {
        assert!(said.contains(told), "{told} is not in the log");
    }
    assert!(said.contains("\"DEBUG\"") && said.contains("lapin"), "what libraries say is in the log");
    // As bytes, too, in the ways in which a library prints a buffer.
    let bytes = CANARY.as_bytes();
    let decimal = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let hex: String = bytes.iter().map(|it| format!("{it:02x}")).collect();
    for (text, story) in [(&said, "the log"), (&answers, "the answers")] {
        assert!(!text.contains(&decimal) && !text.contains(&hex), "{story} has the bytes of a secret");
        let at = text.find(CANARY);
        assert_eq!(
            at,
            None,
            "{story}: {:?}",
            at.map(|it| &text[it.saturating_sub(200)..(it + 60).min(text.len())])
        );
        for token in &tokens[..6] {
            assert!(!text.contains(token.rsplit_once('.').unwrap().1), "{story} has a token's signature");
        }
    }
}

/// Goal: help texts and failed commands show no secret, though they know it.
#[tokio::test]
async fn commands_that_fail_keep_their_secrets() {
    let (redis, folder) = test_servers::redis().await;
    let settings = fresh_settings(redis.url()).await;
    mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
    let log = folder.join("commands.log");
    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["dev", "--help"],
        &["token", "--help"],
        &["help"],
        &["--version"],
        &["--print"],
        &["migrate"],
        &["token", "--user", "0"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--config", "/nowhere"],
        &["serve", "--redis-url", "shop:canary7d1f@elsewhere"],
        &["migrate", "--mysql-url", "mysql://shop:canary7d1f@127.0.0.1:1/x"],
        &["migrate", "--mysql-url", "mysql:/shop:canary7d1f@127.0.0.1:1/x"],
    ] {
        let status = command(&settings, &log, arguments).status().unwrap();
        let is_help = arguments.iter().any(|it| it.contains("help") || it.contains("version"));
        assert_eq!(status.success(), is_help, "{arguments:?}: {}", read(&log));
    }
    let said = read(&log);
    assert!(said.contains("mysql://…@127.0.0.1:1/x") && said.contains("cannot migrate"), "{said}");
    assert!(!said.contains(CANARY), "{said}");
}
