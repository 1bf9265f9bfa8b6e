use std::collections::BTreeSet;

use jsonschema::Validator;

use super::*;

fn whole() -> Value {
    document(&Settings::default())
}

/// A schema of the document, with what it refers to.
fn validator(document: &Value, schema: &Value) -> Validator {
    let schema = json!({"components": document["components"], "allOf": [schema]});
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn assert_fits(document: &Value, schema: &Value, example: &Value, story: &str) {
    let faults: Vec<String> =
        validator(document, schema).iter_errors(example).map(|it| it.to_string()).collect();
    assert!(faults.is_empty(), "{story}: {faults:?}: {example}");
}

/// Calls `visit` with each object of a document, and the path to it.
fn walk(value: &Value, path: &str, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(path, object);
            object.iter().for_each(|(name, it)| walk(it, &format!("{path}/{name}"), visit));
        }
        Value::Array(items) => items.iter().for_each(|it| walk(it, path, visit)),
        _ => {}
    }
}

#[test]
fn every_route_is_documented_and_nothing_else() {
    let routes = include_str!("../mod.rs").lines();
    let routes = routes.filter_map(|it| it.trim().strip_prefix(".route(\"")?.split_once("\","));
    let mut served = BTreeSet::new();
    for (path, handlers) in routes {
        for method in ["get", "post", "put", "patch", "delete"] {
            if handlers.contains(&format!(" {method}(")) || handlers.contains(&format!(".{method}(")) {
                served.insert((method, path));
            }
        }
    }
    let calls = calls::all();
    let documented: BTreeSet<_> = calls.iter().map(|it| (it.method, it.path)).collect();
    assert_eq!(served, documented);
    assert_eq!(documented.len(), calls.len(), "a call is documented twice");
    let ids: BTreeSet<_> = calls.iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), calls.len(), "two calls have one id");
}

#[test]
fn the_document_is_openapi_3_1() {
    let document = whole();
    assert_eq!(document["openapi"], "3.1.0");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}: {schema}");
        validator(&document, schema);
    }
    let mut referred = BTreeSet::new();
    walk(&document, "#", &mut |path, object| {
        if let Some(target) = object.get("$ref") {
            let target = target.as_str().unwrap();
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{path} refers to {target}, which is not there");
            referred.insert(target.to_owned());
        }
        assert!(!path.ends_with("/responses/default"), "{path}");
    });
    for kind in ["schemas", "parameters", "headers"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(referred.contains(&format!("#/components/{kind}/{name}")), "nothing refers to {name}");
        }
    }
}

#[test]
fn examples_of_requests_are_read_by_their_calls() {
    let document = whole();
    for call in calls::all() {
        let Some(Body { schema, examples, read, .. }) = call.body else { continue };
        for (shows, example) in examples {
            let story = format!("{} {}: {shows}", call.method, call.path);
            assert!(read(example.to_string().as_bytes()).is_ok(), "{story}: {example}");
            let schema = &document["paths"][call.path][call.method]["requestBody"]["content"]["application/json"]
                ["schema"];
            assert_fits(&document, schema, &example, &story);
        }
        // Of a body with nothing but `userId` everything may be left out: a token says who it is.
        if !["cancel_order", "refund_order", "issue_coupon", "run_audit", "give_ticket"].contains(&call.id) {
            assert!(read(b"{}").is_err(), "{schema}");
        }
        assert!(read(b"{\"colour\": \"red\"}").is_err(), "{schema}");
    }
}

#[test]
fn examples_of_parameters_and_answers_fit_their_schemas() {
    let document = whole();
    let mut seen = 0;
    walk(&document["paths"], "", &mut |path, object| {
        let Some(schema) = object.get("schema") else { return };
        if let Some(example) = object.get("example") {
            assert_fits(&document, schema, example, path);
            seen += 1;
        }
        for (name, example) in object.get("examples").and_then(Value::as_object).into_iter().flatten() {
            let example = match example.get("$ref") {
                Some(target) => document.pointer(&target.as_str().unwrap()[1..]).unwrap(),
                None => example,
            };
            assert_fits(&document, schema, &example["value"], &format!("{path} {name}"));
            seen += 1;
        }
    });
    assert!(seen > 300, "{seen}");
}

