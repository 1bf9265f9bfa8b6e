//! Which outcomes the scripts gave, as the engine itself counts them for its metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use firstcome::scripts::Script;
use firstcome::scripts::reply::header_outcomes;
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// How often each script gave each outcome.
pub type Seen = BTreeMap<(String, String), u64>;

/// Scripts that no operation calls.
const NOT_COVERED: [(Script, &str); 15] = [
    (Script::Fence, "called by the loader only"),
    (Script::AuditRead, "reads only, for the audit"),
    (Script::AuditScan, "reads only, for the audit"),
    (Script::AuditMembers, "reads only, for the audit"),
    (Script::AuditSales, "reads only, for the audit"),
    (Script::QuotaAsk, SEVERAL),
    (Script::QuotaGive, SEVERAL),
    (Script::QuotaTake, SEVERAL),
    (Script::QuotaSettle, SEVERAL),
    (Script::QuotaRead, SEVERAL),
    (Script::QuotaGifts, SEVERAL),
    (Script::CopiesDue, SEVERAL),
    (Script::CopiesMade, SEVERAL),
    (Script::RankingPage, SEVERAL),
    (Script::RankingScores, SEVERAL),
];

/// Why: this model is of one cell.
const SEVERAL: &str = "with several cells only; tests/it/model_cells has those";

/// Outcomes that no sequence comes to.
const CANNOT_OCCUR: [(Script, &str, &str); 8] = [
    (Script::ProductSet, "TOO_MANY_OPTIONS", "takes more than 1,000 options in one product's life"),
    (Script::ProductSet, "KNOWN", SEVERAL),
    (Script::ProductSet, "OTHER_LIFE", SEVERAL),
    (Script::ProductDelete, "NEWER", SEVERAL),
    (Script::ProductRestock, "SHORT", SEVERAL),
    (Script::CouponForget, "NEWER", SEVERAL),
    (Script::CouponSet, "KNOWN", SEVERAL),
    (Script::CouponSet, "OTHER_LIFE", SEVERAL),
];

/// Each script and outcome that the sequences must come to.
pub fn wanted() -> impl Iterator<Item = (String, String)> {
    let covered = Script::ALL.iter().filter(|it| !NOT_COVERED.iter().any(|(script, _)| script == *it));
    covered.flat_map(|script| {
        let outcomes = header_outcomes(*script);
        let possible =
            outcomes.filter(|word| !CANNOT_OCCUR.iter().any(|it| (it.0, it.1) == (*script, *word)));
        possible.map(|word| (script.stem().to_owned(), word.to_owned()))
    })
}

/// The words of the outcomes since they were last taken, in turn, and the script of each.
#[derive(Debug, Clone, Default)]
pub struct Outcomes(Arc<Mutex<Vec<(String, String)>>>);

impl Outcomes {
    pub fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.0.lock().expect("no panic while held"))
    }
}

/// One script's one outcome; each record is a call.
struct Told {
    word: (String, String),
    all: Outcomes,
}

impl HistogramFn for Told {
    fn record(&self, _: f64) {
        self.all.0.lock().expect("no panic while held").push(self.word.clone());
    }
}

impl Recorder for Outcomes {
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() != "firstcome_script_duration_seconds" {
            return Histogram::noop();
        }
        let label = |name| key.labels().find(|it| it.key() == name).map(|it| it.value().to_owned());
        let word = (label("script").unwrap_or_default(), label("outcome").unwrap_or_default());
        Histogram::from_arc(Arc::new(Told { word, all: self.clone() }))
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
}
