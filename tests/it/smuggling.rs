//! Promise: whatever a proxy in front reads out of the bytes of a request, the engine reads the same, or refuses them.

use reqwest::StatusCode;

use super::test_app::TestApp;
use super::wire::{Wire, head, request};

const JSON: &[u8] = b"Content-Type: application/json";
const CHUNKED: &[u8] = b"Transfer-Encoding: chunked";
const CHARGE: &str = "POST /users/1/balance";

async fn shop() -> TestApp {
    let app = TestApp::start().await;
    app.user_with(1, 0).await;
    app
}

/// The charge that must not be carried out.
fn hidden() -> Vec<u8> {
    request(CHARGE, &[JSON], br#"{"amount":7}"#)
}

/// Sends bytes with a charge behind them. At most one answer may come, it must be a refusal, and the connection ends.
async fn assert_ended(app: &TestApp, bytes: &[u8], story: &str) {
    let mut wire = Wire::connect(app).await;
    wire.write(&[bytes, &hidden()].concat()).await;
    if let Some(answer) = wire.answer().await {
        assert!(answer.status.is_client_error(), "{story}: {answer:?}");
    }
    assert!(wire.answer().await.is_none(), "{story}: the hidden request was answered");
    assert_eq!(app.balance(1).await, 0, "{story}: the hidden request was carried out");
}

/// Chunks whose length can be read in two ways. Goal: none of them is read at all.
#[tokio::test]
async fn a_chunk_of_doubtful_length_ends_its_connection() {
    let app = shop().await;
    let bodies: [&[u8]; 24] = [
        b"-1\r\n\r\n",
        b"+0\r\n\r\n",
        b"0x0\r\n\r\n",
        b" 0\r\n\r\n",
        b"\t0\r\n\r\n",
        b"0_0\r\n\r\n",
        b"g\r\n\r\n",
        b"\r\n\r\n",
        b";x\r\n\r\n",
        b"0,0\r\n\r\n",
        b"0 0\r\n\r\n",
        b"\xc2\xb2\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"10000000000000000\r\n\r\n",
        b"100000000000000000000000000000000\r\n\r\n",
        b"0\n\n",
        b"0\r\r\n",
        b"0;x\n\r\n",
        // More, or less, than was said.
        b"c\r\n{\"amount\":7}X\r\n0\r\n\r\n",
        b"1\r\n{\"amount\":7}\r\n0\r\n\r\n",
        b"c\r\n{\"amount\":7}0\r\n\r\n",
        b"c\n{\"amount\":7}\n0\n\n",
        // What follows the last chunk is no trailer.
        b"0\r\nPOST /users/1/balance HTTP/1.1\r\n\r\n",
        b"0\r\n: x\r\n\r\n",
    ];
    for body in bodies {
        let bytes = [head(CHARGE, &[JSON, CHUNKED]).as_slice(), body].concat();
        assert_ended(&app, &bytes, &String::from_utf8_lossy(body)).await;
    }
    app.finish().await;
}

/// Lengths that servers read in different ways: which header counts, how often, how it is folded, spelled, or ended.
#[tokio::test]
async fn a_request_of_doubtful_length_ends_its_connection() {
    let app = shop().await;
    let length = format!("Content-Length: {}", hidden().len() + 5).into_bytes();
    let shapes: [(&[&[u8]], &[u8]); 24] = [
        (&[&length, CHUNKED], b"0\r\n\r\n"),
        (&[CHUNKED, &length], b"0\r\n\r\n"),
        (&[CHUNKED, b"Content-Length: 0"], b"0\r\n\r\n"),
        (&[b"content-length: 5", b"TRANSFER-ENCODING: CHUNKED"], b"0\r\n\r\n"),
        (&[b"Content-Length: 0", &length], b""),
        (&[&length, b"Content-Length: 0"], b""),
        (&[b"Content-Length: 0, 12"], b""),
        (&[b"Content-Length: 1 2"], b""),
        (&[b"Content-Length: 1e1"], b""),
        (&[b"Content-Length: \xc2\xb9"], b""),
        (&[b"Content-Length: 99999999999999999999999999"], b""),
        // Folded lines.
        (&[b"Content-Length: 0\r\n 12"], b""),
        (&[b"X: y\r\n\tTransfer-Encoding: chunked"], b"0\r\n\r\n"),
        (&[b"Transfer-Encoding:\r\n chunked"], b"0\r\n\r\n"),
        (&[b" Content-Length: 12"], b""),
        // Names and values that only some would recognise.
        (&[b"Content-Length : 12"], b""),
        (&[b"Content-Length\t: 12"], b""),
        (&[b"Transfer-Encoding: \x0bchunked"], b"0\r\n\r\n"),
        (&[b"Transfer-Encoding: chunked\x00"], b"0\r\n\r\n"),
        (&[b"Transfer-Encoding: chunked, chunked"], b"0\r\n\r\n"),
        (&[CHUNKED, CHUNKED], b"0\r\n\r\n"),
        (&[b"Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n"),
        (&[b"Transfer-Encoding: \"chunked\""], b"0\r\n\r\n"),
        (&[b"X: y\rContent-Length: 12"], b""),
    ];
    for (headers, between) in shapes {
        let story: Vec<_> = headers.iter().map(|it| String::from_utf8_lossy(it)).collect();
        let bytes = [head(CHARGE, &[&[JSON], headers].concat()).as_slice(), between].concat();
        assert_ended(&app, &bytes, &format!("{story:?}")).await;
    }
    // HTTP/1.0 knows no chunks.
    let old = [
        b"POST /users/1/balance HTTP/1.0\r\nContent-Type: application/json\r\n",
        CHUNKED,
        b"\r\n\r\n0\r\n\r\n",
    ];
    assert_ended(&app, &old.concat(), "chunks in HTTP/1.0").await;
    app.finish().await;
}

/// Goal: what is unusual and has one meaning is read in that one: the body ends where it says, and what follows is the
/// next request.
#[tokio::test]
async fn what_has_one_meaning_is_read_in_that_one() {
    let app = shop().await;
    let body = br#"{"amount":1}"#;
    let chunks: &[u8] = b"00c;name=\"value\"\r\n{\"amount\":1}\r\n000\r\nContent-Length: 99\r\nX: y\r\n\r\n";
    let shapes: [(&[&[u8]], &[u8]); 5] = [
        (&[b"Content-Length: 12"], body),
        (&[b"content-LENGTH:012"], body),
        (&[b"Content-Length:  12\t "], body),
        (&[CHUNKED], b"C\r\n{\"amount\":1}\r\n0\r\n\r\n"),
        (&[b"transfer-encoding: Chunked"], chunks),
    ];
    let mut balance = 0;
    for (headers, sent) in shapes {
        let story: Vec<_> = headers.iter().map(|it| String::from_utf8_lossy(it)).collect();
        let mut wire = Wire::connect(&app).await;
        let next = request("GET /users/1/balance", &[], b"");
        let bytes = [head(CHARGE, &[&[JSON], headers].concat()).as_slice(), sent, &next].concat();
        wire.write(&bytes).await;
        let answers = [wire.answer().await.unwrap(), wire.answer().await.unwrap()];
        balance += 1;
        assert_eq!(
            (answers[0].status, &answers[0].body["balance"]),
            (StatusCode::CREATED, &balance.into()),
            "{story:?}"
        );
        assert_eq!(
            (answers[1].status, &answers[1].body["balance"]),
            (StatusCode::OK, &balance.into()),
            "{story:?}"
        );
    }
    // The same length twice is one length, or a refusal; never two requests out of one.
    let twice = head(CHARGE, &[JSON, b"Content-Length: 12", b"Content-Length: 12"]);
    let mut wire = Wire::connect(&app).await;
    wire.write(&[twice.as_slice(), body].concat()).await;
    let answer = wire.answer().await.unwrap();
    balance += i64::from(answer.status == StatusCode::CREATED);
    assert!(answer.status == StatusCode::CREATED || answer.status.is_client_error(), "{answer:?}");
    assert_eq!(app.balance(1).await, balance);

    // Nobody is moved to another protocol, behind which a proxy could not look.
    let mut wire = Wire::connect(&app).await;
    let upgrade: [&[u8]; 3] = [
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    ];
    wire.write(&request("GET /users/1/balance", &upgrade, b"")).await;
    assert_eq!(wire.answer().await.unwrap().status, StatusCode::OK, "and not 101");
    app.finish().await;
}
