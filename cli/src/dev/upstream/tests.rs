use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::super::layout::HOST;
use super::*;

/// Sends one request and reads the whole answer.
async fn exchange(request: &str) -> String {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let authority = Authority::make("Demo authority", &[HOST]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = Tasks::default();
    tasks.start(serve(listener, tls(&authority).unwrap()));

    let mut roots = rustls::RootCertStore::empty();
    let pem = rustls_pki_types::pem::PemObject::from_pem_slice(authority.pem().as_bytes());
    roots.add(pem.unwrap()).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(HOST.try_into().unwrap(), stream)
        .await
        .unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_credential_is_told_as_its_fingerprint() {
    let answer = exchange(
        "GET /hello?key=s3cret-value HTTP/1.1\r\nHost: api.demo.test\r\nAuthorization: Bearer s3cret-value\r\n\
         X-Anything: s3cret-value\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(!answer.contains("s3cret-value"), "{answer}");
    let body = body(&answer);
    let print = fingerprint(b"s3cret-value");
    assert_eq!(body["headers"]["authorization"], format!("Bearer {print}"));
    assert_eq!(body["headers"]["x-anything"], print.as_str());
    assert_eq!(body["query"]["key"], print.as_str());
}

#[tokio::test]
async fn echo_sends_back_what_it_got() {
    let answer = exchange(
        "GET /echo HTTP/1.1\r\nHost: api.demo.test\r\nAuthorization: Bearer s3cret-value\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(
        body(&answer)["headers"]["authorization"],
        "Bearer s3cret-value"
    );
}

#[test]
fn a_fingerprint_is_twelve_digits() {
    assert_eq!(fingerprint(b"abc"), "sha256:ba7816bf8f01");
}
