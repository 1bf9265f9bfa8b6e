//! The catalogue and the campaigns, for administrators.

use serde_json::json;

use crate::coupon::Coupon;
use crate::http::admin_audit::AuditAnswer;
use crate::http::admin_coupons::CouponBody;
use crate::http::admin_products::{ProductBody, RestockBody, Restocked};
use crate::http::openapi::call::{Access, Call, Noun};
use crate::http::problem::ProblemKind::{NotYetPersisted, ProductNotFound};
use crate::product::Product;

pub fn calls() -> Vec<Call> {
    let shirt = || {
        json!({
            "id": 2, "name": "Shirt", "price": 29_000, "stock": 30,
            "options": [
                {"id": 1, "name": "S", "price": 29_000, "stock": 10},
                {"id": 2, "name": "L", "price": 31_000, "stock": 20},
            ],
            "saleStartsAt": "2026-11-20T11:00:00.000Z", "saleEndsAt": "2036-11-20T12:00:00.000Z",
            "limitPerUser": 2,
        })
    };
    let coupon = || {
        json!({
            "couponId": 1, "name": "Opening", "discount": {"kind": "percent", "value": 10, "maxAmount": 5_000},
            "minOrderAmount": 10_000, "quantity": 1_000, "remaining": 1_000,
            "startsAt": "2026-11-20T11:00:00.000Z", "endsAt": "2036-11-20T12:00:00.000Z",
            "expiresAt": "2036-12-31T15:00:00.000Z",
        })
    };
    let audit = || {
        json!({
            "clean": false,
            "checked": {
                "wallets": 10_000, "ledgerEntries": 41_318, "skus": 31, "coupons": 2, "couponIssues": 1_000,
                "rankedProducts": 12, "redisKeys": 10_033, "orders": 31_318, "payments": 31_318,
                "messages": 31_318,
            },
            "differences": [{"kind": "wallet", "id": "7", "redis": "900", "mysql": "1000"}],
        })
    };
    vec![
        Call::put("/admin/products/{productId}", "set_product", "List a product, or replace what is described")
            .says(
                "`stock` is the initial stock of a new product or option: the same value again changes nothing, \
                 another one is refused (restock instead). Options that are left out stop selling.",
            )
            .of(Noun::Admin, Access::Admin)
            .takes::<ProductBody>([
                ("without options", json!({"name": "Mug", "price": 12_000, "stock": 100})),
                (
                    "with options, a sale window and a limit",
                    json!({
                        "name": "Shirt",
                        "options": [
                            {"id": 1, "name": "S", "price": 29_000, "stock": 10},
                            {"id": 2, "name": "L", "price": 31_000, "stock": 20},
                        ],
                        "saleStartsAt": "2026-11-20T20:00:00+09:00", "saleEndsAt": "2036-11-20T21:00:00+09:00",
                        "limitPerUser": 2,
                    }),
                ),
            ])
            .answers::<Product>(201, "Listed", shirt())
            .with("Location")
            .leads_to("get_product", "productId", "id")
            .leads_to("restock", "productId", "id")
            .leads_to("delete_product", "productId", "id")
            .answers::<Product>(200, "Replaced", shirt())
            .refuses(&[ProductNotFound]),
        Call::post("/admin/products/{productId}/stock", "restock", "Add units to what is left, or take some away")
            .of(Noun::Admin, Access::Admin)
            .takes::<RestockBody>([("five more", json!({"delta": 5}))])
            .answers::<Restocked>(200, "What is left now", json!({"stock": 105}))
            .refuses(&[ProductNotFound]),
        Call::delete("/admin/products/{productId}", "delete_product", "Take a product off the list for good")
            .says("Orders keep it.")
            .of(Noun::Admin, Access::Admin)
            .gives(204, "No longer listed or sold", [])
            .refuses(&[ProductNotFound]),
        Call::put("/admin/coupons/{couponId}", "set_coupon", "Open a campaign, or change what it says")
            .says(
                "`startsAt` and `endsAt` bound issuing, `expiresAt` (default `endsAt`) ends use. `startsAt` is \
                 before `endsAt`; `quantity` is not below what was issued.",
            )
            .of(Noun::Admin, Access::Admin)
            .takes::<CouponBody>([
                (
                    "a percentage",
                    json!({
                        "name": "Opening", "discount": {"kind": "percent", "value": 10, "maxAmount": 5_000},
                        "minOrderAmount": 10_000, "quantity": 1_000,
                        "startsAt": "2026-11-20T20:00:00+09:00", "endsAt": "2036-11-20T21:00:00+09:00",
                        "expiresAt": "2037-01-01T00:00:00+09:00",
                    }),
                ),
                (
                    "an amount",
                    json!({
                        "name": "Welcome", "discount": {"kind": "fixed", "value": 1_000}, "quantity": 1_000,
                        "startsAt": "2026-11-20T20:00:00+09:00", "endsAt": "2036-11-20T21:00:00+09:00",
                    }),
                ),
            ])
            .answers::<Coupon>(201, "Opened", coupon())
            .leads_to("issue_coupon", "couponId", "couponId")
            .answers::<Coupon>(200, "Changed", coupon()),
        Call::post("/admin/audit", "run_audit", "Compare Redis, MySQL and the outbox, while the shop sells")
            .says(
                "The answer takes as long as the audit does: seconds for each million rows. At most 1,000 \
                 differences are listed. `redis` is `-` where MySQL alone does not add up.",
            )
            .of(Noun::Admin, Access::Admin)
            .only_reads()
            .takes_nothing()
            .answers::<AuditAnswer>(200, "What it found", audit())
            .refuses(&[NotYetPersisted]),
    ]
}
