//! The accept loop: bounded connections, bounded waiting for headers, and a graceful end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;

use super::address::Peer;
use crate::config::Settings;

/// Most bytes of a request's line and headers.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Pause after an accept that failed because this process is out of something (file descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then lets requests in flight finish within `drain_timeout_ms`.
pub async fn serve(listener: TcpListener, router: Router, settings: &Settings, shutdown: CancellationToken) {
    // Without `pipeline_flush`: it holds an answer back while bytes of a further request are buffered,
    // so that the 400 for a malformed request, or the answer before half a request, would not be sent.
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.header_timeout_ms))
        .keep_alive(true)
        .max_buf_size(HEADER_BYTES_MAX);
    let service = TowerToHyperService::new(router.into_service::<Incoming>());
    let answer_timeout = Duration::from_millis(settings.answer_timeout_ms);
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();

    loop {
        // The place comes before the connection: more clients than places wait in the kernel's queue.
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("never closed");
            (accept(&listener).await, place)
        };
        let ((stream, address), place) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accepted => accepted,
        };
        // A client that takes nothing of its answer writes no further request, so no other time-out finds it.
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(answer_timeout));
        // An extension costs an allocation for each request.
        let peer = (settings.rate_limit_address_per_second > 0).then_some(Peer(address.ip()));
        let service = service.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            service.call(request)
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(Box::pin(stream)), service));
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }

    drop(listener);
    let drained = tokio::time::timeout(Duration::from_millis(settings.drain_timeout_ms), graceful.shutdown());
    if drained.await.is_err() {
        // Safe to cut off: an operation is one script, and a client that hears nothing asks again.
        tracing::warn!(connections = connections.len(), "requests did not finish in time and are cut off");
    }
    connections.shutdown().await;
}

/// The next connection, however long it takes.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY could not be set");
                }
                return (stream, address);
            }
            // The client went away while it waited.
            Err(error)
                if matches!(
                    error.kind(),
                    ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
                ) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
