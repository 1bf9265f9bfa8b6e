//! Promise: the files that start and watch the engine fit it: settings, servers, metrics, alerts, and who can reach what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use firstcome::app::{check_exposure, check_protection};
use firstcome::config::Settings;
use firstcome::dev::{Fsync, RedisOptions};
use serde_json::{Map, Value, json};

const COMPOSE: &str = include_str!("../../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../../ops/Dockerfile");
const PROMETHEUS: &str = include_str!("../../ops/prometheus.yml");
const ALERTS: &str = include_str!("../../ops/alerts.yml");
const DASHBOARD: &str = include_str!("../../ops/grafana/dashboards/firstcome.json");
const DATASOURCES: &str = include_str!("../../ops/grafana/provisioning/datasources/prometheus.yml");
const PROVIDERS: &str = include_str!("../../ops/grafana/provisioning/dashboards/firstcome.yml");
const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// Goal: no variable is misspelled, none has a value that would stop the start, and no flag is unknown.
#[test]
fn the_engine_accepts_what_the_compose_file_sets() {
    let known = serde_json::to_value(Settings::default()).unwrap();
    let no_file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let mut engines = 0;
    for (name, service) in &services() {
        let variables = fields(&service["environment"]);
        let set: Vec<(String, String)> = variables
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("FIRSTCOME_")?.to_lowercase(), text(value))))
            .collect();
        if !is_built_here(service) {
            assert!(set.is_empty(), "{name} is no engine");
            continue;
        }
        engines += 1;
        let flags: Vec<(&str, String)> = set.iter().map(|(key, value)| (&**key, value.clone())).collect();
        for (key, _) in &flags {
            assert!(known.get(key).is_some(), "{name}: {key} is no setting");
        }
        let settings = Settings::load(Some(no_file.path()), &[], &flags).unwrap();
        check_protection(&settings).unwrap();
        let command = texts(&service["command"]);
        if command[0] == "serve" {
            check_exposure(&settings, command.contains(&"--allow-insecure")).unwrap();
            assert!(command.contains(&"--require-durable"));
        }
        let mut help = Command::new(env!("CARGO_BIN_EXE_firstcome"));
        let output = help.args(&command).arg("--help").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(engines, 2, "the engine, and the migration before it");
    // What Compose itself reads; every one has a default, so that nothing need be set.
    assert_eq!(interpolated(COMPOSE).1, BTreeSet::from(["FIRSTCOME_COMPOSE_PASSWORD"]));
}

/// Goal: nothing is mounted that is not there (Docker would make an empty folder of it), or that a container may change.
#[test]
fn every_mounted_path_exists() {
    let compose = compose();
    let mut files = 0;
    for (name, service) in &services() {
        for mount in texts(&service["volumes"]) {
            let (source, rest) = mount.split_once(':').expect("a source and a target");
            if source.starts_with("./") {
                files += 1;
                assert!(root().join(source).exists(), "{name}: {source}");
                assert!(rest.ends_with(":ro"), "{name}: {mount}");
            } else {
                assert!(compose["volumes"].get(source).is_some(), "{name}: {source} is no volume");
            }
        }
    }
    assert!(files >= 8, "{files}");
}

/// Goal: what sells under Compose is what was tested: a setting that `dev` gives its Redis means the same there.
#[test]
fn redis_is_as_dev_starts_it() {
    // Where it runs.
    const OWN: [&str; 4] = ["port", "bind", "protected-mode", "daemonize"];
    let service = &compose()["services"]["redis"];
    let command = texts(&service["command"]);
    assert_eq!(command[0], "redis-server");
    assert!(texts(&service["volumes"]).contains(&&*format!("./ops/redis.conf:{}:ro", command[1])));
    let file =
        include_str!("../../ops/redis.conf").lines().filter(|it| !it.is_empty() && !it.starts_with('#'));
    let mut here: BTreeMap<&str, &str> = file
        .map(|it| it.split_once(' ').expect("a name and a value"))
        .map(|(n, v)| (n, unquoted(v)))
        .collect();
    for pair in command[2..].chunks(2) {
        let name = pair[0].strip_prefix("--").expect("a name");
        assert!(OWN.contains(&name), "{name}: durable settings are in the file");
        here.insert(name, pair[1]);
    }

    let fsync = match RedisOptions::default().fsync {
        Fsync::Always => "always",
        Fsync::EverySec => "everysec",
    };
    let source = include_str!("../../src/dev/redis_server.rs");
    let mut compared = 0;
    for argument in source.split(".args([\"--").skip(1) {
        let (name, rest) = argument.split_once("\", ").expect("a name and a value");
        let value = unquoted(rest.split_once("])").expect("an end").0);
        if !OWN.contains(&name) {
            compared += 1;
            let value = if (name, value) == ("appendfsync", "fsync") { fsync } else { value };
            assert_eq!(here.get(name), Some(&value), "{name}");
        }
    }
    assert!(compared >= 5, "{compared}");
}

