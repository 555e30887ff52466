use proptest::prelude::*;
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

#[tokio::test(start_paused = true)]
async fn a_flood_of_control_frames_is_refused_and_progress_is_not() {
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let data = [0, 0, 1, 0, 0, 0, 0, 0, 1, b'x'];
    let window = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let mut flood = Frames::new();
    flood.follow(&[0; 24]).unwrap();
    for _ in 0..CONTROL_FRAMES_MAX {
        flood.follow(&ping).unwrap();
    }
    assert!(flood.follow(&ping).is_err());
    let mut busy = Frames::new();
    busy.follow(&[0; 24]).unwrap();
    for _ in 0..10 * CONTROL_FRAMES_MAX {
        busy.follow(&data).unwrap();
        busy.follow(&window).unwrap();
    }
}