/// Goal: schemas say what the code does: bodies that it refuses do not fit, those that it takes do.
#[test]
fn schemas_of_bodies_are_as_strict_as_the_code() {
    let document = whole();
    let open = json!({"name": "A", "discount": {"kind": "fixed", "value": 1}, "quantity": 1,
        "startsAt": "2026-11-20T20:00:00+09:00", "endsAt": "2036-11-20T21:00:00Z"});
    let with = |changes: Value| {
        let mut body = open.clone();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    let option = json!({"id": 1, "name": "S", "price": 1});
    let cases = [
        ("OrderBody", json!({"userId": 1, "items": [{"productId": 1, "quantity": 1000}]}), true),
        (
            "OrderBody",
            json!({"userId": 1, "couponId": null, "items": [{"productId": 1, "optionId": null, "quantity": 1}]}),
            true,
        ),
        ("OrderBody", json!({"userId": 1, "items": []}), false),
        ("OrderBody", json!({"userId": 1, "items": vec![json!({"productId": 1, "quantity": 1}); 51]}), false),
        ("OrderBody", json!({"userId": 1, "items": [{"productId": 1, "quantity": 1001}]}), false),
        ("OrderBody", json!({"userId": 0, "items": [{"productId": 1, "quantity": 1}]}), false),
        ("OrderBody", json!({"userId": 1, "items": [{"productId": 1, "quantity": 1, "x": 1}]}), false),
        (
            "OrderBody",
            json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}], "payment": "never"}),
            false,
        ),
        (
            "OrderBody",
            json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}], "payment": null}),
            false,
        ),
        ("OrderBody", json!({"items": [{"productId": 1, "quantity": 1}]}), true),
        ("ProductBody", json!({"name": "A", "price": 0}), true),
        ("ProductBody", json!({"name": "A", "price": 0, "saleEndsAt": null, "limitPerUser": null}), true),
        ("ProductBody", json!({"name": "A", "options": [option]}), true),
        ("ProductBody", json!({"name": "A"}), false),
        ("ProductBody", json!({"name": "A", "price": 1, "options": [option]}), false),
        ("ProductBody", json!({"name": "A", "options": []}), false),
        ("ProductBody", json!({"name": "A", "price": null}), false),
        ("ProductBody", json!({"name": "", "price": 0}), false),
        ("ProductBody", json!({"name": "a\u{7}b", "price": 0}), false),
        ("ProductBody", json!({"name": "머".repeat(200), "price": 0}), true),
        ("ProductBody", json!({"name": "머".repeat(201), "price": 0}), false),
        ("ProductBody", json!({"name": "A", "price": 1_000_000_001}), false),
        ("ProductBody", json!({"name": "A", "price": 1, "limitPerUser": 0}), false),
        ("CouponBody", open.clone(), true),
        ("CouponBody", with(json!({"discount": {"kind": "percent", "value": 100, "maxAmount": null}})), true),
        ("CouponBody", with(json!({"discount": {"kind": "percent", "value": 101}})), false),
        ("CouponBody", with(json!({"discount": {"kind": "fixed", "value": 101, "maxAmount": 5}})), false),
        ("CouponBody", with(json!({"discount": null})), false),
        ("CouponBody", with(json!({"minOrderAmount": null, "expiresAt": null})), true),
        ("CouponBody", with(json!({"startsAt": "2026-11-20"})), false),
        ("CouponBody", with(json!({"startsAt": "1969-12-31T00:00:00Z"})), false),
        ("RestockBody", json!({"delta": -5}), true),
        ("RestockBody", json!({"delta": 0}), false),
        ("ChargeBody", json!({"amount": 1.5}), false),
        ("PaymentBody", json!({"orderId": 1024, "couponId": null}), true),
        ("ReleaseBody", json!({"orderId": null}), false),
    ];
    for (name, body, fits) in cases {
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        assert_eq!(validator(&document, &schema).is_valid(&body), fits, "{name}: {body}");
        // The parser of the call that takes it agrees, but for what handlers check behind it.
        let read =
            calls::all().into_iter().filter_map(|it| it.body).find(|it| it.schema == schema).unwrap().read;
        assert!(!fits || read(body.to_string().as_bytes()).is_ok(), "{name}: {body}");
    }
}

#[test]
fn limits_and_addresses_are_those_of_the_settings() {
    let settings =
        Settings { charge_limit: 77, public_url: "https://shop.example/".to_owned(), ..Settings::default() };
    let document = document(&settings);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["ChargeBody"]["properties"]["amount"]["maximum"], 77);
    assert_eq!(document["servers"][0]["url"], "https://shop.example");
    let example = &document["components"]["examples"]["out_of_stock"]["value"];
    assert_eq!(example["type"], "https://shop.example/problems/out_of_stock");
}
