//! An agent's WebSocket (RFC 6455): short text messages, and their echoes.

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::wire::Route;
use crate::client;

/// A whole text message, masked.
const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0x3a, 0x91, 0x5c, 0xe7];
/// The longest message: its length stands in one byte.
const MESSAGE_MAX: u8 = 125;

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket(TlsStream<TcpStream>);

impl Socket {
    /// Opens one.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn open(route: &Route) -> Result<Self> {
        let mut stream = route.open().await?;
        let request = format!(
            "GET /websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            route.authority()
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let head = client::read_head(&mut stream).await?;
        let status = client::status(&head)?;
        ensure!(status == 101, "status {status}");
        Ok(Self(stream))
    }

    /// Sends a text, and reads what comes back.
    ///
    /// # Errors
    /// When the connection ends, or the answer is no short text.
    pub async fn echo(&mut self, text: &str) -> Result<Vec<u8>> {
        let length = u8::try_from(text.len())
            .ok()
            .filter(|length| *length <= MESSAGE_MAX);
        let length = length.context("the message is too long")?;
        let mut frame = vec![TEXT, MASKED | length];
        frame.extend(MASK);
        let masked = text.bytes().zip(MASK.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        self.0.write_all(&frame).await?;
        self.0.flush().await?;
        let kind = self.0.read_u8().await?;
        let length = self.0.read_u8().await?;
        ensure!(
            kind == TEXT && length <= MESSAGE_MAX,
            "not a short text message"
        );
        let mut echo = vec![0; usize::from(length)];
        self.0.read_exact(&mut echo).await?;
        Ok(echo)
    }

    /// Waits until the other side ends it.
    pub async fn ended(&mut self) {
        // An end, an error or a goodbye: each is one.
        let _ended = self.0.read_u8().await;
    }
}
