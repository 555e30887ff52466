//! A TCP proxy that does to a connection what networks do: late, one-way, silent, reset.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What it does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Hands them on.
    Fair,
    /// Hands them on so much later.
    Late(Duration),
    /// Loses what the client sends; the server's bytes arrive.
    LosesRequests,
    /// Loses what the server sends; the client's bytes arrive.
    LosesAnswers,
    /// Loses everything. Connections stay open, and new ones are accepted.
    Silent,
    /// Resets every connection, new ones too.
    Resets,
}

/// The proxy.
pub(super) struct FaultProxy {
    port: u16,
    weather: watch::Sender<Weather>,
    accepted: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts one before a port of this machine.
    pub(super) async fn before(port: u16) -> Self {
        Self::between("127.0.0.1:0", SocketAddr::from(([127, 0, 0, 1], port))).await
    }

    /// Starts one that listens there and hands on to `server`.
    pub(super) async fn between(listen: &str, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(listen).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = watch::Sender::new(Weather::Fair);
        let accepted = Arc::<AtomicUsize>::default();
        let (now, count) = (weather.subscribe(), accepted.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(carry(client, server, now.clone()));
            }
        });
        Self {
            port,
            weather,
            accepted,
            accepting,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections it took.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, server: SocketAddr, mut weather: watch::Receiver<Weather>) {
    client.set_zero_linger().unwrap();
    if *weather.borrow() == Weather::Resets {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    server.set_zero_linger().unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pump(
        from_client,
        to_server,
        weather.clone(),
        Weather::LosesRequests,
    );
    let down = pump(
        from_server,
        to_client,
        weather.clone(),
        Weather::LosesAnswers,
    );
    tokio::select! {
        _ = async { tokio::join!(up, down) } => {}
        // Dropping both ends sends a reset: they do not linger.
        _ = weather.wait_for(|now| *now == Weather::Resets) => {}
    }
}

/// Hands bytes on, one way.
async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    weather: watch::Receiver<Weather>,
    lost_in: Weather,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            let _ended = to.shutdown().await;
            return;
        };
        let now = *weather.borrow();
        if let Weather::Late(by) = now {
            tokio::time::sleep(by).await;
        }
        if now == lost_in || now == Weather::Silent {
            continue;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
