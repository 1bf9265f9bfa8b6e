//! Coupons as buyers see them.

use serde_json::{Value, json};

use crate::coupon::{Coupon, OwnCoupon};
use crate::http::coupons::{ClaimBody, Claimed, IssueBody, ReleaseBody, Released, ValidCoupon};
use crate::http::openapi::call::{Access, Call, Noun, Parameter};
use crate::http::problem::ProblemKind::{
    CouponAlreadyIssued, CouponExpired, CouponNotFound, CouponNotStarted, CouponSoldOut, OrderNotFound,
    OrderNotPayable, UserNotFound,
};

pub fn calls() -> Vec<Call> {
    let order = || json!({"$ref": "#/components/schemas/OrderId"});
    vec![
        Call::get("/coupons", "list_coupons", "The campaigns, by id")
            .of(Noun::Coupons, Access::Known)
            .pages::<Coupon>(
                "One page",
                json!([{
                    "couponId": 1, "name": "Opening", "discount": {"kind": "percent", "value": 10, "maxAmount": 5_000},
                    "minOrderAmount": 10_000, "quantity": 1_000, "remaining": 999,
                    "startsAt": "2026-11-20T11:00:00.000Z", "endsAt": "2036-11-20T12:00:00.000Z",
                    "expiresAt": "2036-12-31T15:00:00.000Z",
                }]),
            )
            .tagged(),
        Call::post("/coupons", "claim_coupon", "Take one unit of a coupon, for a user who exists")
            .of(Noun::Coupons, Access::Owner)
            .takes::<ClaimBody>([("a claim", json!({"userId": 1, "couponId": 1}))])
            .answers::<Claimed>(201, "Issued", claimed())
            .refuses(&[
                CouponNotFound,
                UserNotFound,
                CouponNotStarted,
                CouponExpired,
                CouponAlreadyIssued,
                CouponSoldOut,
            ]),
        Call::post("/coupons/{couponId}/issue", "issue_coupon", "Take one unit of a coupon; makes a missing user")
            .of(Noun::Coupons, Access::Owner)
            .takes::<IssueBody>([("a claim", json!({"userId": 1}))])
            .answers::<Claimed>(201, "Issued", claimed())
            .refuses(&[CouponNotFound, CouponNotStarted, CouponExpired, CouponAlreadyIssued, CouponSoldOut]),
        Call::get("/users/{userId}/coupons", "list_coupons_of_user", "A user's coupons, newest first")
            .says("Read from MySQL: it may lag 100 ms.")
            .of(Noun::Coupons, Access::Owner)
            .asks(Parameter::new(
                "status",
                "Only those",
                json!({"$ref": "#/components/schemas/OwnCouponStatus"}),
                "issued",
            ))
            .pages::<OwnCoupon>(
                "One page",
                json!([{
                    "couponId": 1, "name": "Opening", "discount": {"kind": "percent", "value": 10, "maxAmount": 5_000},
                    "status": "used", "orderId": 6_144, "issuedAt": "2026-11-20T11:00:00.000Z",
                    "expiresAt": "2036-12-31T15:00:00.000Z",
                }]),
            )
            .refuses(&[UserNotFound]),
        Call::get("/coupons/valid", "list_valid_coupons", "The buyer's coupons that a pending order could use")
            .of(Noun::Coupons, Access::Buyer)
            .asks(Parameter::new("orderId", "Which order", order(), 5_120).required())
            .lists::<ValidCoupon>(
                "All of them, best first; none where the order is not pending",
                json!([{"couponId": 1, "name": "Opening", "discountAmount": 1_200, "payable": 10_800}]),
            )
            .refuses(&[OrderNotFound]),
        Call::post("/coupons/{couponId}/cancel", "release_coupon", "Let a pending order go of its coupon")
            .of(Noun::Coupons, Access::Buyer)
            .takes::<ReleaseBody>([("an order", json!({"orderId": 5_120}))])
            .answers::<Released>(200, "Let go of", json!({"couponId": 1, "orderId": 5_120, "status": "issued"}))
            .refuses(&[OrderNotFound, CouponNotFound, OrderNotPayable]),
    ]
}

fn claimed() -> Value {
    json!({
        "couponId": 1, "userId": 1, "discount": {"kind": "percent", "value": 10, "maxAmount": 5_000},
        "status": "issued", "issuedAt": "2026-11-20T11:00:00.000Z", "expiresAt": "2036-12-31T15:00:00.000Z",
    })
}
