//! One call as the document tells of it: a row of the tables in [`super::calls`].

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::http::json;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::query::{LIMIT_DEFAULT, LIMIT_MAX};

/// What a call is listed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    Users,
    Products,
    Coupons,
    Orders,
    Admin,
    Operations,
}

impl Noun {
    pub const ALL: [Self; 6] =
        [Self::Users, Self::Products, Self::Coupons, Self::Orders, Self::Admin, Self::Operations];

    /// Name and description.
    pub fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Users => ("Users", "Users, their balance, and what happened to it"),
            Self::Products => ("Products", "What is listed, what is left of it, and what sells"),
            Self::Coupons => ("Coupons", "Limited pools of discounts, first come, first served"),
            Self::Orders => ("Orders", "Orders and payments"),
            Self::Admin => ("Admin", "Catalogue and campaigns; scope `admin`"),
            Self::Operations => ("Operations", "Probes, metrics, what operators look at, and this document"),
        }
    }
}

/// Who may make a call where `auth` is `jwt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody, without a token.
    Everybody,
    /// Everybody who brings a token.
    Known,
    /// The user it is about; for others there is no such user.
    Owner,
    /// The owner of the order it is about; for others there is no such order.
    Buyer,
    /// As [`Self::Owner`], where users may charge their own wallet; else administrators.
    Charger,
    /// As [`Self::Buyer`], where users may ask for their money back; else administrators.
    Refunder,
    /// Scope `admin`.
    Admin,
}

impl Access {
    /// What it adds to the refusals of a call.
    pub fn refusals(self) -> &'static [ProblemKind] {
        use ProblemKind::{Forbidden, OrderNotFound, RateLimited, Unauthenticated, UserNotFound};
        match self {
            Self::Everybody => &[],
            Self::Known => &[Unauthenticated, RateLimited],
            Self::Owner => &[Unauthenticated, RateLimited, UserNotFound],
            Self::Buyer => &[Unauthenticated, RateLimited, OrderNotFound],
            Self::Charger => &[Unauthenticated, Forbidden, RateLimited, UserNotFound],
            Self::Refunder => &[Unauthenticated, Forbidden, RateLimited, OrderNotFound],
            Self::Admin => &[Unauthenticated, Forbidden, RateLimited],
        }
    }
}

/// Adds a type's schema, and those that it refers to.
pub type Collect = fn(&mut Vec<(String, RefOr<Schema>)>);

pub fn collect<T: ToSchema>(to: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(to);
    to.push((T::name().into_owned(), T::schema()));
}

fn reference<T: ToSchema>() -> Value {
    json!({"$ref": format!("#/components/schemas/{}", T::name())})
}

/// The body of a request.
pub struct Body {
    pub schema: Value,
    pub required: bool,
    pub collect: Option<Collect>,
    /// By what they show.
    pub examples: Vec<(&'static str, Value)>,
    /// Reads a body as the call does.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests read the examples with it"))]
    pub read: fn(&[u8]) -> Result<(), Problem>,
}

pub struct Parameter {
    pub name: &'static str,
    pub required: bool,
    pub says: &'static str,
    pub schema: Value,
    pub example: Value,
}

impl Parameter {
    pub fn new(name: &'static str, says: &'static str, schema: Value, example: impl Into<Value>) -> Self {
        Self { name, required: false, says, schema, example: example.into() }
    }

    pub fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// An answer that is no problem.
pub struct Success {
    pub status: u16,
    pub says: &'static str,
    /// Its body, in each type that it can be of; none: no body.
    pub contents: Vec<Content>,
    pub collect: Option<Collect>,
    pub headers: Vec<&'static str>,
    /// Calls that can follow: id of the call, name of its path parameter or field, pointer into this answer.
    pub links: Vec<(&'static str, &'static str, &'static str)>,
}

/// Content type, schema and example.
pub type Content = (&'static str, Value, Value);

pub struct Call {
    pub method: &'static str,
    pub path: &'static str,
    /// Unique, for generators of clients.
    pub id: &'static str,
    pub summary: &'static str,
    pub says: Option<&'static str>,
    pub noun: Noun,
    pub access: Access,
    pub body: Option<Body>,
    pub query: Vec<Parameter>,
    pub successes: Vec<Success>,
    /// Whether it changes nothing, whatever its method says.
    only_reads: bool,
    /// Whether it takes `If-None-Match`.
    pub is_conditional: bool,
    /// Those of its own; [`Self::refusals`] has all.
    refusals: Vec<ProblemKind>,
}

impl Call {
    pub fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("get", path, id, summary)
    }

    pub fn put(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("put", path, id, summary)
    }

    pub fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("post", path, id, summary)
    }

    pub fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("delete", path, id, summary)
    }

    fn new(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            says: None,
            noun: Noun::Operations,
            access: Access::Everybody,
            body: None,
            query: Vec::new(),
            successes: Vec::new(),
            only_reads: method == "get",
            is_conditional: false,
            refusals: Vec::new(),
        }
    }

    /// What the summary leaves open.
    pub fn says(self, says: &'static str) -> Self {
        Self { says: Some(says), ..self }
    }

