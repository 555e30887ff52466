use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::frames::CONTROL_FRAMES_MAX;
use super::framing::OddFraming;
use super::*;
use crate::client::head::Body;

async fn pair() -> (TcpStream, Tunnel) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), Tunnel::plain(server.unwrap().0))
}

fn chunks(text: &str) -> Result<(usize, bool), OddFraming> {
    let mut framing = Framing::of(Body::Chunked);
    let count = framing.admit(text.as_bytes())?;
    Ok((count, framing == Framing::Done))
}

#[test]
fn chunks_end_where_they_end() {
    assert_eq!(chunks("3\r\nabc\r\n0\r\n\r\nGET"), Ok((13, true)));
    assert_eq!(
        chunks("A\r\n0123456789\r\n0\r\nX: y\r\n\r\n"),
        Ok((26, true))
    );
    assert_eq!(chunks("3\r\nab"), Ok((5, false)));
}

#[test]
fn odd_chunks_are_refused() {
    for text in [
        "3;a=b\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "\r\n\r\n",
        "0x3\r\nabc\r\n",
        "-3\r\n",
        "123456789\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\nX: y\n\r\n",
        "0\r\n folded\r\n\r\n",
    ] {
        assert_eq!(chunks(text), Err(OddFraming), "{text:?}");
    }
}

proptest! {
    #[test]
    fn chunk_guard_does_not_depend_on_how_bytes_arrive(
        bytes in prop::collection::vec(prop::sample::select(&b"0123aA\r\n;x "[..]), 0..60),
        cut in 0usize..60,
    ) {
        let mut whole = Framing::of(Body::Chunked);
        let expected = whole.admit(&bytes);
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let mut parts = Framing::of(Body::Chunked);
        let got = parts.admit(first).and_then(|count| {
            if count < first.len() { return Ok(count); }
            parts.admit(second).map(|more| count + more)
        });
        prop_assert_eq!(expected, got);
    }
}

#[tokio::test]
async fn bytes_of_the_next_request_wait_for_their_turn() {
    let (mut client, mut tunnel) = pair().await;
    client.write_all(b"abcdeNEXT").await.unwrap();
    tunnel.frame(Framing::Length(5));
    let mut body = [0; 5];
    tunnel.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"abcde");
    let mut more = [0; 16];
    let early = tokio::time::timeout(std::time::Duration::from_millis(20), tunnel.read(&mut more));
    assert!(early.await.is_err(), "the next request was read too early");
    tunnel.frame(Framing::Open);
    assert_eq!(tunnel.first_byte().await.unwrap(), Some(b'N'));
    assert_eq!(tunnel.read(&mut more).await.unwrap(), 4);
}

