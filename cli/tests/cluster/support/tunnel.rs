//! CONNECT tunnels that a test opens itself, and in which it says what it likes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Asks a gateway's proxy port for a tunnel; answers the status, and the stream behind the head of the answer.
pub(crate) async fn connect(port: u16, authority: &str, token: &str) -> (u16, TcpStream) {
    let basic = STANDARD.encode(format!("x:{token}"));
    let request = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: Basic {basic}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok());
    (status.unwrap_or_else(|| panic!("{head}")), stream)
}
