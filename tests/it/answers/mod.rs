//! Promise: every call gives every answer that the contract lists for it, and no other, in Korean and in English.
//! A table names the calls of a noun with their answers, and fails when a listed one was not seen.

pub mod anywhere;
mod audits;
mod campaigns;
mod claims;
mod coupon_orders;
mod deadlines;
mod documented;
mod endings;
mod held_coupons;
mod methods;
mod orders;
mod payment_coupons;
mod payments;
mod pending;
mod products;
mod ranking;
mod settled_keys;
mod stock;
mod users;
mod usual;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::cell_dump::Dump;
use super::contract::{Request, assert_told};
use super::documented::Documented;
use super::test_app::{Answer, TestApp};

/// Long over: the beginning of a window, and its end.
const PAST: &str = "2020-01-01T00:00:00.000Z";
const ENDED: &str = "2020-01-02T00:00:00.000Z";

/// Not to come in the life of a test: the beginning of a window, and its end.
const BEGINS: &str = "2036-01-01T00:00:00.000Z";
const FUTURE: &str = "2037-01-01T00:00:00.000Z";

/// Headers of successes that mean something to a client: each is expected, or must be absent.
const TELLING_HEADERS: [&str; 6] =
    ["location", "link", "idempotency-replayed", "preference-applied", "allow", "retry-after"];

/// Members that every problem has.
const PROBLEM_MEMBERS: [&str; 6] = ["type", "title", "status", "detail", "code", "requestId"];

/// A call of the contract.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Method and path.
    line: &'static str,
    /// What the contract lists for this call: statuses of successes, codes of problems.
    listed: &'static str,
    /// A body that is well formed, where the call takes one.
    body: Option<&'static str>,
    /// Its query parameters.
    query: &'static [&'static str],
    /// Whether it changes nothing, though it is a `POST`: then it takes no key.
    only_reads: bool,
}

impl Call {
    const fn new(line: &'static str, listed: &'static str) -> Self {
        Self { line, listed, body: None, query: &[], only_reads: false }
    }

    const fn taking(self, body: &'static str) -> Self {
        Self { body: Some(body), ..self }
    }

    const fn asking(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    const fn only_reading(self) -> Self {
        Self { only_reads: true, ..self }
    }

    fn method(&self) -> Method {
        self.line.split_once(' ').unwrap().0.parse().unwrap()
    }

    fn path(&self) -> &'static str {
        self.line.split_once(' ').unwrap().1
    }

    fn is_list(&self) -> bool {
        self.query.contains(&"cursor")
    }

    /// Names of the ids in its path.
    fn ids(&self) -> Vec<&'static str> {
        self.path().split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}')).collect()
    }

    /// Its path with `1` for every id, and a query that it cannot do without.
    fn sample_path(&self) -> String {
        let path = self.ids().into_iter().fold(self.path().to_owned(), |path, id| {
            // Order 1 would be one of a cell that there is not.
            path.replace(&format!("{{{id}}}"), if id == "orderId" { "1024" } else { "1" })
        });
        match self.query {
            ["userId"] => path + "?userId=1",
            ["orderId"] => path + "?orderId=1024",
            _ => path,
        }
    }

    /// A request that is well formed.
    fn sample(&self) -> Request {
        let request = Request::new(self.method(), self.sample_path());
        match self.body {
            None => request,
            Some(body) => request.saying(body),
        }
    }

    /// Every answer that the contract allows: those listed, and those of its general rules. What closed cells
    /// and full nodes say is not among them.
    fn answers(&self) -> BTreeSet<String> {
        let mut answers: BTreeSet<String> = self.listed.split(' ').map(str::to_owned).collect();
        let mut add = |answer: &str| answers.insert(answer.to_owned());
        if self.body.is_some() || !self.query.is_empty() || !self.ids().is_empty() {
            add("invalid_request");
        }
        if self.body.is_some() {
            add("unsupported_media_type");
            add("payload_too_large");
        }
        if self.is_list() {
            add("200 next");
        }
        if self.method() == Method::POST && !self.only_reads {
            add("idempotency_key_reused");
            add(&format!("{} replayed", &self.listed[..3]));
        }
        answers
    }

    fn is_asked_by(&self, request: &Request) -> bool {
        let path = request.path.split('?').next().unwrap_or_default();
        let same = |(own, asked): (&str, &str)| own == asked || own.starts_with('{');
        self.method() == request.method
            && self.path().split('/').count() == path.split('/').count()
            && self.path().split('/').zip(path.split('/')).all(same)
    }
}

