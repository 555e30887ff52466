use std::path::PathBuf;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::output::Format;
use crate::relay::gateway::Trust;
use crate::relay::token::Token;

/// A gateway that answers the heads that it is sent with what it is told to, and then repeats what comes.
pub(in crate::relay) struct Gate {
    pub(in crate::relay) listener: TcpListener,
    pub(in crate::relay) heads: Vec<String>,
}

impl Gate {
    pub(in crate::relay) async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            heads: Vec::new(),
        }
    }

    pub(in crate::relay) async fn answer(&mut self, answer: &str) -> TcpStream {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        self.heads.push(String::from_utf8(head).unwrap());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    }
}

fn token(id: &str) -> Token {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let claims = json!({"jti": id, "iat": 0, "exp": 3600}).to_string();
    let text = format!("sortie_ses_h.{}.s", URL_SAFE_NO_PAD.encode(claims));
    Token::read(&Secret::new(text.into_bytes())).unwrap()
}

pub(in crate::relay) fn door(gate: &Gate, password: Option<&str>) -> Arc<Door> {
    let url = format!("http://{}", gate.listener.local_addr().unwrap());
    let crew = Crew::default();
    let trust = || Trust::new(Some(&PathBuf::from("/nowhere")));
    Arc::new(Door {
        session: Arc::new(Session::new(token("ses_01"))),
        gateway: Arc::new(Gateway::new(&url, trust, crew.clone()).unwrap()),
        password: password.map(|text| Secret::new(text.as_bytes().to_vec())),
        crew,
        out: Output::new(Format::Json),
    })
}

/// Both ends of a connection.
pub(in crate::relay) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// Sends bytes to the relay and reads up to the end of a head.
async fn ask(door: &Arc<Door>, request: &str) -> (TcpStream, String) {
    let (mut client, server) = pair().await;
    door.crew.start(door.clone().serve(server));
    client.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_end) => break,
        }
    }
    (client, String::from_utf8(head).unwrap())
}

const CONNECT: &str = "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n";
const OPEN: &str = "HTTP/1.1 200 Connection Established\r\n\r\n";

#[tokio::test]
async fn a_tunnel_carries_the_token_there_and_bytes_both_ways() {
    let mut gate = Gate::new().await;
    let door = door(&gate, None);
    let ((mut client, head), mut far) = tokio::join!(ask(&door, CONNECT), gate.answer(OPEN));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let sent = gate.heads.first().unwrap();
    assert!(
        sent.starts_with("CONNECT api.test:443 HTTP/1.1\r\n"),
        "{sent}"
    );
    let lower = sent.to_lowercase();
    assert_eq!(
        lower
            .matches("proxy-authorization: bearer sortie_ses_h.")
            .count(),
        1,
        "{sent}"
    );
    assert!(lower.contains("\r\nhost: api.test:443\r\n"), "{sent}");
    client.write_all(b"ping").await.unwrap();
    let mut four = [0; 4];
    far.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"ping");
    far.write_all(b"pong").await.unwrap();
    client.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"pong");
    // The end of one side is the end of the other.
    drop(far);
    assert_eq!(client.read(&mut four).await.unwrap(), 0);
}

#[tokio::test]
async fn only_who_knows_the_password_comes_in() {
    let mut gate = Gate::new().await;
    let door = door(&gate, Some("secret"));
    let with = |pair: &str| {
        let value = STANDARD.encode(pair);
        CONNECT.replace(
            "Host:",
            &format!("Proxy-Authorization: Basic {value}\r\nHost:"),
        )
    };
    let bearer = CONNECT.replace("Host:", "Proxy-Authorization: Bearer secret\r\nHost:");
    for request in [
        CONNECT.to_owned(),
        bearer,
        with("x:wrong"),
        with("secret"),
        with("x:secret2"),
        with("x:"),
    ] {
        let (_, head) = ask(&door, &request).await;
        assert!(head.starts_with("HTTP/1.1 407"), "{request} {head}");
        assert!(head.contains("proxy-authenticate: Basic"), "{head}");
    }
    let right = with("x:secret");
    let ((_, head), _far) = tokio::join!(ask(&door, &right), gate.answer(OPEN));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // What the agent showed ends at the relay.
    let sent = gate.heads.first().unwrap();
    assert!(!sent.contains(&STANDARD.encode("x:secret")), "{sent}");
}

