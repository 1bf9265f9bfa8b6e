//! The stream behind the operations page, and the rush that its button starts in `dev`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::Event;
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::App;
use super::caller::Caller;
use super::json::{Json, NoBody};
use super::overview::{Overview, overview};
use super::problem::{Problem, ProblemKind};
use super::query::Query;
use crate::console::rush::{Rush, RushView, SHOPPERS_MAX};
use crate::telemetry::samples::samples;
use crate::telemetry::scope::Scope;

/// How often those who watch are told.
const PAUSE: Duration = Duration::from_secs(1);

/// How long what one was told is good for the others: less than a pause, so that nobody is told the same twice.
const SHARED: Duration = Duration::from_millis(900);

/// Streams at once.
const WATCHERS_MAX: usize = 64;

/// How long a ticket opens a stream, and how many wait for that at most; the oldest goes.
const TICKET_TIME: Duration = Duration::from_secs(30);
const TICKETS_MAX: usize = 256;

/// Random bytes of a ticket.
const TICKET_BYTES: usize = 16;

/// What all streams share.
pub struct Console {
    latest: Mutex<Option<(Instant, Arc<str>)>>,
    places: Arc<Semaphore>,
    /// Oldest first.
    tickets: std::sync::Mutex<VecDeque<(Instant, String)>>,
}

impl Default for Console {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(WATCHERS_MAX));
        Self { latest: Mutex::default(), places, tickets: std::sync::Mutex::default() }
    }
}

impl Console {
    fn new_ticket(&self) -> String {
        let mut bytes = [0; TICKET_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
        let ticket: String = bytes.iter().map(|it| format!("{it:02x}")).collect();
        let mut tickets = self.tickets.lock().expect("no panic while held");
        if tickets.len() == TICKETS_MAX {
            tickets.pop_front();
        }
        tickets.push_back((Instant::now(), ticket.clone()));
        ticket
    }

    /// Whether a ticket is good; it is no more afterwards.
    fn redeem(&self, ticket: &str) -> bool {
        let mut tickets = self.tickets.lock().expect("no panic while held");
        tickets.retain(|(at, _)| at.elapsed() < TICKET_TIME);
        let found = tickets.iter().position(|(_, it)| it == ticket);
        found.and_then(|it| tickets.remove(it)).is_some()
    }
}

/// Opens one stream for who cannot send a header: a browser's `EventSource`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    ticket: String,
    expires_in_seconds: u64,
}

/// A ticket for one stream of this node.
pub async fn give_ticket(
    State(app): State<App>,
    caller: Caller,
    _: NoBody,
) -> Result<(StatusCode, Json<Ticket>), Problem> {
    caller.administers()?;
    let ticket = Ticket { ticket: app.console.new_ticket(), expires_in_seconds: TICKET_TIME.as_secs() };
    Ok((StatusCode::CREATED, Json(ticket)))
}

/// What a stream tells once a second.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tick {
    #[serde(flatten)]
    overview: Overview,
    durations: Vec<Durations>,
    /// In `dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    rush: Option<RushView>,
}

/// How long answers of one kind took since this node started.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Durations {
    route: String,
    method: String,
    status: String,
    /// Upper bounds of the buckets, but for the last one, which has none.
    upper_seconds: Vec<f64>,
    /// Answers within each bound, those of the bounds below included.
    counts: Vec<u64>,
}

/// What the overview shows, and durations, once a second. It ends with the node.
pub async fn stream(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let query = query.only(&["ticket"])?;
    match query.get("ticket") {
        None => caller.administers()?,
        Some(ticket) if app.console.redeem(ticket) => {}
        Some(_) => return Err(Problem::new(ProblemKind::Unauthenticated)),
    }
    let place = app.console.places.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::new(ProblemKind::Overloaded))?;
    let pace = tokio::time::interval(PAUSE);
    let stopped = app.stop.clone().cancelled_owned();
    // Polled when this handler is long over.
    let scope = Scope::current().untraced();
    let ticks = stream::unfold(
        (app, pace, place, scope),
        async |(app, mut pace, place, scope): (App, _, OwnedSemaphorePermit, Scope)| {
            pace.tick().await;
            let event = Event::default().event("tick").data(&*scope.clone().around(tick(&app)).await);
            // However long it took: at once, the same would be told again.
            pace.reset();
            Some((Ok(event), (app, pace, place, scope)))
        },
    );
    Ok(Sse::new(ticks.take_until(stopped)))
}

