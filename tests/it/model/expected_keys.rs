//! What Redis must hold: every key of the cell, as the table in docs/architecture.md describes them. Nothing more: a key
//! that stays behind is a leak.

use std::collections::BTreeMap;

use firstcome::cell::CellId;
use firstcome::coupon::IssueState;
use firstcome::ids::OptionId;
use firstcome::ids::UserId;
use firstcome::order::OrderStatus;
use firstcome::product::SkuId;
use firstcome::scripts::keys;

use super::super::cell_dump::Dump;
use super::rules::{Model, Terms};

const CELL: CellId = CellId(0);

/// Collects fields and members under their keys.
#[derive(Default)]
struct Keys {
    hashes: BTreeMap<String, BTreeMap<String, String>>,
    zsets: BTreeMap<String, Vec<(i64, String)>>,
}

impl Keys {
    fn field(&mut self, key: &str, field: impl ToString, value: impl ToString) {
        self.hashes.entry(key.to_owned()).or_default().insert(field.to_string(), value.to_string());
    }

    fn optional(&mut self, key: &str, field: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.field(key, field, value);
        }
    }

    fn terms(&mut self, key: &str, terms: Terms) {
        self.optional(key, "starts_at_ms", terms.starts_at_ms);
        self.optional(key, "ends_at_ms", terms.ends_at_ms);
        self.optional(key, "limit", terms.limit);
    }

    fn member(&mut self, key: String, score: i64, member: impl ToString) {
        self.zsets.entry(key).or_default().push((score, member.to_string()));
    }

    fn into_dump(self) -> Dump {
        let mut dump = Dump::new();
        for (key, fields) in self.hashes {
            let fields = fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            dump.insert(key, ("hash".to_owned(), fields, -1));
        }
        for (key, mut members) in self.zsets {
            members.sort();
            let words = members.into_iter().flat_map(|(score, member)| [member, score.to_string()]).collect();
            dump.insert(key, ("zset".to_owned(), words, -1));
        }
        dump
    }
}

impl Model {
    /// All keys of the cell but the gate and the event log.
    pub fn expected_keys(&self) -> Dump {
        let mut expected = Keys::default();
        for (user, balance) in &self.wallets {
            expected.field(&keys::user(CELL, *user), "balance", balance);
        }
        self.catalogue_keys(&mut expected);
        self.campaign_keys(&mut expected);
        self.order_keys(&mut expected);
        for ((hour, product), units) in &self.sold {
            expected.member(keys::hour_sales(CELL, *hour), -units, keys::sold_member(*product));
        }
        for (product, units) in self.rolling() {
            expected.member(keys::rolling_sales(CELL), -units, keys::sold_member(product));
        }
        expected.optional(&keys::sales(CELL), "rolled_to", self.rolled_to);
        let mut dump = expected.into_dump();
        for ((user, key), record) in self.records.iter().filter(|(_, it)| it.until_ms >= self.now_ms) {
            let key = firstcome::idempotency::IdempotencyKey::new(key).expect("it was used as one");
            let text = format!("{} {}", record.fingerprint.as_str(), record.text);
            let key = keys::idempotency(CELL, UserId::new(*user).ok(), &key);
            dump.insert(key, ("string".to_owned(), vec![text], record.until_ms));
        }
        dump
    }

    fn catalogue_keys(&self, expected: &mut Keys) {
        let list = |options: &mut dyn Iterator<Item = &OptionId>| {
            options.map(OptionId::to_string).collect::<Vec<_>>().join(",")
        };
        for (product, listed) in &self.products {
            expected.member(keys::products(CELL), product.get() as i64, product);
            let key = keys::product(CELL, *product);
            expected.field(&key, "name", &listed.name);
            expected.field(&key, "options", list(&mut listed.options.iter()));
            expected.field(&key, "set_at_ms", listed.set_at_ms);
            expected.field(&key, "born", listed.born);
            expected.terms(&key, listed.terms);
            if !listed.unlisted.is_empty() {
                expected.field(&key, "unlisted", list(&mut listed.unlisted.iter()));
            }
            if !listed.options.contains(&OptionId::NONE) {
                let none = SkuId { product: *product, option: OptionId::NONE };
                expected.field(&keys::sku(CELL, none), "has_options", 1);
            }
        }
        for (id, sku) in &self.skus {
            let key = keys::sku(CELL, *id);
            expected.field(&key, "name", &sku.name);
            expected.field(&key, "remaining", sku.remaining);
            expected.field(&key, "initial", sku.initial);
            expected.optional(&key, "price", sku.price);
            expected.terms(&key, sku.terms);
        }
        for ((product, user), units) in &self.bought {
            expected.field(&keys::bought(CELL, *product), user, units);
        }
    }

    fn campaign_keys(&self, expected: &mut Keys) {
        for (coupon, campaign) in &self.campaigns {
            expected.member(keys::coupons(CELL), coupon.get() as i64, coupon);
            let key = keys::coupon(CELL, *coupon);
            expected.field(&key, "name", &campaign.name);
            expected.field(&key, "kind", campaign.discount.kind());
            expected.optional(&key, "max_amount", campaign.discount.max_amount());
            expected.optional(&key, "min_order", campaign.min_order);
            for (field, value) in [
                ("value", campaign.discount.value()),
                ("quantity", campaign.quantity),
                ("remaining", campaign.remaining),
                ("starts_at_ms", campaign.starts_at_ms),
                ("ends_at_ms", campaign.ends_at_ms),
                ("expires_at_ms", campaign.expires_at_ms),
                ("set_at_ms", campaign.set_at_ms),
            ] {
                expected.field(&key, field, value);
            }
        }
        for (id, issue) in &self.issues {
            let text = match issue.state {
                IssueState::Issued => format!("issued {}", issue.at_ms),
                IssueState::Held(order) => format!("held {} {order}", issue.at_ms),
                IssueState::Used(order) => format!("used {} {order}", issue.at_ms),
            };
            expected.field(&keys::issues(CELL, id.coupon), id.user, text);
        }
    }

    fn order_keys(&self, expected: &mut Keys) {
        for (id, order) in self.orders.iter().filter(|(_, it)| it.is_held) {
            let key = keys::order(CELL, *id);
            expected.field(&key, "status", order.status.as_str());
            expected.field(&key, "facts", &order.facts);
            expected.optional(&key, "ended_at_ms", order.ended_at_ms);
            if let Some(paid) = &order.payment {
                let balance = paid.balance.expect("money moved");
                let text = format!("{} {} {balance} {}", paid.seq, paid.at_ms, paid.facts);
                expected.field(&key, "payment", text);
            }
            match order.status {
                OrderStatus::Pending => {
                    let deadline = order.facts.expires_at_ms.expect("it is to be paid later");
                    expected.member(keys::due(CELL), deadline, id);
                }
                _ => expected.member(keys::settled(CELL), order.last as i64, id),
            }
        }
    }
}