/// The calls of the whole contract.
fn all_calls() -> Vec<&'static Call> {
    let shop = [users::CALLS, products::CALLS, ranking::CALLS, campaigns::CALLS, orders::CALLS];
    let paid_later = [payments::CALLS, endings::CALLS, held_coupons::CALLS, audits::CALLS];
    shop.into_iter().chain(paid_later).flatten().collect()
}

/// A shop that is asked, and what it answered.
pub struct Table {
    pub app: TestApp,
    /// Whose answers are to be complete in the end.
    calls: &'static [Call],
    /// What the OpenAPI document says; `None` in stories, whose calls the tables have judged.
    documented: Option<Documented>,
    /// Call and answer.
    given: BTreeSet<(&'static str, String)>,
    cases: usize,
}

impl Table {
    pub async fn of(calls: &'static [Call]) -> Self {
        let app = TestApp::start().await;
        let documented = Some(Documented::by(&app).await);
        Self { calls, documented, ..Self::on(app) }
    }

    /// Of a story on an engine of its own.
    pub fn on(app: TestApp) -> Self {
        Self { app, calls: &[], documented: None, given: BTreeSet::new(), cases: 0 }
    }

    /// Asks for what succeeds, and compares status, body (see [`assert_body`]), and that no header tells more.
    pub async fn gives(&mut self, story: &str, request: Request, status: u16, body: Value) -> Answer {
        self.gives_with(story, request, status, &[], body).await
    }

    /// The same with headers, of which `*` is any value. Reads are asked in both languages.
    pub async fn gives_with(
        &mut self,
        story: &str,
        request: Request,
        status: u16,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let story = format!("{story}: {request}");
        let answer = request.accepting(&self.app, Some("en")).await;
        assert_eq!(answer.status, status, "{story}: {answer:?}");
        for name in TELLING_HEADERS {
            let expected = headers.iter().find(|it| it.0 == name).map(|it| it.1);
            let given = answer.header(name);
            let same = expected == given || (expected == Some("*") && given.is_some());
            assert!(same, "{story}: {name} is {given:?}, not {expected:?}");
        }
        let content_type = (status != 204).then_some("application/json");
        assert_eq!(answer.header("content-type"), content_type, "{story}");
        assert!(answer.header("x-request-id").is_some_and(|it| !it.is_empty()), "{story}: {answer:?}");
        assert_body(&answer.body, &body, &story);
        if request.method == Method::GET {
            assert_eq!(request.accepting(&self.app, Some("ko")).await.body, answer.body, "{story}");
        }
        let replayed = answer.header("idempotency-replayed").map_or("", |_| " replayed");
        let next = answer.header("link").map_or("", |_| " next");
        self.note(&request, format!("{status}{replayed}{next}"), &answer);
        answer
    }

    /// Asks in both languages for what is refused. Goal: the contract's words, no member but those that all
    /// problems have, and nothing in Redis has changed.
    pub async fn refuses(&mut self, story: &str, request: Request, code: &str) {
        self.refuses_with(story, request, code, json!({})).await;
    }

