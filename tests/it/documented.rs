//! The served OpenAPI document, as a judge of answers: what a call answers with must be documented for it.

use std::collections::{BTreeSet, HashMap};

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};

use super::test_app::{Answer, TestApp};

/// Headers that an answer has only where the document lists them.
const TELLING_HEADERS: [&str; 7] = [
    "etag",
    "location",
    "link",
    "idempotency-replayed",
    "preference-applied",
    "retry-after",
    "www-authenticate",
];

pub struct Documented {
    document: Value,
    /// By call, status and content type.
    schemas: HashMap<(String, u16, String), Validator>,
}

impl Documented {
    pub async fn by(app: &TestApp) -> Self {
        let answer = app.get("/openapi.json").await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("application/json")));
        Self { document: answer.body, schemas: HashMap::new() }
    }

    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Method and path of every call.
    pub fn calls(&self) -> Vec<(Method, String)> {
        let paths = self.document["paths"].as_object().unwrap();
        let calls = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|it| (it.to_uppercase().parse().unwrap(), path.clone()))
        });
        calls.collect()
    }

    /// The statuses and codes that a call is documented with, as words.
    pub fn answers(&self, method: &Method, path: &str) -> BTreeSet<String> {
        let mut answers = BTreeSet::new();
        for (status, response) in self.operation(method, path)["responses"].as_object().unwrap() {
            let schema = &response["content"]["application/problem+json"]["schema"];
            match schema["properties"]["code"]["enum"].as_array() {
                None => answers.insert(status.clone()),
                Some(codes) => codes.iter().all(|it| answers.insert(it.as_str().unwrap().to_owned())),
            };
        }
        answers
    }

    fn operation(&self, method: &Method, path: &str) -> &Value {
        let operation = &self.document["paths"][path][method.as_str().to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not documented");
        operation
    }

    /// Fails unless a call is documented with this answer: status, content type, body, headers.
    pub fn assert_lists(&mut self, method: &Method, path: &str, answer: &Answer, story: &str) {
        let status = answer.status.as_u16();
        let response = self.operation(method, path)["responses"][status.to_string()].clone();
        assert!(response.is_object(), "{story}: {method} {path} is not documented with {status}: {answer:?}");
        let listed: BTreeSet<String> =
            response["headers"].as_object().unwrap().keys().map(|it| it.to_lowercase()).collect();
        for name in TELLING_HEADERS.iter().filter(|it| answer.header(it).is_some()) {
            assert!(listed.contains(*name), "{story}: {name} is not documented: {answer:?}");
        }
        for (name, header) in response["headers"].as_object().unwrap() {
            let header = self.document.pointer(&header["$ref"].as_str().unwrap()[1..]).unwrap();
            let missing = header["required"] == true && answer.header(&name.to_lowercase()).is_none();
            assert!(!missing, "{story}: {name} is missing: {answer:?}");
        }
        let Some(content_type) = answer.header("content-type") else {
            assert!(response.get("content").is_none(), "{story}: no body: {answer:?}");
            return;
        };
        let schema = &response["content"][content_type]["schema"];
        assert!(schema.is_object(), "{story}: {content_type} is not documented for {status}");
        let key = (format!("{method} {path}"), status, content_type.to_owned());
        let components = &self.document["components"];
        let validator = self.schemas.entry(key).or_insert_with(|| {
            let schema = json!({"components": components, "allOf": [schema]});
            jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
        });
        let faults: Vec<String> = validator.iter_errors(&answer.body).map(|it| it.to_string()).collect();
        assert!(faults.is_empty(), "{story}: {method} {path} {status}: {faults:?}: {answer:?}");
    }
}
