//! Orders and payments.

use serde_json::{Value, json};

use crate::http::openapi::call::{Access, Call, Noun, Parameter};
use crate::http::orders::{OrderAnswer, OrderBody};
use crate::http::payments::PaymentBody;
use crate::http::problem::ProblemKind::{
    InsufficientBalance, InvalidCoupon, NotYetPersisted, OrderNotCancellable, OrderNotFound, OrderNotPayable,
    OrderNotRefundable, OutOfStock, ProductNotFound, PurchaseLimitExceeded, SaleNotOpen, UserNotFound,
};
use crate::order::Order;

pub fn calls() -> Vec<Call> {
    let status = json!({"$ref": "#/components/schemas/OrderStatus"});
    vec![
        Call::post("/orders", "place_order", "Place an order, all or nothing, and pay for it now or later")
            .says(
                "Items that name one product and option twice are added up. `payment: now` takes stock, coupon \
                 and money in one step; `later` takes the stock and holds the coupon until `expiresAt`. A \
                 refusal changes nothing.",
            )
            .of(Noun::Orders, Access::Owner)
            .takes::<OrderBody>([
                ("paid at once", json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]})),
                (
                    "paid later, with a coupon",
                    json!({
                        "userId": 1, "items": [{"productId": 2, "optionId": 1, "quantity": 1}], "couponId": 1,
                        "payment": "later",
                    }),
                ),
            ])
            .answers::<OrderAnswer>(201, "Placed, and paid unless it is to be paid later", with_balance(paid()))
            .with("Location")
            .leads_to("get_order", "orderId", "orderId")
            .leads_to("pay", "orderId", "orderId")
            .leads_to("cancel_order", "orderId", "orderId")
            .leads_to("refund_order", "orderId", "orderId")
            .leads_to("list_orders", "userId", "userId")
            .refuses(&[
                UserNotFound,
                ProductNotFound,
                SaleNotOpen,
                PurchaseLimitExceeded,
                OutOfStock,
                InvalidCoupon,
                InsufficientBalance,
            ]),
        Call::post("/payments", "pay", "Pay for a pending order")
            .says("Paying for a paid order answers with the first payment.")
            .of(Noun::Orders, Access::Buyer)
            .takes::<PaymentBody>([
                ("as it is", json!({"orderId": 6_144})),
                ("with another coupon", json!({"orderId": 6_144, "couponId": 1})),
            ])
            .answers::<OrderAnswer>(200, "Paid", with_balance(paid_later()))
            .refuses(&[OrderNotFound, InsufficientBalance, InvalidCoupon, OrderNotPayable, NotYetPersisted]),
        Call::get("/orders/{orderId}", "get_order", "One order")
            .of(Noun::Orders, Access::Buyer)
            .answers::<Order>(200, "The order as it stands", paid())
            .refuses(&[OrderNotFound]),
        Call::get("/users/{userId}/orders", "list_orders", "A user's orders, newest first")
            .says("Read from MySQL: it may lag 100 ms.")
            .of(Noun::Orders, Access::Owner)
            .asks(Parameter::new("status", "Only those", status, "paid"))
            .pages::<Order>("One page", json!([paid()]))
            .refuses(&[UserNotFound]),
        Call::post("/orders/{orderId}/cancel", "cancel_order", "Cancel a pending order")
            .of(Noun::Orders, Access::Buyer)
            .takes_nothing()
            .answers::<OrderAnswer>(200, "Cancelled: stock, coupon and limit are given back", cancelled())
            .refuses(&[OrderNotFound, OrderNotCancellable, NotYetPersisted]),
        Call::post("/orders/{orderId}/refund", "refund_order", "Refund a paid order, whole")
            .of(Noun::Orders, Access::Refunder)
            .takes_nothing()
            .answers::<OrderAnswer>(
                200,
                "Refunded: money, stock, coupon and limit are given back",
                with_balance(refunded()),
            )
            .refuses(&[OrderNotFound, OrderNotRefundable, NotYetPersisted]),
    ]
}

fn paid() -> Value {
    json!({
        "orderId": 6_144, "userId": 1, "status": "paid",
        "items": [{"productId": 1, "quantity": 1, "unitPrice": 12_000}],
        "total": 12_000, "discount": 0, "paid": 12_000,
        "placedAt": "2026-11-20T11:00:01.000Z", "paidAt": "2026-11-20T11:00:01.000Z",
    })
}

fn paid_later() -> Value {
    let mut order = paid();
    order["expiresAt"] = "2026-11-20T11:10:01.000Z".into();
    order["paidAt"] = "2026-11-20T11:02:00.000Z".into();
    order
}

fn refunded() -> Value {
    let mut order = paid();
    order["status"] = "refunded".into();
    order["refundedAt"] = "2026-11-21T09:00:00.000Z".into();
    order
}

fn cancelled() -> Value {
    json!({
        "orderId": 5_120, "userId": 1, "status": "cancelled",
        "items": [{"productId": 2, "optionId": 1, "quantity": 1, "unitPrice": 29_000}],
        "total": 29_000, "discount": 2_900, "paid": 0, "couponId": 1,
        "placedAt": "2026-11-20T11:00:00.000Z", "expiresAt": "2026-11-20T11:10:00.000Z",
        "cancelledAt": "2026-11-20T11:05:00.000Z",
    })
}

fn with_balance(mut order: Value) -> Value {
    order["balance"] = 38_000.into();
    order
}
