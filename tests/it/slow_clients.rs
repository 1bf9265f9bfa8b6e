//! Promise: nobody keeps a connection by being slow, in whatever part of a request or an answer.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::test_app::TestApp;
use super::wire::{Wire, head, request};

const JSON: &[u8] = b"Content-Type: application/json";

/// How long a dribbling client waits between two bytes.
const DRIBBLE: Duration = Duration::from_millis(50);

/// 500 clients that dribble for as long as they are let, for 64 places. Goal: good clients get their turns all the
/// while, since each slow one loses its place when its time is over; and in the end all of them are closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_dribbling_sockets_hold_nothing() {
    let app = TestApp::start_with(|settings| {
        settings.max_connections = 64;
        (settings.header_timeout_ms, settings.body_timeout_ms) = (300, 300);
    })
    .await;
    app.user_with(1, 0).await;
    let starts = [
        b"GET /products HTTP/1.1\r\nX-Slow: ".to_vec(),
        head("POST /users/1/balance", &[JSON, b"Content-Length: 10000"]),
        head("POST /users/1/balance", &[JSON, b"Transfer-Encoding: chunked"]),
        // A body that nobody asked for, behind an answer.
        head("GET /products", &[b"Content-Length: 10000"]),
    ];
    let slow = join_all((0..500).map(async |number: usize| {
        let mut wire = Wire::connect(&app).await;
        let began = Instant::now();
        let mut open = wire.write(&starts[number % starts.len()]).await;
        while open {
            tokio::time::sleep(DRIBBLE).await;
            open = wire.write(b"1").await;
            assert!(began.elapsed() < Duration::from_secs(60), "number {number} dribbles for ever");
        }
        wire.closed().await;
    }));
    let good = async {
        for _ in 0..5 {
            let answers = join_all((0..10).map(|_| app.post("/users/1/balance", json!({"amount": 1})))).await;
            assert!(answers.iter().all(|it| it.status == StatusCode::CREATED), "{answers:?}");
        }
    };
    futures::join!(slow, good);
    assert_eq!(app.balance(1).await, 50);
    app.finish().await;
}

/// A client that asks and asks, and never reads. Goal: its connection ends when its time is over, so that its place
/// is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_is_given_up() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let app = TestApp::start_with(|settings| {
        settings.max_connections = 1;
        settings.header_timeout_ms = 600_000;
        settings.answer_timeout_ms = TIMEOUT.as_millis() as u64;
    })
    .await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(app.engine().address().unwrap()).await.unwrap();
    let began = Instant::now();
    let asked = request("GET /metrics", &[], b"").repeat(100);
    let ended = async {
        // Until the engine reads no more, and then until the connection is gone.
        while stream.write_all(&asked).await.is_ok() {}
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the connection ends");
    assert!(began.elapsed() >= TIMEOUT, "closed too early");
    assert_eq!(app.get("/healthz").await.status, StatusCode::OK, "the place is free");
    app.finish().await;
}

/// Goal: who reads slowly, but reads, gets every answer, however much waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_is_served() {
    const ASKED: usize = 200;
    let app = TestApp::start_with(|settings| settings.answer_timeout_ms = 10_000).await;
    let options: Vec<Value> =
        (1..=50).map(|it| json!({"id": it, "name": format!("o{it}"), "price": 1})).collect();
    for product in 1..=20 {
        let body = json!({"name": "Mug", "options": options});
        assert_eq!(app.put(&format!("/admin/products/{product}"), body).await.status, StatusCode::CREATED);
    }
    let mut asked = request("GET /products", &[], b"").repeat(ASKED - 1);
    asked.extend(request("GET /products", &[b"Connection: close"], b""));
    let mut stream = TcpStream::connect(app.engine().address().unwrap()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let sent = async { write.write_all(&asked).await.expect("all is sent") };
    let received = async {
        let (mut answers, mut part) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let count = read.read(&mut part).await.expect("the connection stays");
            if count == 0 {
                return answers;
            }
            answers.extend_from_slice(&part[..count]);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ((), answers) = futures::join!(sent, received);
    println!("{} bytes", answers.len());
    assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 200 OK").count(), ASKED);
    app.finish().await;
}