/// Goal: the same for MySQL.
#[test]
fn mysql_is_as_dev_starts_it() {
    // Where it runs.
    const OWN: [&str; 8] =
        ["no-defaults", "datadir", "socket", "pid-file", "init-file", "tmpdir", "port", "bind-address"];
    // How much there is of it; and what only MariaDB knows.
    const SIZES: [&str; 2] = ["max-connections", "innodb-log-file-size"];
    let service = &compose()["services"]["mysql"];
    let mounts = texts(&service["volumes"]);
    assert!(mounts.contains(&"./ops/mysql.cnf:/etc/mysql/conf.d/firstcome.cnf:ro"));
    let file = include_str!("../../ops/mysql.cnf").split_once("[mysqld]\n").expect("the section").1;
    let file = file.lines().filter(|it| !it.is_empty() && !it.starts_with('#'));
    let command = texts(&service["command"]);
    assert_eq!(command[0], "mysqld");
    let given = command[1..].iter().map(|it| it.strip_prefix("--").expect("a flag"));
    let here: BTreeMap<&str, &str> = file.chain(given).map(option).collect();

    let source = include_str!("../../src/dev/mysql_server.rs");
    let (more, launch) = source.split_once("async fn launch(").expect("the start");
    // What `dev` asks for besides comes last, and wins.
    let dev: BTreeMap<&str, &str> =
        [launch, more].iter().flat_map(|it| it.split("\"--").skip(1)).map(until_quote).map(option).collect();
    let dev: Vec<_> = dev.iter().filter(|it| !OWN.contains(it.0) && !SIZES.contains(it.0)).collect();
    assert!(dev.len() >= 9, "{dev:?}");
    for (name, value) in dev {
        assert_eq!(here.get(name), Some(value), "{name}");
    }
}

/// Goal: the same for RabbitMQ, whose arguments are those of its machine.
#[test]
fn rabbitmq_is_as_dev_starts_it() {
    let compose = compose();
    let arguments = &compose["services"]["rabbitmq"]["environment"]["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"];
    let source = include_str!("../../src/dev/rabbitmq_server.rs");
    assert!(source.contains(&text(arguments)), "{arguments}");
}

/// Goal: what runs tomorrow is what runs today.
#[test]
fn every_image_has_a_full_version() {
    let numbers = |image: &str| {
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no version"));
        let version = tag.trim_start_matches('v').split('-').next().unwrap_or_default();
        let numbers: Result<Vec<u32>, _> = version.split('.').map(str::parse).collect();
        numbers.unwrap_or_else(|_| panic!("{image} has no version")).len()
    };
    for (name, service) in &services() {
        let image = text(&service["image"]);
        if is_built_here(service) {
            assert_eq!(image, "firstcome", "{name}");
        } else {
            assert_eq!(numbers(&image), 3, "{name}: {image}");
        }
    }
    let stages: Vec<&str> = DOCKERFILE.lines().filter_map(|it| it.strip_prefix("FROM ")).collect();
    let [build, run] = stages[..] else { panic!("{stages:?}") };
    let build = build.strip_suffix(" AS build").expect("the stage that builds");
    assert!(build.starts_with(&format!("rust:{}.", env!("CARGO_PKG_RUST_VERSION"))), "{build}");
    // Debian's versions have two numbers.
    assert_eq!((numbers(build), numbers(run)), (3, 2), "{stages:?}");
}

