use h2::RecvStream;
use h2::client::{self, SendRequest};
use pingora_core::protocols::http::v2::server::{self, H2Accept};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;

use super::*;

/// Of a stream. The connection's is larger.
const WINDOW: u32 = 32 * 1024;
const UNREAD: Duration = Duration::from_secs(30);

/// A connection with both its drivers running, and the server's next streams.
struct Connection {
    client: SendRequest<Bytes>,
    accepted: tokio::sync::mpsc::Receiver<HttpSession>,
    drivers: [JoinHandle<()>; 2],
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.drivers.iter().for_each(JoinHandle::abort);
    }
}

/// The client's side of a tunnel.
struct Client {
    sending: SendStream<Bytes>,
    received: RecvStream,
}

async fn serve(io: DuplexStream, accepted: tokio::sync::mpsc::Sender<HttpSession>) {
    let mut options = server::default_h2_options();
    options.initial_window_size(WINDOW);
    let mut connection = server::handshake(Box::new(io), Some(options))
        .await
        .unwrap();
    while let Ok(Some(accepted_one)) =
        HttpSession::from_h2_conn(&mut connection, Arc::default()).await
    {
        if let H2Accept::Session(stream) = accepted_one {
            accepted.send(stream).await.unwrap();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the test ends its tasks itself")]
async fn connect() -> Connection {
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let (sender, accepted) = tokio::sync::mpsc::channel(8);
    let server = tokio::spawn(serve(far, sender));
    let mut builder = client::Builder::new();
    builder.initial_window_size(WINDOW);
    let (client, driver) = builder.handshake(near).await.unwrap();
    let driver = tokio::spawn(async move { drop(driver.await) });
    Connection {
        client,
        accepted,
        drivers: [server, driver],
    }
}

impl Connection {
    /// Opens a tunnel; `reset` is the server's handle on it.
    async fn open(&mut self, reset: &Arc<Reset>) -> (Client, H2Stream) {
        let (response, sending, stream) = self.ask(reset).await;
        let received = response.await.unwrap().into_body();
        (Client { sending, received }, stream)
    }

    async fn ask(
        &mut self,
        reset: &Arc<Reset>,
    ) -> (client::ResponseFuture, SendStream<Bytes>, H2Stream) {
        let request = http::Request::connect("a.test:443").body(()).unwrap();
        let mut ready = self.client.clone().ready().await.unwrap();
        let (response, sending) = ready.send_request(request, false).unwrap();
        let session = self.accepted.recv().await.unwrap();
        let stream = H2Stream::open(reset.clone(), session, UNREAD).unwrap();
        (response, sending, stream)
    }

    async fn tunnel(&mut self) -> (Client, H2Stream) {
        self.open(&Arc::default()).await
    }
}

impl Client {
    fn send(&mut self, bytes: &'static [u8], end: bool) {
        let bytes = Bytes::from_static(bytes);
        self.sending.send_data(bytes, end).unwrap();
    }

    /// What comes until the end, and how it ends.
    async fn rest(&mut self) -> (Vec<u8>, Option<Reason>) {
        let mut all = Vec::new();
        while let Some(part) = self.received.data().await {
            match part {
                Ok(bytes) => {
                    let _given = self.received.flow_control().release_capacity(bytes.len());
                    all.extend_from_slice(&bytes);
                }
                Err(error) => return (all, error.reason()),
            }
        }
        (all, None)
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_way_has_an_end() {
    let mut connection = connect().await;
    let (mut client, mut stream) = connection.tunnel().await;
    client.send(b"up", false);
    client.send(b"ward", true);
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"upward");
    stream.write_all(b"down").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, (b"down".to_vec(), None));
    assert!(stream.write_all(b"more").await.is_err());
}

#[tokio::test]
async fn small_reads_take_a_frame_piece_by_piece() {
    let mut connection = connect().await;
    let (mut client, mut stream) = connection.tunnel().await;
    client.send(b"abc", false);
    let mut byte = [0; 1];
    stream.read_exact(&mut byte).await.unwrap();
    assert!(stream.holds_bytes());
    let mut rest = [0; 2];
    stream.read_exact(&mut rest).await.unwrap();
    assert_eq!((&byte, &rest), (b"a", b"bc"));
    assert!(!stream.holds_bytes());
}

#[tokio::test]
async fn what_is_dropped_has_sent_all_and_ends_in_order() {
    let mut connection = connect().await;
    let (mut client, mut stream) = connection.tunnel().await;
    stream.write_all(&[7; 20_000]).await.unwrap();
    drop(stream);
    let (all, reason) = client.rest().await;
    assert_eq!((all.len(), reason), (20_000, None));
    // The client's own direction is closed too: nobody reads it.
    let reset = std::future::poll_fn(|cx| client.sending.poll_reset(cx)).await;
    assert_eq!(reset.unwrap(), Reason::NO_ERROR);
}

#[tokio::test]
async fn a_cut_wakes_who_reads_and_who_writes_and_spares_the_other_streams() {
    let mut connection = connect().await;
    let reset = Arc::default();
    let (mut client, stream) = connection.open(&reset).await;
    let (mut other, mut spared) = connection.tunnel().await;
    let (mut reading, mut writing) = tokio::io::split(stream);
    let read = async { reading.read(&mut [0; 8]).await };
    let write = async { writing.write_all(&[0; 4 * WINDOW as usize]).await };
    let cut = async {
        // The window is full once the client has as much.
        while client.received.flow_control().used_capacity() < WINDOW as usize {
            tokio::task::yield_now().await;
        }
        reset.cut();
    };
    let (read, write, ()) = tokio::join!(read, write, cut);
    assert!(read.is_err() && write.is_err(), "{read:?} {write:?}");
    assert_eq!(client.rest().await.1, Some(Reason::CANCEL));
    other.send(b"still", true);
    let mut seen = Vec::new();
    spared.read_to_end(&mut seen).await.unwrap();
    spared.write_all(&seen).await.unwrap();
    drop(spared);
    assert_eq!(other.rest().await, (b"still".to_vec(), None));
}

#[tokio::test]
async fn a_cut_that_comes_before_the_answer_is_not_lost() {
    let mut connection = connect().await;
    let reset = Arc::<Reset>::default();
    reset.cut();
    let (response, _sending, mut stream) = connection.ask(&reset).await;
    assert_eq!(response.await.unwrap_err().reason(), Some(Reason::CANCEL));
    assert!(stream.write_all(b"x").await.is_err());
    assert!(stream.read(&mut [0; 1]).await.is_err());
}

#[tokio::test]
async fn a_cut_ends_a_tunnel_that_has_one_direction_left() {
    let mut connection = connect().await;
    let reset = Arc::default();
    let (client, mut stream) = connection.open(&reset).await;
    stream.shutdown().await.unwrap();
    reset.cut();
    assert!(stream.read(&mut [0; 1]).await.is_err());
    drop(client);
}

#[tokio::test]
async fn a_client_that_gives_up_is_noticed() {
    let mut connection = connect().await;
    let (mut client, mut stream) = connection.tunnel().await;
    client.sending.send_reset(Reason::CANCEL);
    let error = stream.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(stream.write_all(b"x").await.is_err());
    let (_client, mut stream) = connection.tunnel().await;
    drop(connection);
    assert!(stream.read(&mut [0; 1]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_for_too_long_is_let_go() {
    let mut connection = connect().await;
    let (mut client, mut stream) = connection.tunnel().await;
    let before = tokio::time::Instant::now();
    let mut sent = 0;
    let error = loop {
        match stream.write(&[0; 8 * 1024]).await {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(before.elapsed() >= UNREAD);
    // No more than the client's window was taken from the writer.
    assert_eq!(sent, WINDOW as usize);
    assert_eq!(client.rest().await.1, Some(Reason::CANCEL));
}

#[tokio::test]
async fn what_is_not_read_fills_one_window_and_what_is_read_gives_it_back() {
    let mut connection = connect().await;
    let (mut client, mut stream) = connection.tunnel().await;
    let window = WINDOW as usize;
    client.sending.reserve_capacity(2 * window);
    let mut sent = 0;
    while sent < window {
        let room = std::future::poll_fn(|cx| client.sending.poll_capacity(cx)).await;
        let part = Bytes::from(vec![1; room.unwrap().unwrap()]);
        sent += part.len();
        client.sending.send_data(part, false).unwrap();
        client.sending.reserve_capacity(2 * window - sent);
    }
    assert_eq!(sent, window);
    let mut more = Box::pin(std::future::poll_fn(|cx| client.sending.poll_capacity(cx)));
    for _ in 0..100 {
        assert!(futures_util::poll!(&mut more).is_pending());
        tokio::task::yield_now().await;
    }
    let reading = async {
        let mut read = vec![0; window];
        stream.read_exact(&mut read).await
    };
    let (read, room) = tokio::join!(reading, more);
    assert_eq!(read.unwrap(), window);
    assert!(room.unwrap().unwrap() > 0);
}
