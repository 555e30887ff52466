//! A WebSocket that gives back what it is sent, or the credential of its handshake (RFC 6455).
//!
//! | the client sends | it gets |
//! |---|---|
//! | `credential` | a text with the credential |
//! | `binary` | a binary message with it |
//! | `fragments?size=N` | a text with it, in frames of N bytes, each behind a ping with the credential |
//! | `half` | the first half of the credential, alone, at the end of a text |
//! | `drop` | nothing: the connection ends |
//! | anything else | the same |
//!
//! The 101 has the credential in `X-Echo`. With `?extensions` it agrees to compress, whatever the client offered; with
//! `?refuse` it is a 403 instead. It does not say goodbye, and reads frames of a client as they should be.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::answer::status;
use super::body::{self, Body, Received};
use super::echo;
use super::listen::Upstream;
use super::record::Connection;

/// What an accepted key is hashed with (RFC 6455, 1.3).
const ACCEPT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The kinds of frames, and the bit of a message's last one (RFC 6455, 5.2).
pub(super) const TEXT: u8 = 1;
const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;
pub(super) const LAST: u8 = 0x80;
/// The most payload of a frame that is taken.
const PAYLOAD_MAX: u64 = 16 * 1024 * 1024;

/// Answers a handshake; the frames are served in a task of their own.
///
/// # Errors
/// When the request is none, or cannot be written down.
#[expect(
    clippy::disallowed_methods,
    reason = "hyper gives the connection away once the answer has left, and nobody else owns it"
)]
pub fn answer(
    upstream: &Upstream,
    on: Connection,
    mut request: Request<Incoming>,
) -> Result<Response<Body>> {
    let upgrading = hyper::upgrade::on(&mut request);
    let (head, _incoming) = request.into_parts();
    let received = Received {
        complete: true,
        ..Received::default()
    };
    upstream.recorder().record(on, &head, &received)?;
    let query = head.uri.query().unwrap_or_default();
    if query.contains("refuse") {
        return Ok(status(StatusCode::FORBIDDEN, echo::credential(&head)));
    }
    let answer = switch(&head)?;
    let credential = echo::credential(&head);
    drop(tokio::spawn(async move {
        let Ok(upgraded) = upgrading.await else {
            return;
        };
        // How it ends is the client's affair.
        drop(serve(TokioIo::new(upgraded), &credential).await);
    }));
    Ok(answer)
}

/// The answer that switches protocols, with the credential in `X-Echo`.
pub(super) fn switch(head: &Parts) -> Result<Response<Body>> {
    let key = head.headers.get("sec-websocket-key").context("no key")?;
    let hashed = Sha1::digest([key.as_bytes(), ACCEPT.as_bytes()].concat());
    let mut answer = Response::new(body::full(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, STANDARD.encode(hashed).parse()?);
    headers.insert("x-echo", HeaderValue::from_bytes(&echo::credential(head))?);
    if head
        .uri
        .query()
        .is_some_and(|query| query.contains("extensions"))
    {
        let deflate = HeaderValue::from_static("permessage-deflate");
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, deflate);
    }
    Ok(answer)
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, credential: &[u8]) -> Result<()> {
    loop {
        let (kind, payload) = read_frame(&mut stream).await?;
        let said = std::str::from_utf8(&payload).unwrap_or_default();
        let half = credential.get(..credential.len() / 2).unwrap_or_default();
        match (kind & 0x0f, said) {
            (TEXT, "credential") => {
                let text = [b"you sent ", credential, b" to me"].concat();
                write_frame(&mut stream, LAST | TEXT, &text).await?;
            }
            (TEXT, "half") => write_frame(&mut stream, LAST | TEXT, half).await?,
            (TEXT, "binary") => write_frame(&mut stream, LAST | BINARY, credential).await?,
            (TEXT, "drop") => return Ok(()),
            (TEXT, said) if said.starts_with("fragments") => {
                let size = said
                    .strip_prefix("fragments?size=")
                    .unwrap_or("5")
                    .parse()?;
                write_fragments(&mut stream, credential, size).await?;
            }
            (CLOSE, _) => {
                write_frame(&mut stream, LAST | CLOSE, &payload).await?;
                return Ok(stream.shutdown().await?);
            }
            (TEXT | BINARY, _) => write_frame(&mut stream, kind, &payload).await?,
            _ => {}
        }
    }
}

async fn write_fragments(
    stream: &mut (impl AsyncWrite + Unpin),
    credential: &[u8],
    size: usize,
) -> Result<()> {
    for (at, part) in credential.chunks(size.max(1)).enumerate() {
        write_frame(stream, LAST | PING, credential).await?;
        write_frame(stream, if at == 0 { TEXT } else { 0 }, part).await?;
    }
    write_frame(stream, LAST, b"").await
}

/// A client's frame: its first byte and its payload without the mask.
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let second = stream.read_u8().await?;
    ensure!(second & 0x80 != 0, "a client masks its frames");
    let length = match second & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        length => u64::from(length),
    };
    ensure!(length <= PAYLOAD_MAX, "a frame of {length} bytes");
    let key = stream.read_u32().await?.to_be_bytes();
    let mut payload = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut payload).await?;
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    Ok((kind, payload))
}

/// A server's frame.
pub(super) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    kind: u8,
    payload: &[u8],
) -> Result<()> {
    let mut frame = vec![kind];
    match payload.len() {
        length @ 0..=125 => frame.push(u8::try_from(length)?),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend(u16::try_from(length)?.to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    Ok(stream.flush().await?)
}
