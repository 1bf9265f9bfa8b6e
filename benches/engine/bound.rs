//! What the machine's cores could do if every part cost only what it costs alone.

use crate::cases::Found;
use crate::load::Load;
use crate::row::Row;
use crate::table::thousands;
use crate::unit_costs::{self, UnitCost};

/// A part that did worse than the others by this much, compared with the prototype, is marked.
const WORSE: f64 = 0.85;

/// Parts of an order until it is accepted, and until it is confirmed.
const BURST: [&str; 3] = [unit_costs::GENERATOR, unit_costs::HANDLER, unit_costs::SCRIPT_DURABLE];
const SUSTAINED: [&str; 5] = [
    unit_costs::GENERATOR,
    unit_costs::HANDLER,
    unit_costs::SCRIPT_DURABLE,
    unit_costs::ROWS,
    unit_costs::MESSAGES,
];

/// One row for each part. A part whose ratio to the prototype's figure is over 15 % below the median of such ratios is
/// marked: in one run the machine's mood is the same for all.
pub fn unit_rows(units: &[UnitCost]) -> Vec<Row> {
    let against = |unit: &UnitCost| unit.expected_per_second.map(|it| unit.per_second / it);
    let mut ratios: Vec<f64> = units.iter().filter_map(against).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or(1.0);
    let rows = units.iter().map(|unit| {
        let mut row = Row::new("unit costs, each part alone", unit.name);
        row.per_second = Some(unit.per_second);
        row.cpu_us = unit.cpu_us.clone();
        if let (Some(expected), Some(ratio)) = (unit.expected_per_second, against(unit)) {
            row.remark(format!("{ratio:.2} of the prototype's {}/s", thousands(expected)));
            row.marked = ratio < WORSE * median;
            if row.marked {
                row.remark(format!("the others {median:.2}"));
            }
        }
        row
    });
    rows.collect()
}

/// Microseconds of the processor for an order in each part; none where one was not measured.
fn costs_of(units: &[UnitCost], parts: &[&str]) -> Option<Vec<f64>> {
    parts.iter().map(|part| units.iter().find(|it| it.name == *part).map(UnitCost::us)).collect()
}

/// Orders a second on all cores, and the sum that it comes from. A part that runs on one core bounds it too.
fn bound(units: &[UnitCost], parts: &[&str]) -> Option<(f64, String)> {
    let costs = costs_of(units, parts)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    // Redis and the generator have one thread.
    let alone =
        units.iter().filter(|it| [unit_costs::GENERATOR, unit_costs::SCRIPT_DURABLE].contains(&it.name));
    let longest = alone.map(UnitCost::us).fold(0.0, f64::max);
    let each = (costs.iter().sum::<f64>() / cores).max(longest);
    let told = costs.iter().map(|it| format!("{it:.1}")).collect::<Vec<_>>().join(" + ");
    Some((1e6 / each, format!("{told} µs for each order, over {cores} cores")))
}

/// The bounds, and the engine against them and against the alternative.
pub fn rows(units: &[UnitCost], found: &Found, alternative: Option<&[Load; 2]>) -> Vec<Row> {
    const SECTION: &str = "ratios";
    let mut rows = Vec::new();
    let mut ratio = |name: &str, of: Option<f64>, to: Option<f64>| {
        if let (Some(of), Some(to)) = (of, to)
            && to > 0.0
        {
            let mut row = Row::new(SECTION, name);
            row.ratio = Some(of / to);
            row.remark(format!("{} / {}", thousands(of), thousands(to)));
            rows.push(row);
        }
    };
    let hot = found.burst.as_ref().map(Load::per_second);
    let spread = found.burst_spread.as_ref().map(Load::per_second);
    let (burst_bound, sustained_bound) = (bound(units, &BURST), bound(units, &SUSTAINED));
    ratio("burst ÷ its bound", hot, burst_bound.as_ref().map(|it| it.0));
    ratio("sustained ÷ its bound", found.sustained, sustained_bound.as_ref().map(|it| it.0));
    // Without the time in which nobody computes: a disk that is slow, or a machine that others use.
    let parts_us = |parts: &[&str]| costs_of(units, parts).map(|it| it.iter().sum::<f64>());
    let burst_us = found.burst.as_ref().map(Load::cpu_us_in_all);
    ratio(
        "burst ÷ its bound, by processor time (µs of the parts / of the engine)",
        parts_us(&BURST),
        burst_us,
    );
    let sustained_us = found.sustained_us;
    ratio("sustained ÷ its bound, by processor time", parts_us(&SUSTAINED), sustained_us);
    let evalsha = units.iter().find(|it| it.name == unit_costs::EVALSHA).map(|it| it.per_second);
    ratio("burst ÷ handler with one EVALSHA", hot, evalsha);
    ratio("burst: one hot product ÷ 1,000 products", hot, spread);
    let usual = |index: usize| alternative.map(|it| it[index].per_second());
    ratio("burst ÷ row locks, one hot product", hot, usual(0));
    ratio("burst ÷ row locks, 1,000 products", spread, usual(1));
    ratio("sustained ÷ row locks, one hot product", found.sustained, usual(0));
    let bounds = [("bound of the burst", burst_bound), ("bound of what is sustained", sustained_bound)];
    let bounds = bounds.into_iter().filter_map(|(name, bound)| {
        let (per_second, told) = bound?;
        let mut row = Row::new("bound: if every part cost only its unit cost", name);
        row.per_second = Some(per_second);
        row.remark(told);
        Some(row)
    });
    bounds.collect::<Vec<_>>().into_iter().chain(rows).collect()
}
