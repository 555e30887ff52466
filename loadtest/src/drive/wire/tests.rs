use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

use super::*;

async fn open(protocol: Protocol) -> (Connection, DuplexStream) {
    let (client, server) = duplex(64 * 1024);
    let mut driver = JoinSet::new();
    let sender = match protocol {
        Protocol::Http1 => {
            let (sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
            driver.spawn(async move { drop(connection.await) });
            Sender::Http1(sender)
        }
        Protocol::Http2 => {
            let builder = http2::Builder::new(TokioExecutor::new());
            let (sender, connection) = builder.handshake(TokioIo::new(client)).await.unwrap();
            driver.spawn(async move { drop(connection.await) });
            Sender::Http2(sender)
        }
    };
    let connection = Connection {
        sender,
        authority: "api.up.test".to_owned(),
        driver: Arc::new(driver),
    };
    (connection, server)
}

#[tokio::test]
async fn what_was_never_sent_was_not_taken() {
    let (mut connection, server) = open(Protocol::Http1).await;
    drop(server);
    while connection.is_open() {
        tokio::task::yield_now().await;
    }
    let error = connection.get("/").await.unwrap_err();
    assert!(error.is::<NotTaken>(), "{error:#}");
}

#[tokio::test]
async fn what_was_sent_and_not_answered_may_have_been_taken() {
    let (mut connection, mut server) = open(Protocol::Http1).await;
    let closing = async move { server.read_u8().await.unwrap() };
    let (answer, first) = tokio::join!(connection.get("/"), closing);
    let error = answer.unwrap_err();
    assert_eq!(first, b'G');
    assert!(!error.is::<NotTaken>(), "{error:#}");
    assert!(ended_unanswered(&error), "{error:#}");
}

#[tokio::test]
async fn http2_says_of_a_stream_that_it_was_not_taken() {
    for (reason, not_taken) in [
        (h2::Reason::REFUSED_STREAM, true),
        (h2::Reason::INTERNAL_ERROR, false),
    ] {
        let (mut connection, server) = open(Protocol::Http2).await;
        let refusing = async move {
            let mut server = h2::server::handshake(server).await.unwrap();
            let (_request, mut answer) = server.accept().await.unwrap().unwrap();
            answer.send_reset(reason);
            while server.accept().await.is_some() {}
        };
        let asking = async move { connection.get("/").await.unwrap_err() };
        let mut refused = JoinSet::new();
        refused.spawn(refusing);
        let error = asking.await;
        assert_eq!(error.is::<NotTaken>(), not_taken, "{error:#}");
    }
}