/// Goal: the compose file, which asks nobody for a token, publishes to its own machine only, and no server that believes
/// whoever reaches it.
#[test]
fn the_compose_file_publishes_on_loopback_only() {
    let mut published = BTreeSet::new();
    for (name, service) in &services() {
        for port in texts(&service["ports"]) {
            let inside = port.strip_prefix("127.0.0.1:").and_then(|it| it.split_once(':'));
            published.insert((name.clone(), inside.unwrap_or_else(|| panic!("{name}: {port}")).1.to_owned()));
        }
        for open in ["network_mode", "privileged", "cap_add", "pid", "devices"] {
            assert!(service.get(open).is_none(), "{name}: {open}");
        }
    }
    let meant = [("firstcome", "8080"), ("grafana", "3000"), ("prometheus", "9090"), ("rabbitmq", "15672")];
    let meant = meant.map(|(name, port)| (name.to_owned(), port.to_owned()));
    assert_eq!(published, BTreeSet::from(meant));
    let environment = &compose()["services"]["grafana"]["environment"];
    assert_eq!(environment["GF_AUTH_ANONYMOUS_ENABLED"], "false");
    assert!(environment.get("GF_SECURITY_ADMIN_PASSWORD").is_some());
}

/// Goal: Compose knows of each server whether it is well, and waits for those that the engine needs at its start.
#[test]
fn every_server_has_a_health_check() {
    let services = services();
    for (name, service) in &services {
        // The first runs to its end, the second is called by hand.
        let is_short = service["restart"] == "no" || service.get("profiles").is_some();
        assert_eq!(service.get("healthcheck").is_none(), is_short, "{name}");
        for (needed, condition) in fields(&service["depends_on"]) {
            let waits = match text(&condition["condition"]).as_str() {
                "service_healthy" => services[&needed].get("healthcheck").is_some(),
                "service_completed_successfully" => services[&needed]["restart"] == "no",
                "service_started" => needed == "rabbitmq",
                other => panic!("{other}"),
            };
            assert!(waits, "{name} waits for {needed} in vain");
        }
    }
}

/// Goal: Prometheus finds the engine and its alerts, Grafana finds Prometheus and the dashboard.
#[test]
fn those_who_watch_find_what_they_watch() {
    let (compose, prometheus) = (compose(), yaml(PROMETHEUS));
    let is_mounted = |service: &str, target: &str| {
        let mounts = &compose["services"][service]["volumes"];
        texts(mounts).iter().any(|it| it.split(':').nth(1) == Some(target))
    };
    let [job] = &prometheus["scrape_configs"].as_array().unwrap()[..] else { panic!("one job") };
    assert_eq!(job["job_name"], "firstcome", "the alerts ask for it");
    let listen = text(&compose["services"]["firstcome"]["environment"]["FIRSTCOME_LISTEN"]);
    let port = listen.rsplit_once(':').unwrap().1;
    assert_eq!(texts(&job["static_configs"][0]["targets"]), [format!("firstcome:{port}")]);
    assert_eq!(texts(&prometheus["rule_files"]), ["alerts.yml"]);
    assert!(is_mounted("prometheus", "/etc/prometheus/prometheus.yml"));
    assert!(is_mounted("prometheus", "/etc/prometheus/alerts.yml"), "beside it");

    assert_eq!(yaml(DATASOURCES)["datasources"][0]["url"], "http://prometheus:9090");
    let folder = text(&yaml(PROVIDERS)["providers"][0]["options"]["path"]);
    assert!(is_mounted("grafana", &folder), "{folder}");
    let home = &compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    assert_eq!(text(home), format!("{folder}/firstcome.json"));
}

/// Goal: who operates finds every metric explained, and nothing is explained that is not there.
#[test]
fn the_table_has_every_metric() {
    let table = table_of_metrics();
    let mut recorded = BTreeSet::new();
    for_each_source(&root().join("src"), &mut |source| {
        let names = source.split("\"firstcome_").skip(1).map(|it| format!("firstcome_{it}"));
        recorded.extend(names.filter_map(|it| metrics_in(&it).next().map(str::to_owned)));
    });
    let series = series(&table);
    let unexplained: Vec<_> = recorded.iter().filter(|it| !series.contains(*it)).collect();
    assert!(unexplained.is_empty(), "not in the table of docs/operations.md: {unexplained:?}");
    let gone: Vec<_> = table.keys().filter(|it| !recorded.contains(**it)).collect();
    assert!(gone.is_empty(), "in the table of docs/operations.md, and nowhere in src: {gone:?}");
}

