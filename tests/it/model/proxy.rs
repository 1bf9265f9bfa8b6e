//! A proxy in front of Redis that calls one script in another's place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// By the digest that is called, the one that is called instead.
pub type Swap = Arc<Mutex<HashMap<String, String>>>;

/// Passes everything on, with one digest for another.
pub async fn proxy(listener: TcpListener, to: String, swap: Swap) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, swap) = (TcpStream::connect(&to).await.unwrap(), swap.clone());
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        tokio::spawn(async move {
            let mut chunk = vec![0; 1 << 16];
            while let Ok(length @ 1..) = from_client.read(&mut chunk).await {
                replace(&mut chunk[..length], &swap.lock().unwrap());
                to_server.write_all(&chunk[..length]).await.unwrap();
            }
        });
    }
}

/// What stands before a digest.
const CALL: &[u8] = b"EVALSHA\r\n$40\r\n";

/// A request is one write of a few hundred bytes, so a digest is in one chunk.
fn replace(chunk: &mut [u8], swap: &HashMap<String, String>) {
    let mut at = 0;
    while let Some(found) = chunk[at..].windows(CALL.len()).position(|it| it == CALL) {
        at += found + CALL.len();
        let Some(digest) = chunk.get_mut(at..at + 40) else { return };
        if let Some(instead) = std::str::from_utf8(digest).ok().and_then(|it| swap.get(it)) {
            digest.copy_from_slice(instead.as_bytes());
        }
    }
}
