//! Promise: the Redis user of `ops/redis.conf` may do what the engine does, and nothing else.

mod stage;
mod whole_run;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use firstcome::dev::{PrivateRedis, RedisOptions};
use redis::aio::MultiplexedConnection;

use super::cell_dump::connect;
use super::test_clock::TestClock;
use super::test_servers;

/// What the engine's connections send beside scripts: recovery and calls, the wait for an event, looks at the server's
/// settings and memory, the libraries' greetings (`SELECT` where the URL names a database), and in a cluster the map of its
/// slots.
const SENT_BY_CONNECTIONS: [&str; 12] = [
    "eval",
    "evalsha",
    "script|load",
    "time",
    "info",
    "memory|usage",
    "config|get",
    "bgrewriteaof",
    "ping",
    "select",
    "xread",
    "cluster|slots",
];

/// What `cell move` needs besides.
const SENT_BY_MOVES: [&str; 6] = [
    "cluster|nodes",
    "cluster|setslot",
    "cluster|countkeysinslot",
    "cluster|getkeysinslot",
    "migrate",
    "restore-asking",
];

/// Keys of all cells that there may be.
const KEYS: [&str; 4] =
    ["~{c[0-9]}:*", "~{c[0-9][0-9]}:*", "~{c[0-9][0-9][0-9]}:*", "~{c[0-9][0-9][0-9][0-9]}:*"];

const ENGINE: &str = "firstcome";
const MOVER: &str = "mover";
const REPLICA: &str = "replica";

/// Keys that are no cell's, though some look alike.
const FOREIGN: [&str; 12] = [
    "gate",
    "{cart}:1",
    "c0:gate",
    "{c0}",
    "x{c0}:gate",
    "{C0}:gate",
    "",
    "{c}:gate",
    "{c0x}:gate",
    "{c-1}:gate",
    "{c12345}:gate",
    "{c0}gate",
];

/// Redis lets everybody say who they are, and go.
const FOR_EVERYBODY: [&str; 4] = ["auth", "hello", "quit", "reset"];

/// `ops/redis.conf` with its users, as somebody who follows it would write it.
fn settings_file() -> String {
    let text = include_str!("../../../ops/redis.conf");
    assert_eq!(
        text.matches("\n# user ").count(),
        4,
        "the default user, the engine's, a replica's and a mover's"
    );
    let text = text.replace("\n# user ", "\nuser ").replace("\n# masteruser ", "\nmasteruser ");
    text.replace("\n# masterauth ", "\nmasterauth ").replace("PASSWORD", "secret")
}

/// The words of a user's rule.
fn rule(user: &str) -> Vec<String> {
    let (text, name) = (settings_file(), format!("user {user} "));
    let rule = text.lines().find_map(|it| it.strip_prefix(&name)).expect(user);
    rule.split(' ').map(str::to_owned).collect()
}

/// The commands that a rule names.
fn allowed(user: &str) -> BTreeSet<String> {
    let rule = rule(user);
    let categories: Vec<&String> = rule.iter().filter(|it| it.contains('@')).collect();
    assert_eq!(categories, ["-@all"], "each command is named");
    let named = rule.iter().filter_map(|it| it.strip_prefix('+')).map(str::to_owned);
    let all: BTreeSet<String> = named.clone().collect();
    assert_eq!(all.len(), named.count(), "each once");
    all
}

fn with_user(url: &str, user: &str) -> String {
    url.replace("://", &format!("://{user}:secret@"))
}

/// The settings and users of `ops/redis.conf`, and one more user, who looks on.
fn options(folder: &Path) -> RedisOptions {
    let file = folder.join("ops-redis.conf");
    std::fs::write(&file, settings_file()).unwrap();
    let observer = ["--user", "observer", "on", ">secret", "~*", "&*", "+@all"];
    let include = ["--include", file.to_str().unwrap()];
    let extra_args = include.iter().chain(&observer).map(|it| it.to_string());
    RedisOptions { extra_args: extra_args.collect(), ..RedisOptions::default() }
}

async fn redis(clock: bool) -> (PrivateRedis, PathBuf, TestClock) {
    let folder = test_servers::fresh_folder();
    let test_clock = TestClock::new(&folder);
    let env = if clock { test_clock.env() } else { Vec::new() };
    let options = RedisOptions { env, ..options(&folder) };
    (test_servers::start_redis(&folder, options).await, folder, test_clock)
}

async fn observer(redis: &PrivateRedis) -> MultiplexedConnection {
    connect(&with_user(&redis.url(), "observer")).await
}

