//! The commands as a user runs them: `dev`, `audit`, `cell`, `migrate`, and wrong settings.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::test_app::TestApp;
use super::test_servers;

pub fn firstcome() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
    command.env("RUST_LOG", "warn").stdin(Stdio::null());
    command
}

/// A `firstcome dev` with a data folder of its own.
pub struct Dev {
    process: Child,
    folder: PathBuf,
}

impl Dev {
    pub fn start(folder: &Path) -> Self {
        let listen = format!("127.0.0.1:{}", firstcome::dev::ports::free().unwrap());
        let mut command = firstcome();
        command.args(["dev", "--listen", &listen, "--data-dir"]).arg(folder).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        Self { process, folder: folder.to_owned() }
    }

    /// What `endpoints.json` says, once this process has written it.
    pub async fn endpoints(&mut self) -> Value {
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            let text = std::fs::read_to_string(self.folder.join("endpoints.json")).unwrap_or_default();
            let endpoints: Value = serde_json::from_str(&text).unwrap_or_default();
            if endpoints["pids"]["engine"] == json!(self.process.id()) {
                return endpoints;
            }
            assert_eq!(self.process.try_wait().unwrap(), None, "dev runs");
            assert!(Instant::now() < deadline, "dev never sold");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGKILL, and gone; its servers end with it.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_alive(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie has ended; whoever started it has not asked yet.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

async fn wait_until_gone(endpoints: &Value) {
    let deadline = Instant::now() + Duration::from_secs(30);
    for server in ["redis", "mysql", "rabbitmq"] {
        let pid = endpoints["pids"][server].as_u64().unwrap();
        while is_alive(pid) {
            assert!(Instant::now() < deadline, "{server} outlived its engine");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn buy(endpoints: &Value) -> Value {
    let url = format!("{}/orders", endpoints["http"].as_str().unwrap());
    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
    let answer = reqwest::Client::new().post(url).json(&order).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    answer.json().await.unwrap()
}

/// Goal: `dev` sells its demo, a kill -9 leaves no orphan, a second start goes on with the same data,
/// and Ctrl-C ends everything in good order.
#[tokio::test]
async fn dev_sells_survives_a_kill_and_stops_cleanly() {
    let folder = test_servers::fresh_folder();
    let mut dev = Dev::start(&folder);
    let endpoints = dev.endpoints().await;
    let first = buy(&endpoints).await;
    assert_eq!(first["balance"], json!(1_000_000 - 39_000));
    let second_dev = firstcome().args(["dev", "--data-dir"]).arg(&folder).output().unwrap();
    assert!(!second_dev.status.success() && text(&second_dev).contains("another `firstcome dev`"));
    dev.process.kill().unwrap();
    dev.process.wait().unwrap();
    wait_until_gone(&endpoints).await;

    let mut dev = Dev::start(&folder);
    let endpoints = dev.endpoints().await;
    assert_eq!(buy(&endpoints).await["balance"], json!(1_000_000 - 2 * 39_000));
    let pid = rustix::process::Pid::from_child(&dev.process);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = dev.process.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "Ctrl-C ends dev");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(status.success());
    wait_until_gone(&endpoints).await;
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command against a test's servers.
pub fn run(app: &TestApp, arguments: &[&str]) -> Output {
    let settings = &app.settings;
    firstcome()
        .args(arguments)
        .env("FIRSTCOME_CELLS", settings.cells.to_string())
        .env("FIRSTCOME_REDIS_URL", settings.redis_url.expose())
        .env("FIRSTCOME_MYSQL_URL", settings.mysql_url.expose())
        .env("FIRSTCOME_AMQP_URL", settings.amqp_url.expose())
        .output()
        .unwrap()
}

/// Goal: the audit passes on a sound shop and names exactly what was tampered with.
#[tokio::test]
async fn the_audit_names_what_differs() {
    let app = TestApp::start().await;
    app.product_with(1, 10, 100).await;
    for user in 1..=20 {
        app.user_with(user, 1_000).await;
        let order = json!({"userId": user, "items": [{"productId": 1, "quantity": 2}]});
        assert_eq!(app.post("/orders", order).await.status, 201);
    }
    app.drain().await;
    let clean = run(&app, &["audit"]);
    assert!(clean.status.success(), "{}", text(&clean));

    let mut redis = app.redis_of(7).await;
    let _: i64 = redis::cmd("HINCRBY")
        .arg(app.key_of(7, "user:7"))
        .arg("balance")
        .arg(1)
        .query_async(&mut redis)
        .await
        .unwrap();
    let tampered = run(&app, &["audit"]);
    assert_eq!(tampered.status.code(), Some(1), "{}", text(&tampered));
    assert!(text(&tampered).contains("wallet") && text(&tampered).contains("981"), "{}", text(&tampered));
    let _: i64 = redis::cmd("HINCRBY")
        .arg(app.key_of(7, "user:7"))
        .arg("balance")
        .arg(-1)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!(run(&app, &["audit"]).status.success());

    sqlx::query("UPDATE order_lines SET quantity = 3 WHERE line_no = 0 LIMIT 1")
        .execute(&app.connections().mysql)
        .await
        .unwrap();
    let oversold = run(&app, &["audit"]);
    assert_eq!(oversold.status.code(), Some(1), "{}", text(&oversold));
    assert!(text(&oversold).contains("stock"), "{}", text(&oversold));
    app.abandon().await;
}

/// Goal: an operator sees, closes, opens and rebuilds a cell, while an engine runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_steers_a_cell() {
    let app = TestApp::start().await;
    app.user_with(1, 500).await;
    app.drain_events().await;
    let cell = app.cell_of(1).to_string();
    let list = run(&app, &["cell", "list"]);
    assert!(list.status.success() && text(&list).contains("open"), "{}", text(&list));
    assert!(run(&app, &["cell", "close", &cell]).status.success());
    assert_eq!(app.get("/users/1/balance").await.code(), "cell_closed");
    assert!(text(&run(&app, &["cell", "list"])).contains("operator"));
    let open = run(&app, &["cell", "open", &cell]);
    assert!(open.status.success(), "{}", text(&open));
    let rebuild = run(&app, &["cell", "rebuild", &cell]);
    assert!(rebuild.status.success() && text(&rebuild).contains("rebuilt"), "{}", text(&rebuild));
    assert!(app.engine().wait_until_open(Duration::from_secs(60)).await);
    assert_eq!(app.balance(1).await, 500);
    let unknown = run(&app, &["cell", "close", "9"]);
    assert!(!unknown.status.success() && text(&unknown).contains("there is no cell 9"));
    app.finish().await;
}

/// Goal: a wrong setting stops the start and says key, value and what is allowed; a secret is never shown.
#[tokio::test]
async fn wrong_settings_stop_the_start() {
    let folder = test_servers::fresh_folder();
    let file = folder.join("shop.toml");
    std::fs::write(&file, "max_in_flight = 0\n").unwrap();
    let config = file.to_str().unwrap();
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case; 5] = [
        (
            &["serve", "--config", config],
            &[],
            "setting `max_in_flight`: 0 is not allowed; allowed: 1 to 1000000",
        ),
        (&["serve"], &[("FIRSTCOME_CELLS", "3")], "setting `cells`: 3 is not allowed"),
        (&["serve"], &[("FIRSTCOME_REDIS_URL", "http://:canary@x")], "setting `redis_url`"),
        (&["serve", "--listen", "0.0.0.0:0"], &[], "--allow-insecure"),
        (
            &["migrate"],
            &[("FIRSTCOME_MYSQL_URL", "mysql://shop:canary@127.0.0.1:1/x")],
            "cannot migrate mysql://…@127.0.0.1:1/x",
        ),
    ];
    for (arguments, environment, expected) in cases {
        let output = firstcome().args(arguments).envs(environment.iter().copied()).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(text(&output).contains(expected), "{arguments:?}: {}", text(&output));
        assert!(!text(&output).contains("canary"), "{}", text(&output));
    }
}
