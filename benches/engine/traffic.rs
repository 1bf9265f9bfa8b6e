//! What the generator asks, as bytes that are made once, and what each answer must say.

use serde::{Deserialize, Serialize};

/// The price of every product, in minor units.
pub const PRICE: u64 = 1_000;

/// Units of every product.
pub const STOCK: i64 = 1_000_000_000;

/// The products that are sold begin here and are [`PRODUCTS`]; all have four digits, since a path has no room to fill.
pub const FIRST_PRODUCT: u64 = 1_000;
pub const PRODUCTS: u64 = 1_000;
const PATH_WIDTH: usize = 4;

/// What is asked. Requests are numbered from a plan's first one; the number decides user, product and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// One unit of the first product (`products` 1), or of each of so many in turn.
    Purchase { products: u64, keyed: bool },
    /// One unit of a campaign: the first one for each user once, then the next one.
    Claim { first_coupon: u64, keyed: bool },
    /// The same of a campaign that is sold out.
    SoldOut { coupon: u64, keyed: bool },
    /// One product of so many.
    Product { products: u64 },
    /// What all ask for alike.
    List(List),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum List {
    Products,
    Ranking,
}

impl List {
    fn path(self) -> &'static str {
        match self {
            Self::Products => "/products?limit=20",
            Self::Ranking => "/products/top?limit=5",
        }
    }

    /// How the answer begins.
    fn first(self) -> &'static str {
        match self {
            Self::Products => "[{\"id\":1,",
            Self::Ranking => "[{\"rank\":1,",
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was answered as it should be.
    Right,
    /// 503: too much to do.
    Shed,
    /// Anything else.
    Wrong,
}

/// Numbers in templates have this width, filled up with spaces, which JSON allows.
const WIDTH: usize = 16;

/// Requests of one kind.
pub struct Traffic {
    kind: Kind,
    users: u64,
    /// One request, with a place for each number.
    bytes: Vec<u8>,
    user_at: Option<usize>,
    /// The product or the campaign.
    thing_at: Option<usize>,
    key_at: Option<usize>,
}

