use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sortie_proto::secret::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::output::Format;

fn text(life: i64, number: usize) -> String {
    let start = wall();
    let claims = json!({"jti": "ses_01", "iat": start, "exp": start + life, "number": number});
    format!(
        "sortie_ses_h.{}.s",
        URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

fn token(life: i64, number: usize) -> Token {
    Token::read(&Secret::new(text(life, number).into_bytes())).unwrap()
}

fn out() -> Output {
    Output::new(Format::Json)
}

/// A control that answers each renewal by what stands next in a list: a token of so many seconds, or a status.
async fn control(answers: Vec<std::result::Result<i64, u16>>) -> (Source, Arc<AtomicUsize>) {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    #[expect(clippy::disallowed_methods, reason = "a test owns its tasks")]
    drop(tokio::spawn(async move {
        for (number, answer) in answers.into_iter().enumerate() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let line = String::from_utf8_lossy(&request[..length]).into_owned();
            assert!(
                line.starts_with("POST /v1/tenants/-/sessions/ses_01:renew "),
                "{line}"
            );
            let (status, body) = match answer {
                Ok(life) => (200, json!({"token": text(life, number + 1)})),
                Err(status) => (status, json!({"title": "no", "code": "unavailable"})),
            };
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _before = count.fetch_add(1, Ordering::SeqCst);
            stream.write_all(head.as_bytes()).await.unwrap();
        }
    }));
    let client = Client::new(&base, &Secret::new(b"key".to_vec()), false).unwrap();
    let source = Source::Control {
        client,
        tenant: "-".to_owned(),
        out: out(),
    };
    (source, asked)
}

#[tokio::test]
async fn a_stale_token_is_renewed_at_once_and_a_revoked_session_never_again() {
    let (source, asked) = control(vec![Ok(3600), Err(412), Ok(3600)]).await;
    let first = token(3600, 0);
    let session = Arc::new(Session::new(first.clone()));
    let announced = Arc::new(AtomicUsize::new(0));
    let seen = announced.clone();
    let keeping = session.clone().keep(source, async || {
        let _before = seen.fetch_add(1, Ordering::SeqCst);
    });
    let using = async {
        assert!(session.newer_than(&first.authorization).await);
        let second = session.authorization().unwrap();
        assert_ne!(second, first.authorization);
        assert!(!session.newer_than(&second).await);
    };
    tokio::join!(keeping, using);
    assert_eq!(session.authorization().unwrap_err(), Code::SessionRevoked);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(announced.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failed_renewal_is_tried_again() {
    let (source, asked) = control(vec![Err(503), Ok(3600), Err(503), Err(404)]).await;
    let first = token(3600, 0);
    let session = Arc::new(Session::new(first.clone()));
    let using = async {
        assert!(session.newer_than(&first.authorization).await);
        let second = session.authorization().unwrap();
        assert!(!session.newer_than(&second).await);
    };
    tokio::join!(session.clone().keep(source, async || {}), using);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    assert_eq!(session.authorization().unwrap_err(), Code::SessionRevoked);
}

#[tokio::test]
async fn a_session_that_nobody_can_renew_ends_with_its_token() {
    let (source, asked) = control(vec![Err(503); 8]).await;
    let session = Arc::new(Session::new(token(1, 0)));
    session.clone().keep(source, async || {}).await;
    assert_eq!(session.authorization().unwrap_err(), Code::TokenExpired);
    assert!(asked.load(Ordering::SeqCst) >= 1);
}

#[tokio::test]
async fn a_file_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("session");
    let first = token(3600, 0);
    std::fs::write(&path, text(3600, 1)).unwrap();
    let session = Arc::new(Session::new(first.clone()));
    let source = Source::File {
        path: path.clone(),
        out: out(),
    };
    let using = async {
        assert!(session.newer_than(&first.authorization).await);
        std::fs::write(&path, text(-1, 2)).unwrap();
        // Not readable as a token that lives, so that what is held goes on.
        let held = session.authorization().unwrap();
        assert!(!session.newer_than(&held).await);
        std::fs::write(&path, text(7200, 3)).unwrap();
        assert!(session.newer_than(&held).await);
    };
    tokio::select! {
        () = session.clone().keep(source, async || {}) => {}
        () = using => {}
    }
    assert!(session.authorization().is_ok());
}

#[test]
fn renewals_are_spread_around_half_of_the_life() {
    let life = Duration::from_secs(3600);
    for _ in 0..100 {
        let schedule = Schedule::new(life);
        let due = schedule.due.saturating_duration_since(Instant::now());
        assert!(
            due > life.mul_f64(0.44) && due < life.mul_f64(0.56),
            "{due:?}"
        );
        assert!(!schedule.is_over());
    }
}
