//! The request itself: connect, TLS to the proxy where it has it, CONNECT, TLS, GET.

use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{DATE, HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::pki_types::{CertificateDer, ServerName};
use sortie_proto::code::Code;
use sortie_proto::host::Host;
use sortie_proto::service::Scheme;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::bundle::Bundle;
use super::super::environment::Named;
use super::verifier;
use crate::tasks::Tasks;

/// What answers of the gateway have in their header.
const CODE: &str = "x-sortie-code";
/// What names of header fields of Sortie start with.
pub(crate) const MARK: &str = "x-sortie-";

/// The longest body that is read, in bytes.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// The answer to the request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// As far as it was read.
    pub(super) body: Bytes,
    /// Why the gateway refused, if it did.
    pub(super) code: Option<Code>,
    /// Whether it is from Sortie.
    pub(super) is_marked: bool,
    /// Whether it came over TLS that the bundle vouches for.
    pub(super) is_encrypted: bool,
    pub(super) date: Option<String>,
}

/// Where it broke off.
#[derive(Debug)]
pub(super) enum Broken {
    /// No connection to the proxy.
    Connect(io::Error),
    /// No end in time.
    Late,
    /// No HTTP.
    Speech(String),
    /// No tunnel.
    Refused {
        status: StatusCode,
        code: Option<Code>,
        /// Whether it is from Sortie: a relay has codes of its own.
        is_marked: bool,
    },
    /// A certificate that the bundle does not vouch for.
    Untrusted {
        error: String,
        shown: Vec<CertificateDer<'static>>,
    },
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Asks for the URL through the proxy.
pub(super) async fn ask(named: &Named, bundle: &Bundle, url: &Url) -> Result<Answer, Broken> {
    // Connections end with the request.
    let mut tasks = Tasks::default();
    let stream = reach(named, bundle).await?;
    if url.scheme() == "http" {
        let mut request = request(Method::GET, url.as_str(), url)?;
        authorize(&mut request, named)?;
        let response = send(stream, request, &mut tasks).await?;
        return Ok(answer(response, false).await);
    }
    let host = url.host_str().unwrap_or_default();
    let authority = format!("{host}:{}", url.port_or_known_default().unwrap_or(443));
    let mut connect = request(Method::CONNECT, &authority, url)?;
    authorize(&mut connect, named)?;
    let response = send(stream, connect, &mut tasks).await?;
    if !response.status().is_success() {
        return Err(Broken::Refused {
            status: response.status(),
            code: code(response.headers()),
            is_marked: is_marked(response.headers()),
        });
    }
    let tunnel = hyper::upgrade::on(response)
        .await
        .map_err(|error| speech(&error))?;
    let stream = encrypt(TokioIo::new(tunnel), host, bundle).await?;
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let response = send(stream, request(Method::GET, &target, url)?, &mut tasks).await?;
    Ok(answer(response, true).await)
}

async fn reach(named: &Named, bundle: &Bundle) -> Result<Box<dyn Stream>, Broken> {
    let port = named.proxy.port();
    let connected = match named.proxy.host() {
        Host::Name(name) => TcpStream::connect((name.as_ref(), port)).await,
        Host::Address(address) => TcpStream::connect((*address, port)).await,
    };
    let stream = connected.map_err(Broken::Connect)?;
    if named.proxy.scheme() == Scheme::Http {
        return Ok(Box::new(stream));
    }
    let host = named.proxy.host().to_string();
    Ok(Box::new(encrypt(stream, &host, bundle).await?))
}

async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    bundle: &Bundle,
) -> Result<tokio_rustls::client::TlsStream<S>, Broken> {
    let untrusted = |error: String| Broken::Untrusted {
        error,
        shown: Vec::new(),
    };
    let (config, shown) = verifier::config(&bundle.roots)
        .ok_or_else(|| untrusted("the bundle holds no root".to_owned()))?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| untrusted(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect(name, stream)
        .await
        .map_err(|error| match is_about_tls(&error) {
            true => Broken::Untrusted {
                error: error.to_string(),
                shown: shown.lock().map(|shown| shown.clone()).unwrap_or_default(),
            },
            false => Broken::Speech(format!("it closed the tunnel: {error}")),
        })
}

/// Whether TLS itself failed, and not the connection below it.
fn is_about_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

fn request(method: Method, target: &str, url: &Url) -> Result<Request<Empty<Bytes>>, Broken> {
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, host)
        .header("User-Agent", "sortie-doctor")
        .body(Empty::new())
        .map_err(|error| Broken::Speech(error.to_string()))
}

fn authorize(request: &mut Request<Empty<Bytes>>, named: &Named) -> Result<(), Broken> {
    if let Some(secret) = named.authorization() {
        let mut value = HeaderValue::from_bytes(secret.expose())
            .map_err(|error| Broken::Speech(error.to_string()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(PROXY_AUTHORIZATION, value);
    }
    Ok(())
}

async fn send(
    stream: impl Stream + 'static,
    request: Request<Empty<Bytes>>,
    tasks: &mut Tasks,
) -> Result<Response<Incoming>, Broken> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| speech(&error))?;
    tasks.start(async move {
        // How it ended is told to whoever waits for the answer.
        drop(connection.with_upgrades().await);
    });
    sender
        .send_request(request)
        .await
        .map_err(|error| speech(&error))
}

fn speech(error: &hyper::Error) -> Broken {
    use std::error::Error as _;

    let cause = error.source().map(|cause| format!(": {cause}"));
    Broken::Speech(format!("{error}{}", cause.unwrap_or_default()))
}

async fn answer(response: Response<Incoming>, is_encrypted: bool) -> Answer {
    let (head, body) = response.into_parts();
    // An answer without the whole of its body is an answer all the same.
    let body = Limited::new(body, BODY_MAX).collect().await;
    let headers = &head.headers;
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    Answer {
        status: head.status,
        body: body.map(Collected::to_bytes).unwrap_or_default(),
        code: code(headers),
        is_marked: is_marked(headers),
        is_encrypted,
        date: date.map(str::to_owned),
    }
}

fn is_marked(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(MARK))
}

fn code(headers: &HeaderMap) -> Option<Code> {
    Code::from_name(headers.get(CODE)?.to_str().ok()?)
}
