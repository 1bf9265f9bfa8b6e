//! The header of a script is its contract: it has all its parts, and its binding knows its outcomes.

use std::collections::BTreeSet;
use std::path::Path;

use firstcome::scripts::Script;
use firstcome::scripts::reply::header_outcomes;

/// Words in quotes at the beginning of a match arm: `"PAID" =>`.
fn matched_outcomes(binding: &str) -> BTreeSet<String> {
    let arms = binding.lines().filter(|it| it.trim_start().starts_with('"') && it.contains("=>"));
    let words = arms.filter_map(|it| it.split('"').nth(1)).filter(|it| !it.is_empty());
    words.map(str::to_owned).collect()
}

#[test]
fn every_binding_matches_the_outcomes_of_its_header() {
    for script in Script::ALL {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/scripts/{}.rs", script.stem()));
        let binding =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let in_header: BTreeSet<String> = header_outcomes(*script).map(str::to_owned).collect();
        assert!(!in_header.is_empty(), "{} names no outcome", script.stem());
        assert_eq!(in_header, matched_outcomes(&binding), "{}", script.stem());
    }
}

#[test]
fn every_outcome_is_returned_and_every_returned_word_is_in_the_header() {
    for script in Script::ALL {
        let body = script.text().lines().filter(|it| !it.starts_with("--")).collect::<Vec<_>>().join("\n");
        let mut in_header: BTreeSet<&str> = header_outcomes(*script).collect();
        for outcome in &in_header {
            assert!(body.contains(&format!("'{outcome}'")), "{} never answers {outcome}", script.stem());
        }
        in_header.insert("CLOSED");
        for returned in body.split("return {'").skip(1).filter_map(|it| it.split('\'').next()) {
            assert!(
                in_header.contains(returned),
                "{} answers {returned}, which its header does not name",
                script.stem()
            );
        }
    }
}

#[test]
fn every_header_has_its_sections_and_checks_come_before_writes() {
    let lua = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    let files = [lua.clone(), lua.join("recovery")];
    let files = files.iter().flat_map(|it| std::fs::read_dir(it).unwrap().flatten()).map(|it| it.path());
    for path in files.filter(|it| it.extension().is_some_and(|it| it == "lua")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (shebang, rest) = text.split_once('\n').unwrap();
        assert!(["#!lua", "#!lua flags=allow-oom"].contains(&shebang), "{stem} begins with {shebang}");
        assert!(rest.starts_with(&format!("-- {stem}: ")), "{stem} begins with its name and one sentence");
        for section in ["-- KEYS\n", "-- RETURNS  {", "-- EFFECTS", "-- RETRY"] {
            assert!(text.contains(section), "{stem} lacks {section:?}");
        }
    }
    for script in Script::ALL {
        // What appends is refused up front when Redis is out of memory; everything else must still run.
        let appends = script.text().contains("redis.call('XADD'");
        assert_eq!(script.text().starts_with("#!lua\n"), appends, "{}", script.stem());
        let lines: Vec<&str> = script.text().lines().filter(|it| !it.starts_with("--")).collect();
        let Some(first_event) = lines.iter().position(|it| it.contains("redis.call('XADD'")) else {
            continue;
        };
        let writes =
            ["HSET", "HINCRBY", "HDEL", "'SET'", "ZADD", "DEL'", "UNLINK", "ZREM", "ZINCRBY", "XTRIM"];
        for line in &lines[..first_event] {
            assert!(
                !writes.iter().any(|it| line.contains(it)),
                "{} writes before its event: {line}",
                script.stem()
            );
        }
        assert_eq!(lines.iter().filter(|it| it.contains("'XADD'")).count(), 1, "{}", script.stem());
        assert!(lines[first_event].contains("NOMKSTREAM"), "{} could begin a new log", script.stem());
    }
}