#[tokio::test]
async fn a_client_that_leaves_between_requests_is_noticed() {
    let (client, mut tunnel) = pair().await;
    tunnel.frame(Framing::Done);
    drop(client);
    assert_eq!(tunnel.read(&mut [0; 4]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_cut_socket_ends_at_once() {
    let (mut client, mut tunnel) = pair().await;
    let stream = tunnel.stream().clone();
    socket::cut(&stream);
    assert_eq!(tunnel.read(&mut [0; 4]).await.unwrap(), 0);
    assert_eq!(client.read(&mut [0; 4]).await.unwrap(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_takes_nothing_for_too_long_is_let_go() {
    let (client, mut tunnel) = pair().await;
    socket::tune(tunnel.stream(), std::time::Duration::from_millis(300));
    let writing = async { while tunnel.write_all(&[0; 64 * 1024]).await.is_ok() {} };
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), writing).await;
    assert!(ended.is_ok(), "it waits for ever");
    drop(client);
}

#[tokio::test]
async fn heads_are_capped_and_what_follows_is_given_back() {
    let (mut client, mut tunnel) = pair().await;
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest")
        .await
        .unwrap();
    let head = read_head(&mut tunnel, 64).await.unwrap().unwrap();
    assert!(head.ends_with(b"x\r\n\r\n"));
    let mut rest = [0; 4];
    tunnel.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"rest");
    client.write_all(&[b'a'; 80]).await.unwrap();
    assert_eq!(
        read_head(&mut tunnel, 64).await,
        Err(sortie_proto::code::Code::HeadTooLarge)
    );
}

const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
const WINDOW: [u8; 13] = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const RESET: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
const HEADERS: [u8; 10] = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82];

/// Behind the preface.
fn frames() -> Frames {
    let mut frames = Frames::new(100);
    frames.follow(&[0; 24]).unwrap();
    frames
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_control_frames_is_refused_and_progress_is_not() {
    let data = [0, 0, 1, 0, 0, 0, 0, 0, 1, b'x'];
    let mut flood = frames();
    for _ in 0..CONTROL_FRAMES_MAX {
        flood.follow(&PING).unwrap();
        flood.sent(&PING);
    }
    assert!(flood.follow(&PING).is_err());
    let mut busy = frames();
    for _ in 0..10 * CONTROL_FRAMES_MAX {
        busy.follow(&data).unwrap();
        busy.follow(&WINDOW).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_pays_for_the_windows_that_a_client_gives_back() {
    // 4 MiB in frames of 16 KiB, all in the client's buffers before it reads; Go gives back 4 KiB at a time, twice.
    let mut data = vec![0, 0x40, 0, 0, 0, 0, 0, 0, 1];
    data.resize(9 + 16 * 1024, b'x');
    let mut download = frames();
    for _ in 0..256 {
        let (first, second) = data.split_at(7);
        download.sent(first);
        download.sent(second);
    }
    for _ in 0..2 * 1024 {
        download.follow(&WINDOW).unwrap();
    }
    // Small messages of a stream, each answered with a ping.
    let mut stream = frames();
    for _ in 0..10 * CONTROL_FRAMES_MAX {
        stream.sent(&[0, 0, 1, 0, 0, 0, 0, 0, 1, b'x']);
        stream.follow(&PING).unwrap();
    }
    // What was paid for ahead has an end.
    let mut saved = frames();
    for _ in 0..10_000 {
        saved.sent(&data);
    }
    assert!((0..10_000).any(|_| saved.follow(&PING).is_err()));
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_cancelled_at_once_are_bounded_and_answered_ones_are_not() {
    let mut rapid = frames();
    for _ in 0..100 {
        rapid.follow(&HEADERS).unwrap();
        rapid.follow(&RESET).unwrap();
    }
    rapid.follow(&HEADERS).unwrap();
    assert!(rapid.follow(&RESET).is_err());
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    rapid.follow(&RESET).unwrap();
    let mut answered = frames();
    for _ in 0..1_000 {
        answered.follow(&HEADERS).unwrap();
        answered.sent(&HEADERS);
        answered.follow(&RESET).unwrap();
    }
}

#[tokio::test]
async fn a_tunnel_pays_for_window_updates_with_what_it_writes() {
    let (mut client, mut tunnel) = pair().await;
    tunnel.meter(100);
    let mut data = vec![0, 0x40, 0, 0, 0, 0, 0, 0, 1];
    data.resize(9 + 16 * 1024, b'x');
    let mut updates = vec![0; 24];
    for _ in 0..64 {
        tunnel.write_all(&data).await.unwrap();
        tunnel.flush().await.unwrap();
        client.read_exact(&mut vec![0; data.len()]).await.unwrap();
        updates.extend_from_slice(&WINDOW.repeat(8));
    }
    client.write_all(&updates).await.unwrap();
    let mut read = vec![0; updates.len()];
    tunnel.read_exact(&mut read).await.unwrap();
    assert!(!tunnel.is_odd());
}

#[tokio::test]
async fn what_came_along_behind_a_head_is_known() {
    // A head that ends where the first read does, so that nothing behind it was asked for yet.
    for length in [600, 1_023, 1_024, 1_025, 2_048] {
        let (mut client, mut tunnel) = pair().await;
        let start = "GET / HTTP/1.1\r\nHost: x\r\nA: ";
        let fill = "a".repeat(length - start.len() - 4);
        let head = format!("{start}{fill}\r\n\r\n");
        client
            .write_all(format!("{head}NEXT").as_bytes())
            .await
            .unwrap();
        let read = read_head(&mut tunnel, 4_096).await.unwrap().unwrap();
        assert_eq!(read.len(), length);
        assert!(tunnel.holds_bytes(), "{length}");
        tunnel.read_exact(&mut [0; 4]).await.unwrap();
        assert!(!tunnel.holds_bytes(), "{length}");
    }
}

#[tokio::test]
async fn a_held_cork_gathers_what_is_flushed_and_says_that_something_waits() {
    let (client, mut tunnel) = pair().await;
    let cork = tunnel.cork();
    cork.hold();
    for part in [b"one", b"two"] {
        tunnel.write_all(part).await.unwrap();
        tunnel.flush().await.unwrap();
    }
    let mut seen = [0; 16];
    let early = client.try_read(&mut seen).unwrap_err();
    assert_eq!(early.kind(), io::ErrorKind::WouldBlock);
    assert!(cork.release());
    tunnel.flush().await.unwrap();
    client.readable().await.unwrap();
    assert_eq!(client.try_read(&mut seen).unwrap(), 6);
    cork.hold();
    assert!(!cork.release(), "nothing waits");
    // What does not fit the buffer is sent under the cork, too.
    cork.hold();
    tunnel.write_all(&[0; 64 * 1024]).await.unwrap();
    client.readable().await.unwrap();
    assert!(client.try_read(&mut seen).unwrap() > 0);
}
