//! A small TCP proxy between two processes: it can be cut, turned to another server, and can swallow replies or hold them
//! back.

use std::time::Duration;

use firstcome::dev::ports;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy)]
struct Orders {
    /// Port of the server behind it.
    target: u16,
    /// Nobody gets through.
    cut: bool,
    /// Requests arrive, replies do not.
    replies_dropped: bool,
    /// Requests arrive, replies come later.
    replies_held: bool,
    /// Connections that were made before the newest cut have ended.
    cuts: u64,
}

/// Listens on a port of its own until it is dropped.
pub struct Proxy {
    pub port: u16,
    orders: watch::Sender<Orders>,
    listener: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(target: u16) -> Self {
        let port = ports::free().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let through = Orders { target, cut: false, replies_dropped: false, replies_held: false, cuts: 0 };
        let orders = watch::Sender::new(through);
        let known = orders.subscribe();
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, known.clone()));
            }
        });
        Self { port, orders, listener }
    }

    /// Ends all connections and refuses new ones.
    pub fn cut(&self) {
        self.orders.send_modify(|it| (it.cut, it.cuts) = (true, it.cuts + 1));
    }

    /// New connections go to `target`; those that exist end.
    pub fn turn_to(&self, target: u16) {
        self.orders.send_modify(|it| (it.target, it.cut, it.cuts) = (target, false, it.cuts + 1));
    }

    /// Holds every reply back, or hands them over after all.
    pub fn hold_replies(&self, held: bool) {
        self.orders.send_modify(|it| it.replies_held = held);
    }

    /// Swallows every reply for a while; then the connections that lost one end.
    pub async fn drop_replies(&self, length: Duration) {
        self.orders.send_modify(|it| it.replies_dropped = true);
        tokio::time::sleep(length).await;
        self.orders.send_modify(|it| (it.replies_dropped, it.cuts) = (false, it.cuts + 1));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.listener.abort();
    }
}

async fn carry(mut client: TcpStream, mut orders: watch::Receiver<Orders>) {
    let begun = *orders.borrow();
    if begun.cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", begun.target)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (replies_dropped, mut replies_held) = (orders.clone(), orders.clone());
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let requests = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let replies = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if replies_dropped.borrow().replies_dropped {
                continue;
            }
            if replies_held.wait_for(|it| !it.replies_held).await.is_err() {
                return;
            }
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = replies => {}
        _ = orders.wait_for(|it| it.cuts != begun.cuts) => {}
    }
}
