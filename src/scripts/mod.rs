//! The Rust half of `lua/`: one typed binding per script, and what they share.

pub mod acknowledged;
pub mod audit_members;
pub mod audit_read;
pub mod audit_sales;
pub mod audit_scan;
pub mod balance_charge;
pub mod balance_get;
mod batch;
pub mod clock_read;
pub mod cluster;
pub mod connect;
pub mod copies_due;
pub mod copies_made;
pub mod coupon_forget;
pub mod coupon_issue;
pub mod coupon_list;
pub mod coupon_release;
pub mod coupon_set;
pub mod events_read;
pub mod events_trim;
pub mod fence;
mod follow;
pub mod idempotency_read;
pub mod key_note;
pub mod keys;
pub mod load;
pub mod order_end;
pub mod order_get;
pub mod order_pay;
pub mod order_place;
pub mod orders_due;
pub mod product_delete;
pub mod product_list;
pub mod product_restock;
pub mod product_set;
pub mod quota_ask;
pub mod quota_gifts;
pub mod quota_give;
pub mod quota_read;
pub mod quota_settle;
pub mod quota_take;
pub mod ranking_page;
pub mod ranking_roll;
pub mod ranking_scores;
pub mod ranking_top;
pub mod recovery;
pub mod reply;
pub mod script_error;
mod sentinel;
pub mod servers;
pub mod settled;
mod text;
pub mod user_create;
mod vouched;

pub use load::{ScriptError, Scripts};
pub use text::{Script, loaded_text};

use crate::cell::CellId;
use crate::idempotency::Idempotency;
use crate::ids::UserId;

/// The declared key and the arguments of a request's idempotency key: fingerprint, key.
fn idempotency_parts(cell: CellId, scope: Option<UserId>, of: Option<&Idempotency>) -> (String, &str, &str) {
    match of {
        Some(it) => (keys::idempotency(cell, scope, &it.key), it.fingerprint.as_str(), it.key.as_str()),
        None => (keys::no_idempotency(cell), "", ""),
    }
}

/// The arguments of a request's idempotency key, where the script builds the key's own: fingerprint, key.
fn idempotency_args(of: Option<&Idempotency>) -> [&str; 2] {
    of.map_or(["", ""], |it| [it.fingerprint.as_str(), it.key.as_str()])
}
