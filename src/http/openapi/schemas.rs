//! Schemas of what serde reads and writes by hand; all others are derived beside their types.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::call::{Collect, collect};
use crate::coupon::Discount;
use crate::http::fields::{DiscountKind, Int, Integer, NAME_MAX, Payment, Time};
use crate::ids::{CouponId, ID_MAX, OptionId, OrderId, ProductId, UserId};
use crate::money::Amount;

/// Adds the ids, which parameters refer to whether or not a body does.
pub const IDS: [Collect; 5] =
    [collect::<UserId>, collect::<ProductId>, collect::<OptionId>, collect::<CouponId>, collect::<OrderId>];

/// A schema that refers to no other.
macro_rules! plain {
    ($($name:ty: $schema:expr;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

plain! {
    UserId: id("Who buys. Given by the caller.");
    ProductId: id("What is listed. Given by the caller.");
    CouponId: id("A limited pool of discounts. Given by the caller.");
    OptionId: id("A variant of a product. Given by the caller.");
    OrderId: id("One order. Given by the engine.");
    Integer: ObjectBuilder::new().schema_type(Type::Integer).build();
    Payment: words(&["now", "later"])
        .description(Some("`now` (default): placed and paid in one step. `later`: placed, and paid by `POST /payments`."))
        .build();
    DiscountKind: words(&["fixed", "percent"]).build();
    // The years 1970 to 9999, less the days at both ends where the offset decides.
    Time: time().pattern(Some("^(197[1-9]|19[89]|[2-8]|9[0-8]|99[0-8]|999[0-8])[0-9]*-")).build();
}

impl<const MIN: i64, const MAX: i64> PartialSchema for Int<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        integer(MIN, MAX).into()
    }
}

impl<const MIN: i64, const MAX: i64> ToSchema for Int<MIN, MAX> {
    fn name() -> Cow<'static, str> {
        format!("IntFrom{MIN}To{MAX}").into()
    }
}

/// What a coupon takes off the total of an order; never more than the total.
#[derive(ToSchema)]
#[schema(as = Discount, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
struct ShownDiscount {
    kind: DiscountKind,
    /// Minor units of a fixed discount; whole percent of the order's total, rounded down, of the other kind.
    #[schema(minimum = 1)]
    value: i64,
    /// Most that a percentage takes off.
    #[schema(minimum = 1)]
    max_amount: Option<Amount>,
}

impl PartialSchema for Discount {
    fn schema() -> RefOr<Schema> {
        ShownDiscount::schema()
    }
}

impl ToSchema for Discount {
    fn schemas(to: &mut Vec<(String, RefOr<Schema>)>) {
        ShownDiscount::schemas(to);
    }
}

/// The discount of a coupon that was just issued: an amount where it is fixed, or an object.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub enum AmountOrDiscount {
    /// What a fixed discount takes off, in minor units.
    Amount(Amount),
    Percent(Discount),
}

/// Of a product, an option or a campaign.
pub fn name() -> Schema {
    let name = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(NAME_MAX));
    name.pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]*$")).build().into()
}

fn id(description: &str) -> Schema {
    let id = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1_u64)).maximum(Some(ID_MAX));
    id.description(Some(description)).build().into()
}

fn integer(least: i64, most: i64) -> Schema {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)).maximum(Some(most)).build().into()
}

fn words(words: &[&'static str]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied()))
}

fn time() -> ObjectBuilder {
    let time = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    time.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}
