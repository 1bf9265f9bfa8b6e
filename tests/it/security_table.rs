//! Promise: the table in SECURITY.md names tests that exist, and that run.

use std::collections::BTreeSet;
use std::process::Command;

/// Goal: no row is without a test, and no named test is missing, renamed or switched off.
#[test]
fn every_test_of_the_table_runs() {
    let text = include_str!("../../SECURITY.md");
    let table = text.split_once("## What proves it").expect("the table").1;
    let rows: Vec<&str> = table.lines().filter(|it| it.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 14, "{rows:#?}");
    // This program's own list, as the harness will run it.
    let list = |ignored: &[&str]| {
        let this = std::env::current_exe().unwrap();
        let output = Command::new(this).args(["--list", "--format", "terse"]).args(ignored).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().filter_map(|it| it.strip_suffix(": test")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (all, ignored) = (list(&[]), list(&["--ignored"]));
    assert!(all.len() > 150, "{}", all.len());
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit_once("| ").expect("three columns").1;
        let named: Vec<&str> = tests.split(", ").map(|it| it.trim_matches('`')).collect();
        assert!(!named.is_empty());
        for test in named {
            assert!(all.contains(test), "{test} is in SECURITY.md, and is no test");
            assert!(!ignored.contains(test), "{test} is in SECURITY.md, and does not run");
        }
    }
}
