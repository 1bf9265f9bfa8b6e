//! Which outcomes the sequences must come to.

use firstcome::scripts::Script;
use firstcome::scripts::reply::header_outcomes;

/// Scripts of which all outcomes are wanted: they are for several cells only.
const WHOLE: [Script; 8] = [
    Script::QuotaAsk,
    Script::QuotaGive,
    Script::QuotaTake,
    Script::QuotaSettle,
    Script::QuotaRead,
    Script::QuotaGifts,
    Script::CopiesDue,
    Script::CopiesMade,
];

/// Outcomes that other scripts have in several cells only; `model::outcomes` has the rest.
const OF_SEVERAL: [(Script, &str); 7] = [
    (Script::ProductSet, "KNOWN"),
    (Script::ProductSet, "OTHER_LIFE"),
    (Script::ProductDelete, "NEWER"),
    (Script::ProductRestock, "SHORT"),
    (Script::CouponForget, "NEWER"),
    (Script::CouponSet, "KNOWN"),
    (Script::CouponSet, "OTHER_LIFE"),
];

pub fn wanted() -> impl Iterator<Item = (String, String)> {
    let whole = WHOLE.iter().flat_map(|script| header_outcomes(*script).map(|word| (*script, word)));
    whole.chain(OF_SEVERAL).map(|(script, word)| (script.stem().to_owned(), word.to_owned()))
}
