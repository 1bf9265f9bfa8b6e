//! Products as buyers see them, and what sells.

use serde_json::json;

use crate::http::openapi::call::{Access, Call, Noun, Parameter};
use crate::http::problem::ProblemKind::ProductNotFound;
use crate::http::products::StockCheck;
use crate::order::QUANTITY_MAX;
use crate::product::Product;
use crate::ranking::{RANKED_DEFAULT, RANKED_MAX, RankedProduct};

pub fn calls() -> Vec<Call> {
    let mug = || json!({"id": 1, "name": "Mug", "price": 12_000, "stock": 100, "options": []});
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
    let quantity = json!({"type": "integer", "minimum": 1, "maximum": QUANTITY_MAX, "default": 1});
    let option = json!({"$ref": "#/components/schemas/OptionId"});
    vec![
        Call::get("/products", "list_products", "What is listed, by id")
            .of(Noun::Products, Access::Known)
            .asks(Parameter::new(
                "available",
                "`true`: only what can be bought now",
                json!({"type": "boolean", "default": false}),
                true,
            ))
            .pages::<Product>(
                "One page; with `available` it can be short, and the list still go on",
                json!([mug(), shirt()]),
            )
            .tagged(),
        top("/products/top", "top_products"),
        top("/products/rank", "rank_products").says("An alias of `GET /products/top`."),
        Call::get("/products/{productId}", "get_product", "One product")
            .of(Noun::Products, Access::Known)
            .answers::<Product>(200, "The product", shirt())
            .refuses(&[ProductNotFound]),
        Call::get("/products/{productId}/stock-check", "check_stock", "Whether units could be bought now")
            .of(Noun::Products, Access::Known)
            .asks(Parameter::new("quantity", "How many units", quantity, 1))
            .asks(Parameter::new("optionId", "Of a product with options: which", option, 1))
            .answers::<StockCheck>(
                200,
                "Whether so many are in stock, in the product's sale window",
                json!({"productId": 2, "optionId": 1, "quantity": 1, "available": true, "stock": 10}),
            )
            .refuses(&[ProductNotFound]),
    ]
}

fn top(path: &'static str, id: &'static str) -> Call {
    let limit = json!({"type": "integer", "minimum": 1, "maximum": RANKED_MAX, "default": RANKED_DEFAULT});
    let source = json!({"enum": ["ranking", "orders"], "default": "ranking"});
    Call::get(path, id, "What sold most in the running UTC hour and the 71 before it")
        .of(Noun::Products, Access::Known)
        .asks(Parameter::new("limit", "Most products", limit, RANKED_DEFAULT))
        .asks(Parameter::new(
            "source",
            "`ranking`: the sorted set. `orders`: computed from the order rows in MySQL",
            source,
            "ranking",
        ))
        .lists::<RankedProduct>(
            "Most units sold first, ties by lower id",
            json!([{"rank": 1, "id": 1, "name": "Mug", "price": 12_000, "stock": 99, "sold": 1}]),
        )
        .tagged()
}