impl Traffic {
    /// `run` makes the keys of one run differ from those of another.
    pub fn new(kind: Kind, users: u64, host: &str, run: u64) -> Self {
        assert!(users > 0 && !users.is_multiple_of(STEP), "each user must have a turn");
        let gap = " ".repeat(WIDTH);
        let (method, path, body, keyed) = match kind {
            Kind::Purchase { keyed, .. } => {
                let body = format!("{{\"userId\":{gap},\"items\":[{{\"productId\":{gap},\"quantity\":1}}]}}");
                ("POST", "/orders".to_owned(), body, keyed)
            }
            Kind::Claim { keyed, .. } | Kind::SoldOut { keyed, .. } => {
                let body = format!("{{\"userId\":{gap},\"couponId\":{gap}}}");
                ("POST", "/coupons".to_owned(), body, keyed)
            }
            Kind::Product { .. } => ("GET", format!("/products/{FIRST_PRODUCT}"), String::new(), false),
            Kind::List(list) => ("GET", list.path().to_owned(), String::new(), false),
        };
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        let mut key_at = None;
        if keyed {
            text += &format!("Idempotency-Key: {run:016x}-");
            key_at = Some(text.len());
            text += &format!("{gap}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        let head = text.len();
        text += &body;
        let place = |name: &str| text[head..].find(name).map(|it| head + it + name.len());
        let thing_at = place("\"productId\":").or_else(|| place("\"couponId\":"));
        let thing_at = thing_at.or(match kind {
            Kind::Product { .. } => text.find("/products/").map(|it| it + "/products/".len()),
            _ => None,
        });
        Self { kind, users, user_at: place("\"userId\":"), thing_at, key_at, bytes: text.into_bytes() }
    }

    /// The bytes of request `number`.
    pub fn request(&mut self, number: u64) -> &[u8] {
        let (user, thing) = (self.user(number), self.thing(number));
        if let Some(at) = self.user_at {
            write_number(&mut self.bytes[at..at + WIDTH], user, b' ');
        }
        if let Some(at) = self.thing_at {
            let width = if matches!(self.kind, Kind::Product { .. }) { PATH_WIDTH } else { WIDTH };
            write_number(&mut self.bytes[at..at + width], thing, b' ');
        }
        if let Some(at) = self.key_at {
            write_number(&mut self.bytes[at..at + WIDTH], number, b'-');
        }
        &self.bytes
    }

    /// Each user once before any comes again, far from the one before.
    fn user(&self, number: u64) -> u64 {
        1 + number.wrapping_mul(STEP) % self.users
    }

    fn thing(&self, number: u64) -> u64 {
        match self.kind {
            Kind::Purchase { products, .. } | Kind::Product { products } => {
                FIRST_PRODUCT + number.wrapping_mul(STEP) % products
            }
            Kind::Claim { first_coupon, .. } => first_coupon + number / self.users,
            Kind::SoldOut { coupon, .. } => coupon,
            Kind::List(_) => 0,
        }
    }

    /// Reads the answer to request `number`.
    pub fn judge(&self, number: u64, status: u16, body: &[u8]) -> Verdict {
        let right = match self.kind {
            Kind::Purchase { .. } => status == 201 && self.is_paid_order(number, body),
            Kind::Claim { .. } => status == 201 && self.is_claim(number, body),
            Kind::SoldOut { .. } => status == 409 && contains(body, b"\"code\":\"coupon_sold_out\""),
            Kind::Product { .. } => status == 200 && self.is_product(number, body),
            Kind::List(list) => {
                status == 200 && body.starts_with(list.first().as_bytes()) && body.ends_with(b"}]")
            }
        };
        match (right, status) {
            (true, _) => Verdict::Right,
            (false, 503) => Verdict::Shed,
            (false, _) => Verdict::Wrong,
        }
    }

    /// Field by field in the order in which the engine writes them; in another order it is wrong too, since the
    /// quick look is what keeps the generator cheap.
    fn is_paid_order(&self, number: u64, body: &[u8]) -> bool {
        Walk(body)
            .text("{\"orderId\":")
            .and_then(Walk::any_number)
            .and_then(|it| it.text(",\"userId\":"))
            .and_then(|it| it.number(self.user(number)))
            .and_then(|it| it.text(",\"status\":\"paid\",\"items\":[{\"productId\":"))
            .and_then(|it| it.number(self.thing(number)))
            .and_then(|it| {
                it.text(",\"quantity\":1,\"unitPrice\":1000}],\"total\":1000,\"discount\":0,\"paid\":1000,")
            })
            .is_some_and(|it| contains(it.0, b"\"balance\":"))
    }

    fn is_claim(&self, number: u64, body: &[u8]) -> bool {
        Walk(body)
            .text("{\"couponId\":")
            .and_then(|it| it.number(self.thing(number)))
            .and_then(|it| it.text(",\"userId\":"))
            .and_then(|it| it.number(self.user(number)))
            .is_some_and(|it| contains(it.0, b"\"status\":\"issued\""))
    }

    fn is_product(&self, number: u64, body: &[u8]) -> bool {
        Walk(body)
            .text("{\"id\":")
            .and_then(|it| it.number(self.thing(number)))
            .is_some_and(|it| contains(it.0, b"\"price\":1000,") && contains(it.0, b"\"stock\":"))
    }
}

/// A prime that divides neither the number of users nor of products.
const STEP: u64 = 7_919;

/// What is left of an answer to look at.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    fn text(self, text: &str) -> Option<Walk<'a>> {
        self.0.strip_prefix(text.as_bytes()).map(Walk)
    }

    fn digits(&self) -> usize {
        self.0.iter().take_while(|it| it.is_ascii_digit()).count()
    }

    fn any_number(self) -> Option<Walk<'a>> {
        let digits = self.digits();
        (digits > 0).then(|| Walk(&self.0[digits..]))
    }

    fn number(self, wanted: u64) -> Option<Walk<'a>> {
        let (digits, rest) = self.0.split_at(self.digits());
        let value =
            digits.iter().fold(0_u64, |value, it| value.wrapping_mul(10).wrapping_add(u64::from(it - b'0')));
        (!digits.is_empty() && value == wanted).then_some(Walk(rest))
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|it| it == part)
}

/// Writes a number into its place, the rest filled.
fn write_number(place: &mut [u8], mut number: u64, fill: u8) {
    let mut digits = [0_u8; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let digits = &digits[first..];
    place[..digits.len()].copy_from_slice(digits);
    place[digits.len()..].fill(fill);
}
