//! The base-URL form: what a client that knows no proxy sees.

use std::net::IpAddr;

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// What a client at an address reads for a request.
async fn asked(frontend: &Arc<Frontend<Recorder>>, source: IpAddr, request: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut client, server) = (client.unwrap(), server.unwrap().0);
    let agent = async {
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let serving = Box::pin(accept::serve(frontend, server, source, stopping));
    tokio::join!(agent, serving).0
}

fn get(path: &str, key: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n{key}\r\n\r\n")
}

#[tokio::test]
async fn a_token_is_all_that_a_request_needs() {
    let (state, token) = signed();
    let frontend = frontend(&state);
    let basic = STANDARD.encode(format!("{token}:"));
    for key in [
        format!("Authorization: Bearer {token}"),
        format!("x-api-key: {token}"),
        format!("Api-Key: {token}\r\nAuthorization: Bearer something-else"),
        format!("Authorization: Basic {basic}\r\nx-api-key: {token}"),
    ] {
        asked(&frontend, HERE, &get("/r/main/api/v1?x", &key)).await;
    }
    let expect = ("/v1?x".to_owned(), Some("/r/main/api".to_owned()));
    assert_eq!(*frontend.behind.app.paths.lock(), vec![expect; 4]);
    assert!(frontend.behind.codes.lock().is_empty());
}

#[tokio::test]
async fn each_refusal_says_what_is_wrong() {
    let (state, token) = signed();
    let frontend = frontend(&state);
    let key = format!("x-api-key: {token}");
    let two = format!("{key}\r\napi-key: sortie_ses_another");
    for (path, key, status, code) in [
        ("/r/main/api/", "x-api-key: sk-mine", 401, "key_missing"),
        ("/r/main/api/", "Accept: */*", 401, "key_missing"),
        ("/r/main/api/", &two, 401, "token_malformed"),
        ("/r/main/none/", &key, 404, "service_unknown"),
        ("/r/main", &key, 400, "target_invalid"),
        ("/r/other/api/", &key, 403, "vault_mismatch"),
    ] {
        let answer = asked(&frontend, HERE, &get(path, key)).await;
        let start = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&start), "{path}: {answer}");
        let named = format!("X-Sortie-Code: {code}\r\n");
        assert!(answer.contains(&named), "{path}: {answer}");
        let challenged = answer.contains("WWW-Authenticate: Bearer");
        assert_eq!(challenged, status == 401, "{answer}");
    }
    assert!(frontend.behind.app.paths.lock().is_empty());
    assert_eq!(frontend.tunnels.open(), 0);
}

