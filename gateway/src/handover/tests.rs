use std::net::TcpStream;
use std::sync::Arc;

use super::*;
use crate::tasks;

fn sockets(count: usize) -> Sockets {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Sockets::open(&vec![any; count], any, Vec::new()).unwrap()
}

fn addresses(sockets: &Sockets) -> (Vec<SocketAddr>, SocketAddr) {
    let of = |listener: &TcpListener| listener.local_addr().unwrap();
    (sockets.proxy.iter().map(of).collect(), of(&sockets.admin))
}

/// Asks on a thread, as a process does that has no runtime yet.
async fn ask(folder: &Path) -> io::Result<(Predecessor, Vec<OwnedFd>)> {
    let folder = folder.to_owned();
    let asking = tokio::task::spawn_blocking(move || Predecessor::ask(&folder));
    asking.await.unwrap()
}

#[tokio::test]
async fn who_asks_gets_the_sockets_and_who_took_them_ends_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let served = sockets(2);
    let (proxy, admin) = addresses(&served);
    let offer = Arc::new(Offer::open(folder.path(), served.copies().unwrap()).unwrap());
    let waiting = offer.clone();
    let taken = tasks::spawn("taken", async move { waiting.taken().await });

    // One that ends before it accepts changes nothing.
    drop(ask(folder.path()).await.unwrap());
    let (predecessor, received) = ask(folder.path()).await.unwrap();
    assert_eq!(received.len(), 3);
    drop(served);
    let [first, second] = proxy[..] else { panic!() };
    let other = SocketAddr::from(([127, 0, 0, 1], 0));
    let taken_over = Sockets::open(&[second, other, first], admin, received).unwrap();
    assert!(!taken.is_finished());
    predecessor.took().unwrap();
    taken.await.unwrap();
    drop(offer);

    let (now, then) = (addresses(&taken_over).0, [second, first]);
    assert_eq!([now[0], now[2]], then);
    let _accepted = TcpStream::connect(first).unwrap();
    assert!(Predecessor::ask(folder.path()).is_err(), "nobody serves");
}

#[tokio::test]
async fn the_socket_is_the_owners_and_goes_with_the_process_that_made_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SOCKET);
    let served = sockets(1);
    let offer = || Offer::open(folder.path(), served.copies().unwrap()).unwrap();
    let old = offer();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let new = offer();
    drop(old);
    assert!(path.exists(), "it is the new one's");
    drop(new);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
