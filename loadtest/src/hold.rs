//! Connections that do nothing, in every way in which a connection can do nothing.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::client;
use crate::drive::wire::{Connection, Route};
use crate::plan::{Kind, Protocol};

/// What a half-sent upload has sent, of twice as much.
const HALF: usize = 256 * 1024;
/// What a download that is not read on would be: more than all buffers on the way.
const DOWNLOAD: usize = 64 * 1024 * 1024;

/// How long it is looked whether an answer came that should not.
const LOOK: Duration = Duration::from_millis(100);

/// How a connection does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// An HTTP/1.1 tunnel between requests.
    Idle1,
    /// An HTTP/2 tunnel between requests.
    Idle2,
    /// A request whose answer does not come.
    Waiting,
    /// An upload that stops half-way.
    Upload,
    /// An answer that is not read on.
    Download,
}

impl Holding {
    /// What people read.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Idle1 => "idle HTTP/1.1 tunnel",
            Self::Idle2 => "idle HTTP/2 tunnel",
            Self::Waiting => "waiting for an answer",
            Self::Upload => "half-sent upload",
            Self::Download => "download that is not read",
        }
    }

    /// What connections speak.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Idle2 => Protocol::Http2,
            Self::Idle1 | Self::Waiting | Self::Upload | Self::Download => Protocol::Http1,
        }
    }

    /// Of a group that only holds.
    #[must_use]
    pub const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Waiting => Some(Self::Waiting),
            Kind::Upload => Some(Self::Upload),
            Kind::Download => Some(Self::Download),
            Kind::Request | Kind::Sse | Kind::Websocket => None,
        }
    }
}

/// A connection that is held. Dropped, it is closed.
#[derive(Debug)]
pub enum Held {
    /// Between HTTP/1.1 requests, or in the middle of one.
    Stream(Stream),
    /// Between HTTP/2 requests.
    Idle2(Connection),
}

impl Held {
    /// Opens one and brings it to where it does nothing. Idle ones have made a request.
    ///
    /// # Errors
    /// When it cannot be opened, or is not answered as it should.
    pub async fn open(route: &Route, how: Holding) -> Result<Self> {
        if how == Holding::Idle2 {
            let mut held = Self::Idle2(Connection::open(route, Protocol::Http2).await?);
            held.ask().await?;
            return Ok(held);
        }
        let mut stream = Box::new(route.open().await?);
        let authority = route.authority();
        let head = match how {
            Holding::Waiting => {
                format!("GET /slow?ms=86400000 HTTP/1.1\r\nHost: {authority}\r\n\r\n")
            }
            Holding::Upload => format!(
                "POST /upload HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {}\r\n\r\n",
                2 * HALF
            ),
            Holding::Download => {
                format!("GET /bytes/{DOWNLOAD} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
            }
            Holding::Idle1 | Holding::Idle2 => String::new(),
        };
        stream.write_all(head.as_bytes()).await?;
        if how == Holding::Upload {
            stream.write_all(&vec![b'x'; HALF]).await?;
        }
        stream.flush().await?;
        if how == Holding::Download {
            let status = client::status(&client::read_head(&mut stream).await?)?;
            ensure!(status == 200, "answered {status}");
        }
        let mut held = Self::Stream(Stream {
            how,
            stream,
            authority,
        });
        if how == Holding::Idle1 {
            held.ask().await?;
        }
        Ok(held)
    }

    /// Whether it still is as it should be: an idle one is asked, and answers; what waits for an answer has none yet;
    /// of a download there is more.
    ///
    /// # Errors
    /// When it is not: it was refused, or has ended.
    pub async fn check(&mut self) -> Result<()> {
        let Self::Stream(held) = self else {
            return self.ask().await;
        };
        match held.how {
            Holding::Idle1 | Holding::Idle2 => self.ask().await,
            Holding::Download => held.stream.read_u8().await.map(drop).map_err(Into::into),
            Holding::Waiting | Holding::Upload => {
                match timeout(LOOK, held.stream.read_u8()).await {
                    Err(_nothing) => Ok(()),
                    Ok(Ok(_)) => bail!("answered too early"),
                    Ok(Err(ended)) => Err(ended.into()),
                }
            }
        }
    }

    async fn ask(&mut self) -> Result<()> {
        let status = match self {
            Self::Stream(held) => {
                let answer = client::get(&mut held.stream, &held.authority, "/");
                answer.await?.status
            }
            Self::Idle2(connection) => {
                let answer = connection.get("/").await?;
                let status = answer.status().as_u16();
                answer.into_body().collect().await?;
                status
            }
        };
        ensure!(status == 200, "answered {status}");
        Ok(())
    }
}

/// An HTTP/1.1 connection that is held.
#[derive(Debug)]
pub struct Stream {
    how: Holding,
    stream: Box<TlsStream<TcpStream>>,
    authority: String,
}