#[tokio::test]
async fn a_body_that_is_still_coming_does_not_take_the_answer_away() {
    let frontend = frontend(&State::new());
    let body = "x".repeat(200_000);
    let request = format!(
        "POST /r/main/api/x HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = asked(&frontend, HERE, &request).await;
    assert!(
        answer.ends_with('}') && answer.contains("key_missing"),
        "{answer}"
    );
}

#[tokio::test]
async fn in_the_clear_it_is_for_this_machine_unless_the_operator_says_otherwise() {
    let (state, token) = signed();
    let mut frontend = frontend(&state);
    let request = get("/r/main/api/x", &format!("x-api-key: {token}"));
    let answer = asked(&frontend, ELSEWHERE, &request).await;
    assert!(answer.contains("cleartext_refused"), "{answer}");
    assert!(frontend.behind.app.paths.lock().is_empty());
    Arc::get_mut(&mut frontend).unwrap().cleartext_base_url = true;
    asked(&frontend, ELSEWHERE, &request).await;
    assert_eq!(frontend.behind.app.paths.lock().len(), 1);
}

#[tokio::test]
async fn in_tls_it_is_for_everyone_who_offers_http_2_too() {
    let (state, token) = signed();
    let frontend = ways::secured(&state, |_| {});
    let mut dialled = ways::dial_from(&frontend, b"\x02h2\x08http/1.1", ELSEWHERE).await;
    let request = get("/r/main/api/x", &format!("x-api-key: {token}"));
    dialled.stream.write_all(request.as_bytes()).await.unwrap();
    // The proxy of these tests answers nothing, and closes.
    let mut answer = Vec::new();
    let _closed = dialled.stream.read_to_end(&mut answer).await;
    let expect = ("/x".to_owned(), Some("/r/main/api".to_owned()));
    assert_eq!(*frontend.behind.app.paths.lock(), [expect]);
    assert!(frontend.behind.codes.lock().is_empty());
}

/// Asks on a stream of its own, whose client has more to send.
async fn streamed(client: &ways::Client, path: &str, token: &str) -> h2::SendStream<bytes::Bytes> {
    let request = http::Request::post(format!("https://gateway.test{path}"));
    let request = request.header("x-api-key", token).body(()).unwrap();
    let mut requests = client.requests.clone().ready().await.unwrap();
    // The proxy of these tests answers nothing.
    let (_answer, sending) = requests.send_request(request, false).unwrap();
    sending
}

/// Waits until the gateway has reset a stream.
async fn reset(mut sending: h2::SendStream<bytes::Bytes>) -> h2::Reason {
    let reset = std::future::poll_fn(|cx| sending.poll_reset(cx));
    let waiting = tokio::time::timeout(Duration::from_secs(30), reset);
    waiting.await.expect("the stream ends").unwrap()
}

#[tokio::test]
async fn on_http_2_each_stream_decides_for_itself() {
    let (state, token) = signed();
    let frontend = ways::secured(&state, |_| {});
    let client = ways::dial_h2(&frontend).await;
    let tunnel = client.tunnel(&token).await;
    let mut asking = streamed(&client, "/r/main/api/v1?x=/y", &token).await;
    asking.send_data("body".into(), true).unwrap();
    reset(asking).await;
    let expect = ("/v1?x=/y".to_owned(), Some("/r/main/api".to_owned()));
    assert_eq!(*frontend.behind.app.paths.lock(), [expect]);
    let read = frontend.behind.app.requests.lock().clone();
    assert_eq!(read, [(false, b"body".to_vec())]);
    let timeouts = frontend.behind.app.write_timeouts.lock().clone();
    assert_eq!(timeouts, [Some(frontend.limits.write_timeout)]);
    assert_eq!(frontend.tunnels.open(), 1);
    ways::pass(tunnel).await;
    assert!(frontend.behind.codes.lock().is_empty());
}

#[tokio::test]
async fn on_http_2_each_refusal_says_what_is_wrong_and_the_connection_goes_on() {
    let (state, token) = signed();
    let frontend = ways::secured(&state, |_| {});
    let client = ways::dial_h2(&frontend).await;
    for (path, key, status, code) in [
        ("/r/main/api/", "sk-mine", 401, "key_missing"),
        ("/r/main/none/", &token, 404, "service_unknown"),
        ("/r/main", &token, 400, "target_invalid"),
        ("/r/other/api/", &token, 403, "vault_mismatch"),
    ] {
        let request = http::Request::get(format!("https://gateway.test{path}"));
        let request = request.header("x-api-key", key).body(()).unwrap();
        let found = client.refused(request).await;
        assert_eq!(found, (status, code.to_owned()), "{path}");
    }
    let request = http::Request::head("https://gateway.test/r/main/none/");
    let request = request.header("x-api-key", &token).body(()).unwrap();
    let (answer, _sending) = client.ask(request).await;
    assert_eq!(answer.status(), 404);
    assert!(answer.into_body().data().await.is_none());
    assert!(frontend.behind.app.paths.lock().is_empty());
    assert_eq!(frontend.behind.codes.lock().len(), 5);
    assert_eq!(frontend.tunnels.open(), 0);
}

#[tokio::test]
async fn on_http_2_a_session_that_ends_takes_its_own_requests_along_and_no_others() {
    let (end, later) = (i64::from(u32::MAX) - 1, i64::from(u32::MAX));
    let (state, tokens) = signed_until(&[end, later]);
    let frontend = ways::secured(&state, |frontend| {
        frontend.tunnels = Arc::new(Tunnels::new(1, 8));
    });
    let client = ways::dial_h2(&frontend).await;
    let ended = streamed(&client, "/r/main/api/", &tokens[0]).await;
    let mut lasting = streamed(&client, "/r/main/api/", &tokens[1]).await;
    let both = async {
        while frontend.tunnels.open() < 2 {
            tokio::task::yield_now().await;
        }
    };
    let both = tokio::time::timeout(Duration::from_secs(30), both).await;
    both.expect("both requests are under way");
    // Each counts as a connection of its session.
    let more = http::Request::get("https://gateway.test/r/main/api/").header("api-key", &tokens[1]);
    let more = client.refused(more.body(()).unwrap()).await;
    assert_eq!(more, (429, "too_many".to_owned()));
    assert_eq!(frontend.tunnels.cut_expired(&state, end), 1);
    assert_eq!(reset(ended).await, h2::Reason::CANCEL);
    lasting.send_data("still".into(), true).unwrap();
    reset(lasting).await;
    let read = frontend.behind.app.requests.lock().clone();
    assert_eq!(read, [(false, b"still".to_vec())]);
    assert_eq!(frontend.tunnels.open(), 0);
}
