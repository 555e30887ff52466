//! The driver's side of connections: TLS with a given root, CONNECT with a token, one HTTP/1.1 request.
//!
//! It writes and reads bytes itself: what is measured is the proxy, so the driver's memory and work stay small.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const HEAD_MAX: usize = 16 * 1024;

/// The provider that every TLS configuration here uses.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A configuration that trusts the certificates in a PEM file and nothing else.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub fn trusting(root: &Path, alpn: &[&str]) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(root)
        .with_context(|| format!("cannot read {}", root.display()))?
    {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    // A driver that resumes would measure something else in its second half.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// A tunnel through a proxy, not yet TLS.
///
/// # Errors
/// When the proxy refuses or goes away.
pub async fn tunnel(proxy: SocketAddr, authority: &str, token: &str) -> Result<TcpStream> {
    let mut stream = dial(None, proxy).await?;
    connect(&mut stream, authority, Some(token)).await?;
    Ok(stream)
}

/// A connection; from an address of this machine, if one is given.
///
/// # Errors
/// When nobody takes it.
pub async fn dial(source: Option<IpAddr>, to: SocketAddr) -> Result<TcpStream> {
    let stream = match source {
        // Without an address the system takes ports of connections that have just ended, too: they do not run out.
        None => TcpStream::connect(to).await?,
        Some(source) => {
            let socket = match source {
                IpAddr::V4(_) => TcpSocket::new_v4()?,
                IpAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.bind(SocketAddr::new(source, 0))?;
            socket.connect(to).await?
        }
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Has a proxy make a tunnel of a connection; with a session's token, if it wants one.
///
/// # Errors
/// When it refuses or goes away.
pub async fn connect(stream: &mut TcpStream, authority: &str, token: Option<&str>) -> Result<()> {
    let shown = token.map(|token| STANDARD.encode(format!("{token}:")));
    let shown = shown.map(|basic| format!("Proxy-Authorization: Basic {basic}\r\n"));
    let request = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{}\r\n",
        shown.unwrap_or_default()
    );
    stream.write_all(request.as_bytes()).await?;
    let head = read_head(stream).await?;
    ensure!(
        status(&head)? == 200,
        "the proxy refused the tunnel: {}",
        first_line(&head)
    );
    Ok(())
}

/// TLS over a stream.
///
/// # Errors
/// When the handshake fails.
pub async fn secure<S>(config: Arc<ClientConfig>, host: &str, stream: S) -> Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned())?;
    Ok(TlsConnector::from(config).connect(name, stream).await?)
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its head, as sent.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// One GET over HTTP/1.1; the answer must have a `Content-Length`.
///
/// # Errors
/// When the answer is not HTTP/1.1 with a length, or breaks off.
pub async fn get<S>(stream: &mut S, host: &str, target: &str) -> Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let head = read_head(stream).await?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("the answer has no length")?;
    let mut body = vec![0; length.1.trim().parse()?];
    stream.read_exact(&mut body).await?;
    Ok(Answer {
        status: status(&head)?,
        head,
        body,
    })
}

/// Reads the head of an answer.
///
/// # Errors
/// When it is too long, or the connection ends before.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < HEAD_MAX, "the answer's head is too long");
        head.push(
            stream
                .read_u8()
                .await
                .context("the connection ended before an answer")?,
        );
    }
    Ok(String::from_utf8(head)?)
}

fn first_line(head: &str) -> &str {
    head.lines().next().unwrap_or_default()
}

/// The status in a head.
///
/// # Errors
/// When there is none.
pub fn status(head: &str) -> Result<u16> {
    let digits = first_line(head)
        .split(' ')
        .nth(1)
        .context("not a status line")?;
    Ok(digits.parse()?)
}