/// Fails when anything that the engine's user asked for was refused.
async fn assert_nothing_refused(redis: &PrivateRedis) {
    let log: redis::Value =
        redis::cmd("ACL").arg("LOG").query_async(&mut observer(redis).await).await.unwrap();
    assert_eq!(log, redis::Value::Array(vec![]), "refused by the ACL");
}

/// Every command that a script calls, by its text.
fn called_by_scripts() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    let mut called = BTreeSet::new();
    for folder in [root.clone(), root.join("recovery")] {
        for file in std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
            if file.extension().is_none_or(|it| it != "lua") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let calls = text.split("redis.call(").skip(1).chain(text.split("redis.pcall(").skip(1));
            for call in calls.map(str::trim_start) {
                match call.strip_prefix('\'').and_then(|it| it.split_once('\'')) {
                    Some((command, _)) => _ = called.insert(command.to_lowercase()),
                    // The caller names the command; the header says which ones there are.
                    None => assert!(call.starts_with("ARGV[1]") || call.starts_with("unpack("), "{call}"),
                }
            }
            for word in ["HSCAN", "ZSCAN", "HSET", "ZADD"] {
                let is_named = text.contains(&format!("{word} "));
                called.extend(is_named.then(|| word.to_lowercase()));
            }
        }
    }
    assert!(called.len() > 20, "{called:?}");
    // The prologue of every script.
    called.extend(["get", "info", "xlen"].map(str::to_owned));
    called
}

/// Goal: the list is complete, down to a branch that a script takes once a year, and has nothing that is not needed.
#[test]
fn the_acl_names_what_scripts_and_connections_need_and_no_more() {
    let mut needed = called_by_scripts();
    needed.extend(SENT_BY_CONNECTIONS.map(str::to_owned));
    assert_eq!(allowed(ENGINE), needed);
    needed.extend(SENT_BY_MOVES.map(str::to_owned));
    assert_eq!(allowed(MOVER), needed);
    assert_eq!(allowed(REPLICA), ["ping", "psync", "replconf"].map(str::to_owned).into());
    let patterns = |user: &str| -> Vec<String> {
        let is_pattern = |it: &String| it.contains(['~', '&', '%']) || it.ends_with("channels");
        rule(user).into_iter().filter(is_pattern).collect()
    };
    let keys: Vec<&str> = ["resetchannels"].into_iter().chain(KEYS).collect();
    assert_eq!(
        (patterns(ENGINE), patterns(MOVER)),
        (keys.clone().into_iter().map(str::to_owned).collect(), patterns(ENGINE))
    );
    assert_eq!(patterns(REPLICA), ["resetchannels"]);
}

