//! Campaigns as administrators describe them.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::caller::Caller;
use super::fields::{DiscountKind, Int, Object, Time, check_name};
use super::json::Json;
use super::openapi;
use super::path::Path;
use super::problem::{Fault, Problem};
use crate::across::catalogue;
use crate::coupon::{Coupon, CouponDescription, Discount};
use crate::ids::CouponId;
use crate::money::{AMOUNT_MAX, COUPONS_MAX};
use crate::pool::Pool;
use crate::scripts::coupon_set::CouponSet;
use crate::time;

type Total = Int<0, AMOUNT_MAX>;
type Units = Int<0, COUPONS_MAX>;
type Worth = Int<1, AMOUNT_MAX>;

/// A campaign to open. `null` for `minOrderAmount` and `expiresAt` is the same as leaving them out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CouponBody {
    #[schema(schema_with = openapi::name)]
    name: String,
    #[schema(value_type = DiscountBody)]
    discount: Object<DiscountBody>,
    min_order_amount: Option<Total>,
    quantity: Units,
    starts_at: Time,
    ends_at: Time,
    expires_at: Option<Time>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiscountBody {
    kind: DiscountKind,
    value: Worth,
    max_amount: Option<Worth>,
}

/// Opens a campaign, or changes what it says.
pub async fn set_coupon(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<CouponId>,
    Json(body): Json<CouponBody>,
) -> Result<(StatusCode, Json<Coupon>), Problem> {
    let coupon = describe(id, body).map_err(Problem::invalid)?;
    caller.administers()?;
    let answer = catalogue::set_coupon(&app.scripts, &app.watermark, &app.desk, &coupon).await;
    // An answer that was lost may have been a success.
    app.sold_out.forget(Pool::Coupon(id));
    app.shared_reads.forget();
    let (status, issued) = match answer? {
        CouponSet::BelowIssued { issued } => {
            return Err(Problem::at("#/quantity", format!("must be at least {issued}: so many were issued")));
        }
        CouponSet::Created { issued, .. } => (StatusCode::CREATED, issued),
        CouponSet::Updated { issued, .. } => (StatusCode::OK, issued),
        CouponSet::Known | CouponSet::OtherLife => unreachable!("of copies, and this was the home cell"),
    };
    let shown = Coupon {
        coupon_id: id,
        remaining: coupon.quantity - issued,
        name: coupon.name,
        discount: coupon.discount,
        min_order_amount: coupon.min_order_amount,
        quantity: coupon.quantity,
        starts_at: time::from_millis(coupon.starts_at_ms),
        ends_at: time::from_millis(coupon.ends_at_ms),
        expires_at: time::from_millis(coupon.expires_at_ms),
    };
    Ok((status, Json(shown)))
}

/// Checks what one field's type cannot, and tells everything that is wrong at once.
fn describe(id: CouponId, body: CouponBody) -> Result<CouponDescription, Vec<Fault>> {
    let mut faults = Vec::new();
    check_name("#/name", &body.name, &mut faults);
    if body.starts_at.0 >= body.ends_at.0 {
        faults.push(Fault::at("#/endsAt", "must be later than startsAt"));
    }
    let Object(DiscountBody { kind, value, max_amount }) = body.discount;
    let discount = match kind {
        DiscountKind::Fixed => {
            if max_amount.is_some() {
                faults.push(Fault::at("#/discount/maxAmount", "must be left out: it bounds a percentage"));
            }
            Discount::Fixed(value.get())
        }
        DiscountKind::Percent => {
            if value.get() > 100 {
                faults.push(Fault::at("#/discount/value", "must be 1 to 100 percent"));
            }
            Discount::Percent { value: value.get(), max_amount: max_amount.map(Int::get) }
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(CouponDescription {
        id,
        name: body.name,
        discount,
        min_order_amount: body.min_order_amount.map(Int::get),
        quantity: body.quantity.get(),
        starts_at_ms: body.starts_at.0,
        ends_at_ms: body.ends_at.0,
        expires_at_ms: body.expires_at.unwrap_or(body.ends_at).0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(changes: serde_json::Value) -> Result<CouponDescription, Vec<Option<String>>> {
        let mut body = serde_json::json!({
            "name": "Opening", "discount": {"kind": "percent", "value": 10}, "quantity": 5,
            "startsAt": "2026-11-20T20:00:00+09:00", "endsAt": "2026-11-20T12:00:00Z"
        });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let body: CouponBody = serde_json::from_value(body).unwrap();
        describe(CouponId::new(1).unwrap(), body).map_err(|it| it.into_iter().map(|it| it.pointer).collect())
    }

    #[test]
    fn use_ends_with_issuing_unless_something_else_is_said() {
        let coupon = described(serde_json::json!({})).unwrap();
        assert_eq!(
            (coupon.ends_at_ms - coupon.starts_at_ms, coupon.expires_at_ms),
            (3_600_000, coupon.ends_at_ms)
        );
        let later = described(serde_json::json!({"expiresAt": "2026-12-01T00:00:00Z"})).unwrap();
        assert!(later.expires_at_ms > later.ends_at_ms);
    }

    #[test]
    fn all_faults_of_a_campaign_are_told_at_once() {
        let faults = described(serde_json::json!({
            "name": "", "endsAt": "2026-11-20T11:00:00Z", "discount": {"kind": "percent", "value": 101}
        }));
        let at = |it: &str| Some(it.to_owned());
        assert_eq!(faults, Err(vec![at("#/name"), at("#/endsAt"), at("#/discount/value")]));
        let fixed =
            described(serde_json::json!({"discount": {"kind": "fixed", "value": 500, "maxAmount": 5}}));
        assert_eq!(fixed, Err(vec![at("#/discount/maxAmount")]));
    }
}
