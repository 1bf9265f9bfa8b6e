//! The load generator: one thread, keep-alive HTTP/1.1 over non-blocking sockets, a process of its own.
//!
//! Closed loop: each connection asks again as soon as it was answered. Open loop: requests are due at a fixed rate,
//! whatever the answers do, and a latency counts from the moment at which its request was due, so that a slow
//! server cannot hide the requests that it kept from being sent.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use crate::process::cpu_us;
use crate::traffic::{Kind, Traffic, Verdict};

/// How long answers may take after the last request was sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause of an open loop in each turn; latencies are too long by no more than about twice that. Waiting in the kernel's
/// poll would round to a millisecond, and waking for each request would cost more than the request.
const PAUSE: Duration = Duration::from_micros(250);

/// Longest wait of a closed loop, so that the phases begin in time.
const LOOK: Duration = Duration::from_millis(20);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What a generator is to do; comes on its standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub address: SocketAddr,
    pub connections: usize,
    /// Requests per second of an open loop; none: a closed loop.
    pub rate: Option<f64>,
    /// Not counted.
    pub warm_up: Duration,
    pub time: Duration,
    pub users: u64,
    pub kind: Kind,
    /// Number of the first request.
    pub first: u64,
    /// Makes keys unique.
    pub run: u64,
}

/// What a generator found; the last line of its standard output.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Length of the time that counts.
    pub seconds: f64,
    /// Answers in that time.
    pub answers: u64,
    /// Right answers in that time.
    pub right: u64,
    /// 503s in that time.
    pub shed: u64,
    /// From the beginning to the last answer, warming up included.
    pub sent_in_all: u64,
    pub right_in_all: u64,
    pub wrong_in_all: u64,
    /// Connections that broke, and answers that never came.
    pub broken_in_all: u64,
    pub first_wrong: Option<String>,
    pub first_broken: Option<String>,
    /// Of right answers.
    pub latency_ms: Latency,
    /// Of 503s.
    pub shed_latency_ms: Latency,
    /// What the generator itself took for each answer.
    pub cpu_us_per_answer: f64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Lines before the report: the time that counts begins, and ends.
pub const BEGIN: &str = "begin";
pub const END: &str = "end";