/// Goal: whoever has the engine's password gets no command but the engine's, and no key but those of cells.
#[tokio::test]
async fn the_acl_refuses_every_other_command_and_key() {
    let (redis, ..) = redis(false).await;
    let mut observer = observer(&redis).await;
    let mut would = async |words: &[&str]| -> String {
        let mut command = redis::cmd("ACL");
        command.arg("DRYRUN").arg("firstcome").arg(words);
        command.query_async(&mut observer).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    };

    // As an intruder would go about it.
    let intrusions = "FLUSHALL|FLUSHDB|FLUSHALL ASYNC|CONFIG SET dir /tmp|CONFIG REWRITE|CONFIG RESETSTAT|DEBUG SLEEP 0|\
        SHUTDOWN NOSAVE|REPLICAOF 127.0.0.1 1|SLAVEOF NO ONE|MODULE LOAD /tmp/x.so|MODULE LIST|FUNCTION LOAD x|\
        FUNCTION DELETE x|FUNCTION FLUSH|FCALL x 0|SCRIPT FLUSH|SCRIPT KILL|EVAL_RO x 0|KEYS *|KEYS {c0}:*|MONITOR|\
        ACL SETUSER firstcome +@all|ACL LIST|ACL WHOAMI|CLIENT KILL ID 1|CLIENT LIST|SAVE|BGSAVE|\
        SYNC|PSYNC ? -1|MIGRATE 127.0.0.1 1 {c0}:gate 0 1|RESTORE {c0}:x 0 x|DUMP {c0}:gate|SWAPDB 0 1|\
        RENAME {c0}:gate {c0}:x|COPY {c0}:gate {c0}:x|MOVE {c0}:gate 1|EXPIRE {c0}:gate 1|SUBSCRIBE x|PUBLISH x y|\
        FAILOVER|CLUSTER RESET|CLUSTER FAILOVER|CLUSTER NODES|CLUSTER SETSLOT 1 STABLE|CLUSTER FORGET x|\
        CLUSTER MEET 127.0.0.1 1|ASKING|READONLY|LATENCY RESET|SLOWLOG GET|MEMORY DOCTOR|XSETID {c0}:events 9-9|\
        SORT {c0}:due BY nosort GET *|BLPOP {c0}:x 0|WAIT 1 0|MULTI|EXEC";
    for intrusion in intrusions.split('|') {
        let words: Vec<&str> = intrusion.split_whitespace().collect();
        let answer = would(&words).await;
        assert!(answer.contains("no permissions to run the"), "{intrusion}: {answer}");
    }

    // Every command that this server knows, whatever its release has added.
    let mut asked = 0;
    let known: Vec<redis::Value> = redis::cmd("COMMAND")
        .query_async(&mut connect(&with_user(&redis.url(), "observer")).await)
        .await
        .unwrap();
    let mut commands: Vec<(String, usize)> = Vec::new();
    for command in &known {
        let redis::Value::Array(parts) = command else { panic!("{command:?}") };
        let Some(redis::Value::Array(subcommands)) = parts.get(9) else { panic!("{command:?}") };
        // A command with subcommands is none by itself.
        let alone = subcommands.is_empty().then(|| name_and_words(command));
        commands.extend(alone.into_iter().chain(subcommands.iter().map(name_and_words)));
    }
    for (name, length) in commands {
        let mut words: Vec<&str> = name.split('|').collect();
        words.resize(words.len().max(length), "{c0}:x");
        if allowed(ENGINE).contains(&name) || FOR_EVERYBODY.contains(&name.as_str()) {
            continue;
        }
        let answer = would(&words).await;
        assert!(answer.contains("no permissions to run the"), "{words:?}: {answer}");
        asked += 1;
    }
    assert!(asked > 250, "{asked} commands");

    // What it may do, it may do to cells only.
    for (reading, writing) in
        [("GET $", "SET $ x"), ("HGET $ x", "HSET $ x y"), ("XRANGE $ - +", "XADD $ * x y")]
    {
        for command in [reading, writing] {
            for foreign in FOREIGN {
                let words: Vec<&str> =
                    command.split(' ').map(|it| if it == "$" { foreign } else { it }).collect();
                let answer = would(&words).await;
                assert!(answer.contains("no permissions to access"), "{words:?}: {answer}");
            }
            for own in ["{c0}:x", "{c7}:x", "{c42}:x", "{c999}:x", "{c1023}:user:1"] {
                let words: Vec<&str> =
                    command.split(' ').map(|it| if it == "$" { own } else { it }).collect();
                assert_eq!(would(&words).await, "OK", "{words:?}");
            }
        }
    }
    let answer = would(&["EVAL", "return 1", "2", "{c0}:gate", "{cart}:1"]).await;
    assert!(answer.contains("no permissions to access"), "{answer}");
}

/// A command's name, and how many words it has at least.
fn name_and_words(command: &redis::Value) -> (String, usize) {
    let redis::Value::Array(parts) = command else { panic!("{command:?}") };
    let name: String = redis::from_redis_value_ref(&parts[0]).unwrap();
    let arity: i64 = redis::from_redis_value_ref(&parts[1]).unwrap();
    (name, arity.unsigned_abs() as usize)
}

/// Goal: a script is no way around the list: what it calls is looked at, too.
#[tokio::test]
async fn a_script_may_do_no_more_than_its_caller() {
    let (redis, ..) = redis(false).await;
    let mut engine = connect(&with_user(&redis.url(), "firstcome")).await;
    for body in [
        "return redis.call('FLUSHALL')",
        "return redis.call('TYPE', '{c0}:gate')",
        "return redis.call('KEYS', '*')",
        "return redis.call('SET', 'gate', '9')",
        "return redis.call('GET', '{cart}:1')",
        "return redis.call('RENAME', '{c0}:gate', '{c0}:x')",
        "return redis.call('XADD', 'events', '*', 'x', 'y')",
    ] {
        let answer: Result<redis::Value, _> =
            redis::cmd("EVAL").arg(body).arg(0).query_async(&mut engine).await;
        let error = answer.expect_err(body).to_string();
        assert!(
            error.contains("The user executing the script") || error.contains("ACL failure"),
            "{body}: {error}"
        );
    }
    let stranger: Result<String, _> = redis::cmd("PING").query_async(&mut anonymous(&redis).await).await;
    assert!(stranger.expect_err("nobody gets in without a password").to_string().contains("NOAUTH"));
    for password in ["", "secret", "default"] {
        let mut stranger = anonymous(&redis).await;
        let answer: Result<String, _> =
            redis::cmd("AUTH").arg("default").arg(password).query_async(&mut stranger).await;
        assert!(answer.is_err(), "the default user gets in with {password:?}");
    }
}

/// A connection that says nothing of itself.
async fn anonymous(redis: &PrivateRedis) -> MultiplexedConnection {
    connect(&redis.url()).await
}