/// Made once for all who watch.
async fn tick(app: &App) -> Arc<str> {
    let mut latest = app.console.latest.lock().await;
    if let Some((at, text)) = &*latest
        && at.elapsed() < SHARED
    {
        return text.clone();
    }
    let rendered = app.prometheus.render();
    let tick = Tick {
        overview: overview(app, &rendered).await,
        durations: durations(&rendered),
        rush: app.rush.as_ref().map(|it| it.view()),
    };
    let text: Arc<str> = serde_json::to_string(&tick).expect("keys are texts").into();
    *latest = Some((Instant::now(), text.clone()));
    text
}

/// The buckets of all answers, out of the metrics.
fn durations(rendered: &str) -> Vec<Durations> {
    let mut all: Vec<Durations> = Vec::new();
    for sample in samples(rendered).filter(|it| it.name == "firstcome_http_request_duration_seconds_bucket") {
        let label = |name| sample.label(name).unwrap_or_default();
        let (route, method, status) = (label("route"), label("method"), label("status"));
        let known =
            all.iter_mut().rfind(|it| it.route == route && it.method == method && it.status == status);
        let of = match known {
            Some(known) => known,
            None => {
                let [route, method, status] = [route, method, status].map(str::to_owned);
                all.push(Durations { route, method, status, upper_seconds: Vec::new(), counts: Vec::new() });
                all.last_mut().expect("just pushed")
            }
        };
        of.upper_seconds.extend(label("le").parse().ok().filter(|it: &f64| it.is_finite()));
        of.counts.push(sample.value as u64);
    }
    all
}

/// How many shoppers come.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RushRequest {
    shoppers: u64,
}

/// Has shoppers come, where none are under way.
pub async fn start_rush(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<RushRequest>,
) -> Result<(StatusCode, Json<RushView>), Problem> {
    let rush = rush_of(&app)?;
    if !(1..=SHOPPERS_MAX).contains(&request.shoppers) {
        return Err(Problem::at("#/shoppers", format!("must be 1 to {SHOPPERS_MAX}")));
    }
    caller.administers()?;
    rush.start(request.shoppers, app.stop.child_token());
    Ok((StatusCode::ACCEPTED, Json(rush.view())))
}

/// Sends the shoppers home.
pub async fn stop_rush(State(app): State<App>, caller: Caller, _: NoBody) -> Result<StatusCode, Problem> {
    let rush = rush_of(&app)?;
    caller.administers()?;
    rush.stop();
    Ok(StatusCode::NO_CONTENT)
}

fn rush_of(app: &App) -> Result<&Arc<Rush>, Problem> {
    app.rush.as_ref().ok_or(ProblemKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_one_stream() {
        let console = Console::default();
        let (first, second) = (console.new_ticket(), console.new_ticket());
        assert_ne!(first, second);
        assert!(!console.redeem("") && !console.redeem(&first[1..]));
        assert!(console.redeem(&first) && !console.redeem(&first));
        console.tickets.lock().unwrap()[0].0 -= TICKET_TIME;
        assert!(!console.redeem(&second), "its time is over");
        for _ in 0..=TICKETS_MAX {
            console.new_ticket();
        }
        assert_eq!(console.tickets.lock().unwrap().len(), TICKETS_MAX);
    }

    #[test]
    fn buckets_are_read_by_kind_of_answer() {
        let line = |route: &str, le: &str, count: u64| {
            format!(
                "firstcome_http_request_duration_seconds_bucket{{route=\"{route}\",status=\"201\",method=\"POST\",le=\"{le}\"}} {count}\n"
            )
        };
        let rendered = [
            line("/orders", "0.001", 3),
            line("/orders", "0.5", 7),
            line("/orders", "+Inf", 9),
            line("/coupons", "0.001", 0),
            line("/coupons", "0.5", 1),
            line("/coupons", "+Inf", 1),
        ];
        let of = |route: &str, counts: [u64; 3]| Durations {
            route: route.to_owned(),
            method: "POST".to_owned(),
            status: "201".to_owned(),
            upper_seconds: vec![0.001, 0.5],
            counts: counts.into(),
        };
        assert_eq!(durations(&rendered.concat()), [of("/orders", [3, 7, 9]), of("/coupons", [0, 1, 1])]);
    }
}