    /// The same with these further members, and no other.
    pub async fn refuses_with(&mut self, story: &str, request: Request, code: &str, members: Value) {
        let before = self.app.redis.everything().await;
        for language in ["en", "ko"] {
            let story = format!("{story}: {request} in {language}");
            let own_id = format!("{language} {}", self.cases);
            let request = request.clone().with("x-request-id", &own_id);
            let mut answer = request.accepting(&self.app, Some(language)).await;
            assert_told(&answer, code, language, &story);
            assert_eq!(answer.body["requestId"], own_id, "{story}");
            self.note(&request, code.to_owned(), &answer);
            for name in TELLING_HEADERS.iter().filter(|it| !["allow", "retry-after"].contains(*it)) {
                assert_eq!(answer.header(name), None, "{story}");
            }
            let problem = answer.body.as_object_mut().unwrap();
            problem.retain(|name, _| !PROBLEM_MEMBERS.contains(&name.as_str()));
            assert_body(&answer.body, &members, &story);
        }
        let after = self.app.redis.everything().await;
        assert!(after == before, "{story}: {request} changed {:?}", differences(&before.0, &after.0));
    }

    /// `invalid_request` because of one part: a pointer (`#…`) or a parameter.
    pub async fn invalid(&mut self, story: &str, request: Request, part: &str) {
        let kind = if part.starts_with('#') { "pointer" } else { "parameter" };
        let members = json!({"errors": [{kind: part, "detail": "~text"}]});
        self.refuses_with(story, request, "invalid_request", members).await;
    }

    /// Asks again for what is as it was. Goal: the one who names it is told so, without a body; no other one is.
    pub async fn unchanged(&mut self, path: &str) {
        let full = Request::get(path).accepting(&self.app, None).await;
        let tag = full.header("etag").unwrap_or_else(|| panic!("{path}: no tag: {full:?}")).to_owned();
        let other = Request::get(path).with("if-none-match", "\"0\"");
        assert_eq!(other.accepting(&self.app, None).await.body, full.body, "{path}");
        let request = Request::get(path).with("if-none-match", &tag);
        let answer = request.accepting(&self.app, None).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (304, &Value::Null), "{path}: {answer:?}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()), "{path}: {answer:?}");
        self.note(&request, "304".to_owned(), &answer);
    }

    /// Follows a list to its end, `limit` entries at a time; `behind` is more of its query. All its entries.
    pub async fn pages(&mut self, path: &str, behind: &str, limit: usize) -> Vec<Value> {
        let (mut entries, mut next) = (Vec::new(), Some(format!("{path}?limit={limit}{behind}")));
        while let Some(path) = next {
            let request = Request::get(path);
            let page = request.accepting(&self.app, None).await;
            assert_eq!(page.status, 200, "{request}: {page:?}");
            assert!((1..=limit).contains(&page.entries().len()), "{request}: {page:?}");
            entries.extend_from_slice(page.entries());
            next = page.next();
            assert!(next.is_none() || page.entries().len() == limit, "{request}: {page:?}");
            self.note(&request, if next.is_some() { "200 next" } else { "200" }.to_owned(), &page);
        }
        entries
    }

    /// Ends a test whose cases are some of the calls' answers.
    pub async fn finish(self) {
        println!("{} cases", self.cases);
        self.app.finish().await;
    }

    /// Ends the test of a noun: the usual refusals are asked for, and every listed answer was seen.
    pub async fn finish_complete(mut self) {
        usual::refusals(&mut self).await;
        for call in self.calls {
            for answer in call.answers() {
                let given = self.given.contains(&(call.line, answer.clone()));
                assert!(given, "{} lists {answer}, and no case brings it about", call.line);
            }
        }
        self.finish().await;
    }

    /// Notes what a call was seen to answer; the contract and the OpenAPI document must list it.
    fn note(&mut self, request: &Request, answer: String, full: &Answer) {
        let calls = all_calls().into_iter().filter(|it| it.is_asked_by(request));
        // `/products/top` is no product.
        let call = calls.min_by_key(|it| it.ids().len()).unwrap_or_else(|| panic!("{request} is no call"));
        assert!(call.answers().contains(&answer), "{} does not list {answer}", call.line);
        if let Some(documented) = &mut self.documented {
            documented.assert_lists(&request.method, call.path(), full, &request.to_string());
        }
        self.given.insert((call.line, answer));
        self.cases += 1;
    }
}

/// What is in one dump and not in the other.
fn differences<'a>(before: &'a Dump, after: &'a Dump) -> Vec<(&'a String, &'a Vec<String>)> {
    let gone = before.iter().filter(|(key, value)| after.get(*key) != Some(value));
    let new = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    gone.chain(new).map(|(key, value)| (key, &value.1)).collect()
}

