//! The answer of the scripts that pay for an order or end it.

use std::fmt;

use crate::cell::Seq;
use crate::money::Amount;
use crate::order::OrderFacts;
use crate::time::Millis;

/// An order as it was when it was paid or ended: what the caller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledOrder {
    pub seq: Seq,
    pub at_ms: Millis,
    /// What the wallet held afterwards, where money moved.
    pub balance: Option<Amount>,
    pub facts: OrderFacts,
}

impl fmt::Display for SettledOrder {
    /// As [`SettledOrder::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seq, at_ms, balance, facts } = self;
        match balance {
            Some(balance) => write!(f, "{seq} {at_ms} {balance} {facts}"),
            None => write!(f, "{seq} {at_ms} - {facts}"),
        }
    }
}

impl SettledOrder {
    /// Reads `<seq> <at_ms> <balance or -> <facts>`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Self {
            seq: words.next()?.parse().ok()?,
            at_ms: words.next()?.parse().ok()?,
            balance: match words.next()? {
                "-" => None,
                amount => Some(amount.parse().ok()?),
            },
            facts: OrderFacts::parse(words)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_and_without_money() {
        let facts = "7 30 0 0 1000 2000 - 1:0:1:30:0";
        let cancelled = SettledOrder::parse(&format!("9 1500 - {facts}")).unwrap();
        assert_eq!((cancelled.seq, cancelled.at_ms, cancelled.balance), (9, 1_500, None));
        assert_eq!(SettledOrder::parse(&format!("9 1500 70 {facts}")).unwrap().balance, Some(70));
        assert_eq!(SettledOrder::parse(facts), None);
        assert_eq!(cancelled.to_string(), format!("9 1500 - {facts}"));
    }
}
