//! What deriving cannot say: rules that span fields, and limits that are constants or settings.

use serde_json::{Map, Value, json};

use crate::config::Settings;
use crate::money::AMOUNT_MAX;
use crate::order::ITEMS_MAX;
use crate::product::OPTIONS_MAX;

/// Refines the derived schemas of a document.
pub fn refine(document: &mut Value, settings: &Settings) {
    let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") else { return };
    for body in ["ChargeBody", "ChargeUserBody"] {
        let amount = json!({"type": "integer", "minimum": 1, "maximum": settings.charge_limit});
        schemas[body]["properties"]["amount"] = amount;
    }
    for (body, list, most) in [("OrderBody", "items", ITEMS_MAX), ("ProductBody", "options", OPTIONS_MAX)] {
        let list = &mut schemas[body]["properties"][list];
        (list["minItems"], list["maxItems"]) = (1.into(), most.into());
    }
    schemas["Discount"]["properties"]["value"]["maximum"] = AMOUNT_MAX.into();
    schemas["RestockBody"]["properties"]["delta"]["not"] = json!({"const": 0});
    schemas["ProductBody"] = product(&schemas["ProductBody"]);
    schemas["DiscountBody"] = discount(&schemas["DiscountBody"]);
    let bodies: Vec<String> = schemas.keys().filter(|it| it.ends_with("Body")).cloned().collect();
    for (name, schema) in schemas.iter_mut() {
        if !bodies.contains(name) {
            never_null(schema);
        }
    }
    let plain = take_plain(schemas);
    put_plain(document, &plain);
}

/// Either price and stock, or options that have their own.
fn product(schema: &Value) -> Value {
    let mut without_options = schema.clone();
    remove(&mut without_options, &["options"]);
    require(&mut without_options, "price");
    without_options["title"] = "without options".into();
    let mut with_options = schema.clone();
    remove(&mut with_options, &["price", "stock"]);
    require(&mut with_options, "options");
    with_options["title"] = "with options".into();
    json!({"oneOf": [without_options, with_options]})
}

/// An amount, or a percentage that can have a cap.
fn discount(schema: &Value) -> Value {
    let mut fixed = schema.clone();
    fixed["title"] = "fixed".into();
    fixed["properties"]["kind"] = json!({"const": "fixed"});
    fixed["properties"]["maxAmount"] = json!({"type": "null"});
    let mut percent = schema.clone();
    percent["title"] = "percent".into();
    percent["properties"]["kind"] = json!({"const": "percent"});
    percent["properties"]["value"] = json!({"type": "integer", "minimum": 1, "maximum": 100});
    json!({"oneOf": [fixed, percent]})
}

fn remove(schema: &mut Value, fields: &[&str]) {
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| !fields.contains(&name.as_str()));
    }
}

fn require(schema: &mut Value, field: &str) {
    if let Some(required) = schema["required"].as_array_mut() {
        required.push(field.into());
    }
}

/// What an answer does not have is left out of it, never `null`.
fn never_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|it| it != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("oneOf") {
                choices.retain(|it| it["type"] != "null");
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    object.remove("oneOf");
                    object.extend(only);
                }
            }
            object.values_mut().for_each(never_null);
        }
        Value::Array(items) => items.iter_mut().for_each(never_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes out numbers and texts that have no name of their own.
fn take_plain(schemas: &mut Map<String, Value>) -> Map<String, Value> {
    let is_plain = |it: &Value| {
        matches!(it["type"].as_str(), Some("integer" | "number" | "string" | "boolean"))
            && it.get("description").is_none()
    };
    let names: Vec<String> = schemas.iter().filter(|it| is_plain(it.1)).map(|it| it.0.clone()).collect();
    names.into_iter().filter_map(|name| schemas.remove(&name).map(|it| (name, it))).collect()
}

/// Writes them where they are referred to.
fn put_plain(value: &mut Value, plain: &Map<String, Value>) {
    match value {
        Value::Object(object) => {
            let named = object.get("$ref").and_then(|it| it.as_str()?.strip_prefix("#/components/schemas/"));
            if let Some(Value::Object(schema)) = named.and_then(|it| plain.get(it)) {
                object.remove("$ref");
                for (keyword, value) in schema {
                    object.entry(keyword).or_insert_with(|| value.clone());
                }
            }
            object.values_mut().for_each(|it| put_plain(it, plain));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| put_plain(it, plain)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