/// Fails unless a body is the expected one, with the same fields everywhere. `~id`, `~time` and `~text` stand for
/// what a test cannot know: an id, a time of this day in UTC with milliseconds, and any text but an empty one.
fn assert_body(given: &Value, expected: &Value, story: &str) {
    assert!(fits(given, expected), "{story}:\n   given {given}\nexpected {expected}");
}

fn fits(given: &Value, expected: &Value) -> bool {
    match (given, expected) {
        (Value::Object(given), Value::Object(expected)) => {
            given.len() == expected.len()
                && expected.iter().all(|(name, it)| given.get(name).is_some_and(|given| fits(given, it)))
        }
        (Value::Array(given), Value::Array(expected)) => {
            given.len() == expected.len() && given.iter().zip(expected).all(|(given, it)| fits(given, it))
        }
        (_, Value::String(expected)) if expected == "~id" => given.as_u64().is_some_and(|it| it > 0),
        (_, Value::String(expected)) if expected == "~time" => given.as_str().is_some_and(is_of_this_day),
        (_, Value::String(expected)) if expected == "~text" => {
            given.as_str().is_some_and(|it| !it.is_empty())
        }
        _ => given == expected,
    }
}

fn is_of_this_day(text: &str) -> bool {
    let at = chrono::DateTime::parse_from_rfc3339(text).map(|it| it.to_utc());
    let with_millis = text.len() == "2026-11-20T12:00:00.000Z".len() && text.ends_with('Z');
    with_millis && at.is_ok_and(|it| (chrono::Utc::now() - it).abs() < chrono::TimeDelta::days(1))
}

/// An object with some of its fields replaced; those that become `null` are left out.
fn changed(mut object: Value, changes: Value) -> Value {
    let fields = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => fields.remove(name),
            value => fields.insert(name.clone(), value.clone()),
        };
    }
    object
}

/// A campaign as an administrator describes it: 300 off, ten units, all times open, but for `changes`.
fn campaign(changes: Value) -> Value {
    let discount = json!({"kind": "fixed", "value": 300});
    let open =
        json!({"name": "Opening", "discount": discount, "quantity": 10, "startsAt": PAST, "endsAt": FUTURE});
    changed(open, changes)
}

/// Opens a campaign, or changes one.
async fn set_campaign(app: &TestApp, coupon: u64, changes: Value) {
    let answer = app.put(&format!("/admin/coupons/{coupon}"), campaign(changes)).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

/// Lists a product, or changes it.
async fn set_product(app: &TestApp, product: u64, body: Value) {
    let answer = app.put(&format!("/admin/products/{product}"), body).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

fn claim(user: u64, coupon: u64) -> Request {
    Request::post("/coupons", json!({"userId": user, "couponId": coupon}))
}

/// Gives a coupon to a user.
async fn issue(app: &TestApp, user: u64, coupon: u64) {
    let answer = claim(user, coupon).accepting(app, None).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// An order; each item is product, quantity.
fn order(user: u64, items: &[(u64, u64)]) -> Request {
    Request::post("/orders", order_body(user, items))
}

/// The same with a coupon.
fn order_with(user: u64, items: &[(u64, u64)], coupon: u64) -> Request {
    Request::post("/orders", changed(order_body(user, items), json!({"couponId": coupon})))
}

fn order_body(user: u64, items: &[(u64, u64)]) -> Value {
    let items: Vec<Value> = items.iter().map(|it| json!({"productId": it.0, "quantity": it.1})).collect();
    json!({"userId": user, "items": items})
}