/// Goal: no panel stays empty and no alert asleep because of a name that does not exist; every metric is looked at.
#[test]
fn dashboard_and_alerts_ask_for_metrics_that_exist() {
    let table = table_of_metrics();
    let (dashboard, alerts) = (serde_json::from_str(DASHBOARD).unwrap(), yaml(ALERTS));
    let mut asked = Vec::new();
    texts_under(&dashboard, &["expr", "query", "definition"], &mut asked);
    assert!(asked.len() >= 50, "{}", asked.len());
    texts_under(&alerts, &["expr"], &mut asked);
    let series = series(&table);
    for expression in &asked {
        for name in metrics_in(expression) {
            assert!(series.contains(name) || table.contains_key(name), "{name} in {expression}");
        }
        // A histogram itself has no samples.
        let bare = metrics_in(expression).find(|it| table.get(it) == Some(&"histogram"));
        assert_eq!(bare, None, "{expression}");
    }
    let asked: BTreeSet<&str> = asked.iter().flat_map(|it| metrics_in(it)).map(stem).collect();
    let unseen: Vec<_> = table.keys().filter(|it| !asked.contains(stem(it))).collect();
    assert!(unseen.is_empty(), "neither on the dashboard nor in an alert: {unseen:?}");
}

/// Goal: a panel says what it shows, in which unit, and works with whatever data source is chosen.
#[test]
fn every_panel_explains_itself() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert_eq!(dashboard["uid"], "firstcome");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|it| it["name"] == "datasource" && it["type"] == "datasource"));
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        if panel["type"] == "row" {
            continue;
        }
        assert!(text(&panel["description"]).ends_with('.'), "{title}");
        assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{title}");
        for asks in panel["targets"].as_array().unwrap().iter().chain([panel]) {
            assert_eq!(asks["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

/// Goal: each alert fires when it should, and not before; Prometheus reads whatever it is asked.
#[test]
fn prometheus_agrees() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut asked = Vec::new();
    texts_under(&dashboard, &["expr"], &mut asked);
    let rules: Vec<Value> = asked
        .iter()
        .map(|it| it.replace("$__rate_interval", "20s").replace("$route", ".*"))
        .map(|it| json!({"record": "asked", "expr": it}))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.yml");
    // What is JSON is YAML, too. Two rules may not be the same: each has a group of its own.
    let groups = rules.iter().enumerate().map(|(i, rule)| json!({"name": i.to_string(), "rules": [rule]}));
    fs::write(&file, json!({"groups": groups.collect::<Vec<_>>()}).to_string()).unwrap();
    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["test", "rules", "alerts.test.yml", "alerts-of-days.test.yml"],
        &["check", "rules", "--lint=none", file.to_str().unwrap()],
    ] {
        let mut promtool = Command::new("promtool");
        promtool.current_dir(root().join("ops")).args(arguments).stdin(Stdio::null());
        let output = promtool.output().expect("promtool, which `sh ops/setup.sh test` installs");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}

/// Goal: whoever is woken finds what to do first; and soon enough for a sale that is over in minutes.
#[test]
fn every_alert_has_a_section_that_says_what_to_do() {
    let alerts = yaml(ALERTS);
    let groups = alerts["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|it| it["rules"].as_array().unwrap());
    let rules: Vec<&Value> = rules.filter(|it| it.get("alert").is_some()).collect();
    assert!(rules.len() >= 15, "{}", rules.len());
    let headings: Vec<&str> = OPERATIONS.lines().filter_map(|it| it.strip_prefix("### ")).collect();
    let mut named = BTreeSet::new();
    for rule in rules {
        let name = text(&rule["alert"]);
        let annotation = |key: &str| text(&rule["annotations"][key]);
        assert!(!annotation("summary").is_empty() && annotation("description").ends_with('.'), "{name}");
        assert!(["critical", "warning", "info"].contains(&&*text(&rule["labels"]["severity"])), "{name}");
        assert!(seconds(&text(&rule["for"])) <= 60, "{name}");
        let runbook = annotation("runbook");
        let anchor = runbook.strip_prefix("docs/operations.md#").expect("the page of operations");
        let heading = headings.iter().find(|it| anchor_of(it) == anchor);
        let heading = heading.unwrap_or_else(|| panic!("{name}: no heading has the anchor {anchor}"));
        let section = OPERATIONS.split_once(&format!("\n### {heading}\n")).expect("a section").1;
        let section = section.split("\n#").next().unwrap_or_default();
        let severity = text(&rule["labels"]["severity"]);
        assert!(section.to_lowercase().starts_with(&format!("{severity}. ")), "{name} is {severity}");
        assert!(named.insert((*heading).to_owned()), "{name}: two alerts have one section");
    }
    let orphans: Vec<_> =
        headings.iter().filter(|it| it.starts_with("Firstcome") && !named.contains(**it)).collect();
    assert!(orphans.is_empty(), "no alert has {orphans:?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The compose file as Compose reads it where none of its variables is set.
fn compose() -> Value {
    yaml(&interpolated(COMPOSE).0)
}

fn services() -> Map<String, Value> {
    fields(&compose()["services"])
}

fn is_built_here(service: &Value) -> bool {
    service.get("build").is_some()
}

/// With the default in place of `${NAME:-default}`; and the names.
fn interpolated(text: &str) -> (String, BTreeSet<&str>) {
    let (mut read, mut names, mut rest) = (String::new(), BTreeSet::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        read += before;
        rest = match after.strip_prefix('$') {
            Some(after) => {
                read.push('$');
                after
            }
            None => {
                let braces = after.strip_prefix('{').and_then(|it| it.split_once('}'));
                let (variable, after) = braces.expect("a variable in braces");
                let (name, default) = variable.split_once(":-").expect("a variable with a default");
                names.insert(name);
                read += default;
                after
            }
        };
    }
    (read + rest, names)
}

/// The fields of an object; none where there is none.
fn fields(value: &Value) -> Map<String, Value> {
    match value {
        Value::Null => Map::new(),
        value => value.as_object().expect("an object").clone(),
    }
}

/// The texts of a list; none where there is none.
fn texts(value: &Value) -> Vec<&str> {
    let items = value.as_array().into_iter().flatten();
    items.map(|it| it.as_str().unwrap_or_else(|| panic!("{it} is no text"))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Every text that one of these keys has, at any depth.
pub fn texts_under<'a>(value: &'a Value, keys: &[&str], found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if keys.contains(&key.as_str()) => found.push(text),
                    value => texts_under(value, keys, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|it| texts_under(it, keys, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Name and type of each row of the table of metrics.
fn table_of_metrics() -> BTreeMap<&'static str, &'static str> {
    let section = OPERATIONS.split_once("\n## Metrics\n").expect("the section").1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut table = BTreeMap::new();
    for row in section.lines().filter(|it| it.starts_with("| `")) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, kind, _labels, unit, says, _] = columns[..] else { panic!("{row}") };
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{row}");
        assert!(!unit.is_empty() && !says.is_empty(), "{row}");
        assert_eq!(table.insert(name.trim_matches('`'), kind), None, "{row}");
    }
    assert!(table.len() >= 30, "{}", table.len());
    table
}

/// The names that samples have.
fn series(table: &BTreeMap<&str, &str>) -> BTreeSet<String> {
    let mut series = BTreeSet::new();
    for (name, kind) in table {
        series.insert((*name).to_owned());
        if *kind == "histogram" {
            series.extend(["bucket", "sum", "count"].map(|it| format!("{name}_{it}")));
        }
    }
    series
}

/// A histogram's name, where this is one of its samples'.
fn stem(name: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count"];
    suffixes.iter().find_map(|it| name.strip_suffix(it)).unwrap_or(name)
}

fn metrics_in(text: &str) -> impl Iterator<Item = &str> {
    let names = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_' && it != ':');
    names.filter(|it| it.starts_with("firstcome_"))
}

fn for_each_source(folder: &Path, look: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            for_each_source(&path, look);
        } else if path.extension().is_some_and(|it| it == "rs") {
            look(&fs::read_to_string(path).unwrap());
        }
    }
}

/// A heading's anchor, as GitHub makes it.
fn anchor_of(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|it| it.is_alphanumeric() || ['-', '_'].contains(it)).collect()
}

fn seconds(duration: &str) -> u64 {
    let (number, unit) = duration.split_at(duration.len() - 1);
    let number: u64 = number.parse().expect("a number");
    match unit {
        "s" => number,
        "m" => 60 * number,
        other => panic!("{other}"),
    }
}

fn unquoted(value: &str) -> &str {
    value.trim_matches('"')
}

fn until_quote(text: &str) -> &str {
    text.split('"').next().unwrap_or_default()
}

/// An option of MySQL as its file or its command line has it; without a value it is a flag.
fn option(text: &str) -> (&str, &str) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let name = name.trim();
    (name.strip_prefix("loose-").unwrap_or(name), value.trim())
}