    /// Changes nothing, though it is no `GET`.
    pub fn only_reads(self) -> Self {
        Self { only_reads: true, ..self }
    }

    pub fn of(self, noun: Noun, access: Access) -> Self {
        Self { noun, access, ..self }
    }

    /// Takes a `T`. Each example is one.
    pub fn takes<T>(self, examples: impl IntoIterator<Item = (&'static str, Value)>) -> Self
    where
        T: ToSchema + DeserializeOwned,
    {
        let body = Body {
            schema: reference::<T>(),
            required: true,
            collect: Some(collect::<T>),
            examples: examples.into_iter().collect(),
            read: |bytes| json::parse::<T>(bytes).map(drop),
        };
        Self { body: Some(body), ..self }
    }

    /// Takes nothing, or an empty object.
    pub fn takes_nothing(self) -> Self {
        let body = Body {
            schema: json!({"type": "object", "maxProperties": 0}),
            required: false,
            collect: None,
            examples: vec![("nothing", json!({}))],
            read: |bytes| json::parse::<json::Nothing>(bytes).map(drop),
        };
        Self { body: Some(body), ..self }
    }

    pub fn asks(mut self, parameter: Parameter) -> Self {
        self.query.push(parameter);
        self
    }

    /// Answers with a `T`.
    pub fn answers<T: ToSchema>(self, status: u16, says: &'static str, example: Value) -> Self {
        let content = ("application/json", reference::<T>(), example);
        self.succeeds(status, says, vec![content], Some(collect::<T>))
    }

    /// Answers with `T`s: all there are.
    pub fn lists<T: ToSchema>(self, says: &'static str, example: Value) -> Self {
        let content = ("application/json", json!({"type": "array", "items": reference::<T>()}), example);
        self.succeeds(200, says, vec![content], Some(collect::<T>))
    }

    /// Answers with a page of `T`s.
    pub fn pages<T: ToSchema>(self, says: &'static str, example: Value) -> Self {
        let limit = json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT});
        let cursor = json!({"type": "string"});
        self.asks(Parameter::new("limit", "Most entries of the page", limit, LIMIT_DEFAULT))
            .asks(Parameter::new(
                "cursor",
                "Where the page begins: opaque, as `Link` of the page before has it",
                cursor,
                Value::Null,
            ))
            .lists::<T>(says, example)
            .with("Link")
    }

    /// Answers with something else, or with no body.
    pub fn gives(self, status: u16, says: &'static str, contents: impl IntoIterator<Item = Content>) -> Self {
        self.succeeds(status, says, contents.into_iter().collect(), None)
    }

    fn succeeds(
        mut self,
        status: u16,
        says: &'static str,
        contents: Vec<Content>,
        collect: Option<Collect>,
    ) -> Self {
        let (headers, links) = (Vec::new(), Vec::new());
        self.successes.push(Success { status, says, contents, collect, headers, links });
        self
    }

    /// The last answer has a header; one of [`super::answer::HEADERS`].
    pub fn with(mut self, header: &'static str) -> Self {
        if let Some(last) = self.successes.last_mut() {
            last.headers.push(header);
        }
        self
    }

    /// The last answer has a tag, and who has it already is told so.
    pub fn tagged(self) -> Self {
        let tagged = self.with("ETag").gives(304, "It is what `If-None-Match` names", []).with("ETag");
        Self { is_conditional: true, ..tagged }
    }

    /// Another call can follow the last answer: its parameter or field `name` is at `pointer` of the body.
    pub fn leads_to(mut self, call: &'static str, name: &'static str, pointer: &'static str) -> Self {
        if let Some(last) = self.successes.last_mut() {
            last.links.push((call, name, pointer));
        }
        self
    }

    /// What it refuses beside what all calls of its kind do.
    pub fn refuses(mut self, refusals: &[ProblemKind]) -> Self {
        self.refusals.extend_from_slice(refusals);
        self
    }

    /// Names of the ids in its path.
    pub fn ids(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Whether it changes something: then it can be held until MySQL has it.
    pub fn changes(&self) -> bool {
        !self.only_reads
    }

    /// Whether it takes an `Idempotency-Key`.
    pub fn is_keyed(&self) -> bool {
        self.method == "post" && self.changes()
    }

    /// Every problem that it can answer with, in the catalogue's order.
    pub fn refusals(&self) -> Vec<ProblemKind> {
        use ProblemKind::*;
        let mut all = self.refusals.clone();
        all.extend(self.access.refusals());
        all.push(InternalError);
        let of_shop = self.noun != Noun::Operations;
        let syntax = self.body.is_some() || !self.query.is_empty() || self.is_keyed();
        if syntax || (of_shop && self.ids().next().is_some()) {
            all.push(InvalidRequest);
        }
        if self.body.is_some() {
            all.extend([UnsupportedMediaType, PayloadTooLarge]);
        }
        if self.is_keyed() {
            all.push(IdempotencyKeyReused);
        }
        if of_shop {
            all.extend([Overloaded, CellClosed, DependencyDown]);
        }
        if of_shop && self.changes() {
            all.push(BacklogFull);
        }
        ProblemKind::ALL.iter().copied().filter(|it| all.contains(it)).collect()
    }
}
