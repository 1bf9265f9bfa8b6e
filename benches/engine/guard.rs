//! The guard against growing dearer, which does not depend on the machine's speed: ratios of what was measured in one
//! run, compared with those that are committed in `recorded.json`.

use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::cases::Found;
use crate::row::Row;
use crate::unit_costs::{self, UnitCost};

/// A ratio of processor times, and how far a run may lie above it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Recorded {
    name: String,
    ratio: f64,
    tolerance_percent: f64,
}

/// For a new ratio. Four short runs, on a busy machine and on a quiet one, were up to 6 % apart in scripts and up to 20 %
/// in the others; what depends more than that on how busy the machine is, is not compared.
const OF_SCRIPTS_PERCENT: f64 = 15.0;
const OF_PROCESSES_PERCENT: f64 = 25.0;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/engine/recorded.json")
}

/// What this run's parts give.
fn ratios(units: &[UnitCost], found: &Found) -> Vec<Recorded> {
    let unit = |name: &str| units.iter().find(|it| it.name == name).map(UnitCost::us);
    let api = found.burst.as_ref().map(|it| it.cpu_us_of("api"));
    let evalsha = units.iter().find(|it| it.name == unit_costs::EVALSHA);
    let evalsha = evalsha.and_then(|it| it.cpu_us.iter().find(|it| it.0 == "handler")).map(|it| it.1);
    let (empty, order, rows) = (unit(unit_costs::EMPTY), unit(unit_costs::SCRIPT), unit(unit_costs::ROWS));
    let all = [
        ("order script ÷ empty script", order, empty, OF_SCRIPTS_PERCENT),
        (
            "order script with a key ÷ empty script",
            unit(unit_costs::SCRIPT_WITH_KEY),
            empty,
            OF_SCRIPTS_PERCENT,
        ),
        ("claim script ÷ empty script", unit(unit_costs::CLAIM), empty, OF_SCRIPTS_PERCENT),
        ("API node per order ÷ handler with one EVALSHA", api, evalsha, OF_PROCESSES_PERCENT),
        ("rows of an order ÷ order script", rows, order, OF_PROCESSES_PERCENT),
    ];
    let known = all.into_iter().filter_map(|(name, of, to, tolerance_percent)| {
        let (of, to) = (of?, to.filter(|it| *it > 0.0)?);
        Some(Recorded { name: name.to_owned(), ratio: of / to, tolerance_percent })
    });
    known.collect()
}

/// One row for each ratio of this run; what grew dearer than its tolerance is marked.
pub fn rows(units: &[UnitCost], found: &Found, record: bool) -> anyhow::Result<Vec<Row>> {
    let now = ratios(units, found);
    let text = std::fs::read_to_string(path()).unwrap_or_else(|_| "[]".to_owned());
    let mut recorded: Vec<Recorded> = serde_json::from_str(&text).context("recorded.json")?;
    if record {
        for ratio in &now {
            match recorded.iter_mut().find(|it| it.name == ratio.name) {
                Some(known) => known.ratio = ratio.ratio,
                None => recorded.push(ratio.clone()),
            }
        }
        for it in &mut recorded {
            it.ratio = (it.ratio * 100.0).round() / 100.0;
        }
        std::fs::write(path(), serde_json::to_string_pretty(&recorded)? + "\n")?;
    }
    let rows = now.iter().map(|it| {
        let mut row = Row::new("guard: processor time, in this run", it.name.as_str());
        row.ratio = Some(it.ratio);
        match recorded.iter().find(|known| known.name == it.name) {
            None => row.remark("not recorded: BENCH_RECORD=1 records it"),
            Some(known) => {
                let dearer = 100.0 * (it.ratio / known.ratio - 1.0);
                let (recorded, tolerance) = (known.ratio, known.tolerance_percent);
                if dearer > tolerance {
                    row.marked = true;
                    row.remark(format!("{} got {dearer:.0} % dearer than recorded ({recorded:.2})", it.name));
                } else {
                    row.remark(format!(
                        "recorded {recorded:.2}, {dearer:+.0} % (up to +{tolerance:.0} % is noise)"
                    ));
                }
            }
        }
        row
    });
    Ok(rows.collect())
}
