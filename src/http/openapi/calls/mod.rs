//! Every call of the API, in tables by noun: what the document says of each.

mod admin;
mod coupons;
mod operations;
mod orders;
mod products;
mod users;

use super::call::Call;

/// All calls, in the order of the contract.
pub fn all() -> Vec<Call> {
    [
        users::calls(),
        products::calls(),
        coupons::calls(),
        orders::calls(),
        admin::calls(),
        operations::calls(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
