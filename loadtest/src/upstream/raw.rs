//! Answers that no HTTP library would send, over TLS and HTTP/1.1: a head is read, a text is written, the connection
//! ends.
//!
//! | path | answer |
//! |---|---|
//! | `/malformed` or `/malformed/line` | a status line that is none, with the credential in it |
//! | `/malformed/header` | a header line without a colon, with the credential in it |
//! | `/malformed/fold` | a folded header, the credential on the second line |
//! | `/malformed/length` | two lengths that differ |
//! | `/malformed/both` | a length and chunked framing |
//! | `/malformed/chunk` | a chunk size that is none |
//! | `/malformed/short` | fewer bytes than announced |
//! | `/truncated` | a chunk, and of the next one less than its size says |
//! | `/reset` | the same, and instead of an end a reset (RST) |
//! | `/reason` | a head that is right, with the credential as its reason phrase; a 103 with the same before it |
//! | `/trailer` | a trailer with the credential behind a chunked body, announced or not |

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::Request;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::echo;
use super::listen::{Upstream, accept};

const HEAD_MAX: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves connections.
///
/// # Errors
/// When the listener fails.
pub async fn serve(upstream: Arc<Upstream>, listener: TcpListener) -> Result<()> {
    accept(listener, move |stream| {
        let upstream = Arc::clone(&upstream);
        async move {
            // A client that goes away, or sends no head in time, gets no answer.
            drop(tokio::time::timeout(PATIENCE, one(upstream, stream)).await);
        }
    })
    .await
}

async fn one(upstream: Arc<Upstream>, stream: TcpStream) -> Result<()> {
    let on = upstream.connection(true);
    let mut stream = upstream.raw_acceptor().accept(stream).await?;
    let head = read_head(&mut stream).await?;
    upstream.recorder().record_raw(on, &head)?;
    let (path, secret) = parse(&head)?;
    stream.write_all(&answer(&path, &secret)).await?;
    if path == "/reset" {
        // What was sent must have arrived: a reset overtakes it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.get_ref().0.set_zero_linger()?;
        return Ok(());
    }
    stream.shutdown().await?;
    Ok(())
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn parse(head: &str) -> Result<(String, String)> {
    let mut lines = head.lines();
    let target = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .context("no target")?;
    let mut request = Request::builder().uri(target);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(())?.into_parts();
    let secret = String::from_utf8_lossy(&echo::credential(&parts)).into_owned();
    Ok((parts.uri.path().to_owned(), secret))
}

fn answer(path: &str, secret: &str) -> Vec<u8> {
    let head = match path {
        "/malformed" | "/malformed/line" => {
            format!("HTTP/1.1 2x0 {secret}\r\ncontent-length: 0\r\n\r\n")
        }
        "/malformed/header" => {
            format!("HTTP/1.1 200 OK\r\nno colon here {secret}\r\ncontent-length: 0\r\n\r\n")
        }
        "/malformed/fold" => {
            format!("HTTP/1.1 200 OK\r\nx-folded: first\r\n {secret}\r\ncontent-length: 0\r\n\r\n")
        }
        "/malformed/length" => {
            format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 9\r\n\r\nabc{secret}")
        }
        "/malformed/both" => format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{secret}"
        ),
        "/malformed/chunk" => {
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz {secret}\r\n")
        }
        "/malformed/short" => format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{secret}"),
        "/truncated" | "/reset" => {
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n64\r\nhalf"
                .to_owned()
        }
        "/reason" => format!(
            "HTTP/1.1 103 {secret}\r\nx-{secret}: 1\r\n\r\nHTTP/1.1 200 {secret}\r\ncontent-length: 2\r\n\r\nok"
        ),
        "/trailer" => format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-echo-trailer\r\n\r\n3\r\nabc\r\n0\r\nx-echo-trailer: {secret}\r\n\r\n"
        ),
        _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
    };
    head.into_bytes()
}
