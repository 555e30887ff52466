//! The proxy's port over TLS, with HTTP/1.1 and HTTP/2 in it.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;

use boring::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use pingora_core::protocols::tls::SslStream;
use sortie_proto::code::Code;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::client::accept::secure::Secure;

const DEADLINE: Duration = Duration::from_secs(30);

/// A frontend whose port has a certificate; `change` changes it before it is shared.
pub(super) fn secured(
    state: &State,
    change: impl FnOnce(&mut Frontend<Recorder>),
) -> Arc<Frontend<Recorder>> {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(vec!["gateway.test".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let secure = Secure::load(certificate, key).unwrap();
    let mut frontend = frontend(state);
    let inner = Arc::get_mut(&mut frontend).unwrap();
    inner.secure = Some(Arc::new(secure));
    change(inner);
    frontend
}

/// A connection to a frontend, up to its handshake.
pub(super) struct Dialled {
    pub(super) stream: SslStream<TcpStream>,
    shaken: bool,
    served: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

async fn dial(frontend: &Arc<Frontend<Recorder>>, alpn: &[u8]) -> Dialled {
    dial_from(frontend, alpn, Ipv4Addr::LOCALHOST.into()).await
}

/// The same, from another address.
#[expect(clippy::disallowed_methods, reason = "the test holds the task")]
pub(super) async fn dial_from(
    frontend: &Arc<Frontend<Recorder>>,
    alpn: &[u8],
    source: IpAddr,
) -> Dialled {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (client, (server, _)) = (client.unwrap(), server.unwrap());
    let (stop, stopping) = watch::channel(false);
    let frontend = frontend.clone();
    let served =
        tokio::spawn(async move { accept::serve(&frontend, server, source, stopping).await });
    let mut context = SslContext::builder(SslMethod::tls()).unwrap();
    context.set_alpn_protos(alpn).unwrap();
    let mut ssl = Ssl::new(&context.build()).unwrap();
    ssl.set_verify(SslVerifyMode::NONE);
    let mut stream = SslStream::new(ssl, client).unwrap();
    let shaken = Pin::new(&mut stream).connect().await.is_ok();
    Dialled {
        stream,
        shaken,
        served,
        stop,
    }
}

/// An HTTP/2 connection to a frontend.
pub(super) struct Client {
    pub(super) requests: SendRequest<Bytes>,
    driver: JoinHandle<std::result::Result<(), h2::Error>>,
    served: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

#[expect(clippy::disallowed_methods, reason = "the test holds the task")]
pub(super) async fn dial_h2(frontend: &Arc<Frontend<Recorder>>) -> Client {
    let dialled = dial(frontend, b"\x02h2").await;
    assert_eq!(
        dialled.stream.ssl().selected_alpn_protocol(),
        Some(&b"h2"[..])
    );
    let (requests, driver) = h2::client::handshake(dialled.stream).await.unwrap();
    Client {
        requests,
        driver: tokio::spawn(driver),
        served: dialled.served,
        stop: dialled.stop,
    }
}

/// A CONNECT with a token.
fn connect(token: &str) -> http::request::Builder {
    let credentials = STANDARD.encode(format!("{token}:"));
    Request::connect("a.test:80").header("proxy-authorization", format!("Basic {credentials}"))
}

impl Client {
    pub(super) async fn ask(
        &self,
        request: Request<()>,
    ) -> (Response<RecvStream>, SendStream<Bytes>) {
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, sending) = requests.send_request(request, false).unwrap();
        (response.await.unwrap(), sending)
    }

    /// Opens a tunnel that must open.
    pub(super) async fn tunnel(&self, token: &str) -> (RecvStream, SendStream<Bytes>) {
        let (response, sending) = self.ask(connect(token).body(()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut names = response.headers().keys();
        assert!(names.all(|name| name == "date"), "{:?}", response.headers());
        (response.into_body(), sending)
    }

    /// The code of a request that must be refused, as the client reads it.
    pub(super) async fn refused(&self, request: Request<()>) -> (u16, String) {
        let (response, _sending) = self.ask(request).await;
        let (head, mut body) = response.into_parts();
        let read = body.data().await.unwrap().unwrap();
        assert_eq!(head.headers["content-length"], read.len().to_string());
        assert!(body.data().await.is_none());
        let json: serde_json::Value = serde_json::from_slice(&read).unwrap();
        let code = json["code"].as_str().unwrap().to_owned();
        assert_eq!(head.headers["x-sortie-code"], code);
        let challenged = head.headers.contains_key("proxy-authenticate");
        assert_eq!(challenged, head.status == 407);
        (head.status.as_u16(), code)
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn requests(frontend: &Frontend<Recorder>) -> usize {
    frontend.behind.app.requests.lock().len()
}

/// Sends a request through a tunnel, and waits until the proxy is done with it.
pub(super) async fn pass((mut received, mut sending): (RecvStream, SendStream<Bytes>)) {
    sending
        .send_data(Bytes::from_static(REQUEST), false)
        .unwrap();
    while received.data().await.is_some_and(|part| part.is_ok()) {}
}

#[tokio::test]
async fn in_tls_the_port_speaks_as_it_does_without() {
    let (state, token) = signed();
    let frontend = secured(&state, |_| ());
    let mut dialled = dial(&frontend, b"\x08http/1.1").await;
    assert!(dialled.shaken);
    let stream = &mut dialled.stream;
    let mut answer = vec![0; 1024];
    let anonymous = b"CONNECT a.test:80 HTTP/1.1\r\n\r\n";
    stream.write_all(anonymous).await.unwrap();
    let count = stream.read(&mut answer).await.unwrap();
    let seen = String::from_utf8_lossy(&answer[..count]).into_owned();
    assert!(seen.starts_with("HTTP/1.1 407") && seen.contains("keep-alive"));
    let credentials = STANDARD.encode(format!("{token}:"));
    let connect =
        format!("CONNECT a.test:80 HTTP/1.1\r\nProxy-Authorization: Basic {credentials}\r\n\r\n");
    stream.write_all(connect.as_bytes()).await.unwrap();
    let count = stream.read(&mut answer).await.unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
    stream.write_all(REQUEST).await.unwrap();
    dialled.served.await.unwrap();
    assert_eq!(requests(&frontend), 1);
}

#[tokio::test]
async fn without_a_certificate_tls_is_refused_with_an_alert_and_counted() {
    let frontend = frontend(&State::new());
    let mut dialled = dial(&frontend, b"\x02h2").await;
    assert!(!dialled.shaken);
    dialled.served.await.unwrap();
    assert_eq!(frontend.metrics.tls_refused.get(), 1);
    assert_eq!(frontend.metrics.handshakes_failed.get(), 0);
    // It was told: the socket ends in order, not with a reset.
    let end = dialled.stream.get_mut().read(&mut [0; 1]).await;
    assert_eq!(end.unwrap(), 0);
}

#[tokio::test]
async fn each_stream_is_a_tunnel_with_a_caller_of_its_own() {
    let (state, tokens) = signed_until(&[i64::from(u32::MAX), i64::from(u32::MAX)]);
    let frontend = secured(&state, |_| ());
    let client = dial_h2(&frontend).await;
    let first = client.tunnel(&tokens[0]).await;
    let second = client.tunnel(&tokens[1]).await;
    assert_eq!(frontend.tunnels.open(), 2);
    pass(second).await;
    assert_eq!(requests(&frontend), 1);
    pass(first).await;
    assert_eq!(requests(&frontend), 2);
    assert_eq!(frontend.tunnels.open(), 0);
}

#[tokio::test]
async fn refusals_are_read_on_their_stream_and_the_connection_goes_on() {
    let (state, token) = signed();
    let frontend = secured(&state, |_| ());
    let client = dial_h2(&frontend).await;
    let refused = async |request: http::request::Builder| {
        let (status, code) = client.refused(request.body(()).unwrap()).await;
        (status, Code::from_name(&code).unwrap())
    };
    let anonymous = Request::connect("a.test:80");
    assert_eq!(refused(anonymous).await, (407, Code::TokenMissing));
    let forged = connect("sortie_ses_forged");
    assert_eq!(refused(forged).await, (407, Code::TokenMalformed));
    let authorization = connect(&token).headers_ref().unwrap()["proxy-authorization"].clone();
    let plain = Request::get("http://a.test/").header("proxy-authorization", authorization);
    assert_eq!(refused(plain).await, (400, Code::ConnectOnly));
    let content = connect(&token).header("content-length", "4");
    assert_eq!(refused(content).await, (400, Code::RequestMalformed));
    let portless = connect(&token).uri("a.test");
    assert_eq!(refused(portless).await, (400, Code::TargetInvalid));
    assert_eq!(frontend.behind.codes.lock().len(), 5);
    pass(client.tunnel(&token).await).await;
    assert_eq!(requests(&frontend), 1);
}

#[tokio::test]
async fn a_session_that_ends_takes_its_own_tunnels_along_and_no_others() {
    let (end, later) = (i64::from(u32::MAX) - 1, i64::from(u32::MAX));
    let (state, tokens) = signed_until(&[end, later]);
    let frontend = secured(&state, |_| ());
    let client = dial_h2(&frontend).await;
    let (mut ended, _sending) = client.tunnel(&tokens[0]).await;
    let lasting = client.tunnel(&tokens[1]).await;
    assert_eq!(frontend.tunnels.cut_expired(&state, end), 1);
    let error = ended.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    pass(lasting).await;
    assert_eq!(requests(&frontend), 1);
}

#[tokio::test]
async fn a_tunnel_in_a_stream_counts_as_a_connection_of_its_session() {
    let (state, token) = signed();
    let frontend = secured(&state, |frontend| {
        frontend.tunnels = Arc::new(Tunnels::new(1, 8));
    });
    let client = dial_h2(&frontend).await;
    let held = client.tunnel(&token).await;
    let second = client.refused(connect(&token).body(()).unwrap()).await;
    assert_eq!(second, (429, "too_many".to_owned()));
    pass(held).await;
    pass(client.tunnel(&token).await).await;
}

#[tokio::test]
async fn the_client_is_told_how_many_streams_it_may_have() {
    let (state, token) = signed();
    let frontend = secured(&state, |_| ());
    let client = dial_h2(&frontend).await;
    pass(client.tunnel(&token).await).await;
    let told = client.requests.current_max_send_streams();
    assert_eq!(told, frontend.limits.streams_max as usize);
}

#[tokio::test]
async fn when_the_process_stops_tunnels_are_finished_and_the_connection_ends_behind_them() {
    let (state, token) = signed();
    let frontend = secured(&state, |_| ());
    let client = dial_h2(&frontend).await;
    let tunnel = client.tunnel(&token).await;
    client.stop.send(true).unwrap();
    pass(tunnel).await;
    assert_eq!(requests(&frontend), 1);
    let driven = tokio::time::timeout(DEADLINE, client.driver).await;
    driven.expect("GOAWAY came").unwrap().unwrap();
    let served = tokio::time::timeout(DEADLINE, client.served).await;
    served.expect("the connection ended").unwrap();
}

#[tokio::test]
async fn a_connection_that_carries_nothing_ends_in_order() {
    let frontend = secured(&State::new(), |frontend| {
        frontend.limits.idle = Duration::from_millis(50);
    });
    let client = dial_h2(&frontend).await;
    let driven = tokio::time::timeout(DEADLINE, client.driver).await;
    driven.expect("GOAWAY came").unwrap().unwrap();
}

#[tokio::test]
async fn a_flood_of_control_frames_ends_the_connection() {
    let frontend = secured(&State::new(), |frontend| {
        frontend.limits.idle = Duration::from_secs(3_600);
    });
    let mut dialled = dial(&frontend, b"\x02h2").await;
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for _ in 0..200 {
        flood.extend_from_slice(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
    dialled.stream.write_all(&flood).await.unwrap();
    let served = tokio::time::timeout(DEADLINE, dialled.served).await;
    served.expect("the connection ended").unwrap();
}

#[tokio::test]
async fn what_is_not_http_2_where_it_was_agreed_on_is_refused() {
    let frontend = secured(&State::new(), |_| ());
    let mut dialled = dial(&frontend, b"\x02h2").await;
    dialled.stream.write_all(REQUEST).await.unwrap();
    dialled.served.await.unwrap();
    assert_eq!(*frontend.behind.codes.lock(), [Code::RequestMalformed]);
}