#[tokio::test]
async fn what_is_no_proper_target_is_refused_without_asking_anybody() {
    let gate = Gate::new().await;
    let door = door(&gate, None);
    for request in [
        "CONNECT api.test HTTP/1.1\r\n\r\n",
        "CONNECT user@api.test:443 HTTP/1.1\r\n\r\n",
        "CONNECT api.test:0 HTTP/1.1\r\n\r\n",
        "CONNECT api.test:443 HTTP/1.1\r\nContent-Length: 4\r\n\r\n",
        "CONNECT http://api.test:443/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "GET https://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
    ] {
        let (_, head) = ask(&door, request).await;
        assert!(head.starts_with("HTTP/1.1 400"), "{request} {head}");
    }
}

#[tokio::test]
async fn a_plain_request_goes_on_in_absolute_form_without_what_was_for_us() {
    let mut gate = Gate::new().await;
    let door = door(&gate, None);
    let request = "GET http://api.test/a?b HTTP/1.1\r\nHost: api.test\r\nX-Own: 1\r\nConnection: x-own\r\n\
                   Proxy-Connection: keep-alive\r\nX-Kept: 2\r\n\r\n";
    let answer = "HTTP/1.1 201 Made\r\nContent-Length: 2\r\nX-Theirs: 3\r\n\r\nhi";
    let ((mut client, head), _far) = tokio::join!(ask(&door, request), gate.answer(answer));
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    assert!(head.contains("X-Theirs: 3"), "{head}");
    let mut body = [0; 2];
    client.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"hi");
    let sent = gate.heads.first().unwrap();
    assert!(
        sent.starts_with("GET http://api.test/a?b HTTP/1.1\r\n"),
        "{sent}"
    );
    assert!(sent.contains("X-Kept: 2"), "{sent}");
    let lower = sent.to_lowercase();
    for gone in ["x-own", "proxy-connection", "\r\nconnection"] {
        assert!(!lower.contains(gone), "{sent}");
    }
    assert!(
        lower.contains("proxy-authorization: bearer sortie_ses_"),
        "{sent}"
    );
}

#[tokio::test]
async fn a_session_that_a_gateway_calls_revoked_is_over() {
    let mut gate = Gate::new().await;
    let door = door(&gate, None);
    let revoked = "HTTP/1.1 407 No\r\nX-Sortie-Code: session_revoked\r\nContent-Length: 0\r\n\r\n";
    let ((_, head), _far) = tokio::join!(ask(&door, CONNECT), gate.answer(revoked));
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert!(head.contains("x-sortie-code: session_revoked"), "{head}");
    // Nobody is asked again.
    let (_, head) = ask(&door, CONNECT).await;
    assert!(head.contains("x-sortie-code: session_revoked"), "{head}");
    let (_, health) = ask(&door, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    assert_eq!(gate.heads.len(), 1);
}

#[tokio::test]
async fn a_gateway_that_restarts_is_waited_for() {
    let gate = Gate::new().await;
    let door = door(&gate, None);
    let address = gate.listener.local_addr().unwrap();
    drop(gate.listener);
    let asked = ask(&door, CONNECT);
    let back = async {
        // Dials have failed by then; the relay's patience has not run out.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut gate = Gate {
            listener: TcpListener::bind(address).await.unwrap(),
            heads: Vec::new(),
        };
        gate.answer(OPEN).await
    };
    let ((_, head), _far) = tokio::join!(asked, back);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test]
async fn a_gateway_that_is_gone_is_told_in_words() {
    let gate = Gate::new().await;
    let door = door(&gate, None);
    drop(gate);
    let (mut client, head) = ask(&door, CONNECT).await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    assert!(
        head.contains("x-sortie-code: gateway_unreachable"),
        "{head}"
    );
    let mut body = vec![0; 64];
    let length = client.read(&mut body).await.unwrap();
    assert!(body[..length].starts_with(b"{\"code\":\"gateway_unreachable\""));
}

#[tokio::test]
async fn an_upgrade_of_a_plain_request_becomes_a_stream() {
    let mut gate = Gate::new().await;
    let door = door(&gate, None);
    let request = "GET http://api.test/ws HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let ((mut client, head), mut far) = tokio::join!(ask(&door, request), gate.answer(answer));
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    client.write_all(b"frame").await.unwrap();
    let mut five = [0; 5];
    far.read_exact(&mut five).await.unwrap();
    assert_eq!(&five, b"frame");
}
