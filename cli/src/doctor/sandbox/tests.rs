use std::net::TcpListener;

use super::super::finding::State;
use super::*;

#[test]
fn a_query_is_as_the_rfc_says() {
    assert_eq!(
        query("a.bc"),
        [
            0x5a, 0x5a, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1
        ]
    );
}

#[test]
fn ports_that_listen_are_read() {
    let listens = "   0: 0100007F:1CD4 00000000:0000 0A 00000000:00000000 00:00000000 00000000";
    assert_eq!(sockets::listening(listens), Some(7380));
    assert_eq!(sockets::listening(&listens.replace(" 0A ", " 01 ")), None);
    assert_eq!(sockets::listening("sl"), None);
    assert!(sockets::own_addresses().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
}

#[tokio::test]
async fn an_open_port_is_a_fault_unless_it_is_the_gateway() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let found = open(&[address], &[]).await;
    assert_eq!(found, [address.to_string()]);
    assert_eq!(told("x", found).state, State::Fault);
    assert!(open(&[address], &[address]).await.is_empty());
    assert_eq!(told("x", Vec::new()).state, State::Ok);
    if cfg!(target_os = "linux") {
        assert!(sockets::listening_ports().contains(&address.port()));
    }
}

#[test]
fn an_open_unix_socket_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let pairs = [("SSH_AUTH_SOCK".into(), path.clone().into_os_string())];
    let environment = Environment::new(pairs.into_iter());
    assert!(sockets::open_unix(&environment).contains(&path.display().to_string()));
}