/// Reads a plan from the standard input, does it, and writes the report.
pub fn run() -> anyhow::Result<()> {
    let plan: Plan = serde_json::from_reader(std::io::stdin())?;
    let report = Generator::new(plan)?.run()?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

struct Client {
    stream: TcpStream,
    /// What came of an answer that did not come at once.
    input: Vec<u8>,
    /// The request that waits for its answer.
    asked: Option<Asked>,
}

#[derive(Clone, Copy)]
struct Asked {
    number: u64,
    /// When it was due, since the start.
    due: Duration,
}

struct Generator {
    plan: Plan,
    traffic: Traffic,
    poll: Poll,
    clients: Vec<Client>,
    /// Where answers are read to: one place for all, that stays in the processor's cache.
    scratch: Box<[u8]>,
    /// Clients that ask nothing. Who has waited longest asks first: a server closes connections that are silent for long.
    idle: VecDeque<usize>,
    started: Instant,
    /// When all connections were there, since the start; from then on an open loop's requests are due.
    connected_at: Option<Duration>,
    next: u64,
    report: Report,
    right: Histogram<u64>,
    shed: Histogram<u64>,
}

impl Generator {
    fn new(plan: Plan) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        // From a microsecond to a minute, to three digits.
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3);
        Ok(Self {
            traffic: Traffic::new(plan.kind, plan.users, &plan.address.to_string(), plan.run),
            poll,
            clients: Vec::with_capacity(plan.connections),
            scratch: vec![0; ANSWER_BYTES_MAX].into(),
            idle: VecDeque::with_capacity(plan.connections),
            started: Instant::now(),
            connected_at: None,
            next: 0,
            report: Report::default(),
            right: histogram()?,
            shed: histogram()?,
            plan,
        })
    }

    fn run(mut self) -> anyhow::Result<Report> {
        let mut events = Events::with_capacity(1_024);
        let me = std::process::id();
        let (mut began_at, mut cpu_before) = (None, 0.0);
        self.started = Instant::now();
        loop {
            self.connect_some()?;
            let now = self.started.elapsed();
            let begin = self.connected_at.map_or(Duration::MAX, |it| it + self.plan.warm_up);
            if began_at.is_none() && now >= begin {
                println!("{BEGIN}");
                (began_at, cpu_before) = (Some(now), cpu_us(me));
            }
            if began_at.is_some() && now >= begin + self.plan.time {
                let seconds = (now - began_at.unwrap_or(now)).as_secs_f64();
                let used = cpu_us(me) - cpu_before;
                println!("{END}");
                self.report.seconds = seconds;
                self.report.cpu_us_per_answer = used / self.report.answers.max(1) as f64;
                break;
            }
            let connecting = self.connected_at.is_none();
            self.send_what_is_due(now)?;
            let paced = self.plan.rate.is_some();
            self.poll.poll(&mut events, Some(if paced || connecting { Duration::ZERO } else { LOOK }))?;
            for event in &events {
                self.look_at(event.token().0, began_at)?;
            }
            if paced {
                std::thread::sleep(PAUSE);
            }
        }
        self.wait_for_the_last(&mut events)?;
        self.report.latency_ms = latency(&self.right);
        self.report.shed_latency_ms = latency(&self.shed);
        Ok(self.report)
    }

    /// Makes some of the connections that are missing. They ask at once, because a server closes those that are
    /// silent for long, and thousands take their time; nothing counts before all are there.
    fn connect_some(&mut self) -> anyhow::Result<()> {
        const AT_ONCE: usize = 64;
        for index in (self.clients.len()..self.plan.connections).take(AT_ONCE) {
            let stream = connect(&self.poll, self.plan.address, index)?;
            self.clients.push(Client { stream, input: Vec::new(), asked: None });
            self.idle.push_back(index);
        }
        if self.connected_at.is_none() && self.clients.len() == self.plan.connections {
            self.connected_at = Some(self.started.elapsed());
        }
        Ok(())
    }

    /// Reads the answers that are on their way; nothing is asked any more.
    fn wait_for_the_last(&mut self, events: &mut Events) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.clients.iter().any(|it| it.asked.is_some()) && Instant::now() < deadline {
            self.poll.poll(events, Some(LOOK))?;
            for event in events.iter() {
                self.read(event.token().0, None)?;
            }
        }
        let silent = self.clients.iter().filter(|it| it.asked.is_some()).count() as u64;
        if silent > 0 {
            self.report.broken_in_all += silent;
            self.report.first_broken.get_or_insert_with(|| format!("no answer within {PATIENCE:?}"));
        }
        self.report.sent_in_all = self.next;
        Ok(())
    }

    /// Sends what should have been sent by now, as far as there are clients for it.
    fn send_what_is_due(&mut self, now: Duration) -> anyhow::Result<()> {
        while let Some(&index) = self.idle.front() {
            let due = match (self.plan.rate, self.connected_at) {
                (None, _) => now,
                (Some(rate), Some(start)) => start + Duration::from_secs_f64(self.next as f64 / rate),
                (Some(_), None) => break,
            };
            if due > now {
                break;
            }
            self.idle.pop_front();
            self.send(index, due)?;
        }
        Ok(())
    }

    fn send(&mut self, index: usize, due: Duration) -> anyhow::Result<()> {
        let number = self.plan.first + self.next;
        self.next += 1;
        let client = &mut self.clients[index];
        client.asked = Some(Asked { number, due });
        let request = self.traffic.request(number);
        match client.stream.write(request) {
            Ok(written) if written == request.len() => Ok(()),
            // A request is smaller than any socket's buffer, and the one before was answered.
            Ok(_) => self.mend(index, "a request was taken in part"),
            Err(error) => self.mend(index, &format!("sending: {error}")),
        }
    }

    fn look_at(&mut self, index: usize, began_at: Option<Duration>) -> anyhow::Result<()> {
        if self.read(index, began_at)? {
            match self.plan.rate {
                None => self.send(index, self.started.elapsed())?,
                Some(_) => self.idle.push_back(index),
            }
        }
        Ok(())
    }

    /// Reads what came for one client; true: its answer is complete.
    fn read(&mut self, index: usize, began_at: Option<Duration>) -> anyhow::Result<bool> {
        let Client { stream, input, asked } = &mut self.clients[index];
        let read = loop {
            match stream.read(&mut self.scratch) {
                // Less than there was room for: the socket is empty, and the poll tells of more.
                Ok(read) if read > 0 => break read,
                Ok(_) => {
                    self.mend(index, "closed by the server")?;
                    return Ok(false);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.mend(index, &format!("receiving: {error}"))?;
                    return Ok(false);
                }
            }
        };
        let whole = match input.is_empty() {
            true => &self.scratch[..read],
            false => {
                input.extend_from_slice(&self.scratch[..read]);
                &input[..]
            }
        };
        let Some((status, head, length)) = parse(whole)? else {
            if input.is_empty() {
                input.extend_from_slice(&self.scratch[..read]);
            }
            return Ok(false);
        };
        let Some(asked) = asked.take() else { anyhow::bail!("an answer to nothing") };
        let body = &whole[head..head + length];
        let verdict = self.traffic.judge(asked.number, status, body);
        if verdict == Verdict::Wrong && self.report.first_wrong.is_none() {
            self.report.first_wrong = Some(format!("{status} {}", String::from_utf8_lossy(body)));
        }
        input.clear();
        self.count(verdict, asked, began_at);
        Ok(true)
    }

    fn count(&mut self, verdict: Verdict, asked: Asked, began_at: Option<Duration>) {
        let report = &mut self.report;
        match verdict {
            Verdict::Right => report.right_in_all += 1,
            Verdict::Shed => {}
            Verdict::Wrong => report.wrong_in_all += 1,
        }
        let Some(began_at) = began_at else { return };
        report.answers += 1;
        let histogram = match verdict {
            Verdict::Right => {
                report.right += 1;
                &mut self.right
            }
            Verdict::Shed => {
                report.shed += 1;
                &mut self.shed
            }
            Verdict::Wrong => return,
        };
        if asked.due >= began_at {
            let took = self.started.elapsed().saturating_sub(asked.due);
            histogram.saturating_record(took.as_micros().max(1) as u64);
        }
    }

    /// A connection broke: what was asked over it has no answer, and a new one takes its place.
    fn mend(&mut self, index: usize, why: &str) -> anyhow::Result<()> {
        self.report.broken_in_all += 1;
        self.report.first_broken.get_or_insert_with(|| why.to_owned());
        anyhow::ensure!(self.report.broken_in_all < 10_000, "connections break all the time");
        let stream = connect(&self.poll, self.plan.address, index)?;
        let client = &mut self.clients[index];
        client.stream = stream;
        client.input.clear();
        client.asked = None;
        self.idle.push_back(index);
        Ok(())
    }
}

/// Connects and has the poll tell of what comes. Also a client whose connection broke stays among the polled ones.
fn connect(poll: &Poll, address: SocketAddr, index: usize) -> anyhow::Result<TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
    Ok(stream)
}

/// Status, length of the head and length of the body of a complete answer.
fn parse(input: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(input)? else { return Ok(None) };
    let length = response.headers.iter().find(|it| it.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|it| std::str::from_utf8(it.value).ok()?.parse::<usize>().ok());
    let Some(length) = length else { anyhow::bail!("an answer without a length") };
    anyhow::ensure!(head + length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
    Ok((input.len() >= head + length).then_some((response.code.unwrap_or(0), head, length)))
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    Latency { p50: ms(0.5), p99: ms(0.99), p999: ms(0.999), max: histogram.max() as f64 / 1_000.0 }
}
