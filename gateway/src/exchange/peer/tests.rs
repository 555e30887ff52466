use boring::ssl::{SslAcceptor, SslMethod};
use boring::x509::X509;

use super::*;
use crate::fixture;

fn check_special(address: &str, expect: bool) {
    assert_eq!(is_special(address.parse().unwrap()), expect, "{address}");
}

#[test]
fn special_use_addresses_are_known() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
    ] {
        check_special(address, true);
    }
}

#[test]
fn public_addresses_are_not_special() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.1.1.1",
        "128.0.0.1",
        "168.63.129.17",
        "169.253.1.1",
        "172.15.1.1",
        "172.32.0.1",
        "192.0.1.1",
        "192.167.1.1",
        "198.17.1.1",
        "198.20.0.1",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "2a00::1",
    ] {
        check_special(address, false);
    }
}

pub(super) fn peers(hosts: &[(&str, &[&str])], own: &[&str]) -> Peers {
    let seconds = Duration::from_secs;
    let config = Config {
        hosts: hosts
            .iter()
            .map(|(host, addresses)| {
                let addresses = addresses.iter().map(|text| Place::parse(text).unwrap());
                (Host::parse(host).unwrap(), addresses.collect())
            })
            .collect(),
        own: own.iter().map(|address| address.parse().unwrap()).collect(),
        deny: ["10.9.0.0/16", "9.9.9.9/32", "2001:4860:4860::/48"]
            .map(|range| range.parse().unwrap())
            .to_vec(),
        dns_timeout: seconds(2),
        dns_cache_max: 16,
        connect_timeout: seconds(3),
        handshake_timeout: seconds(10),
        read_timeout: seconds(60),
        write_timeout: seconds(60),
        idle_timeout: seconds(60),
        h2_window: 65_535,
    };
    let control = Whereabouts::new("10.1.0.1:7301".to_owned(), []);
    Peers::new(config, Arc::new(control))
}

pub(super) fn permit(allow: &[&str], pool: u64) -> Permit {
    let mut tenant = fixture::tenant();
    tenant.private_allow = allow.iter().map(|range| range.parse().unwrap()).collect();
    let mut vault = fixture::vault(&tenant, vec![]);
    vault.pool = pool;
    Permit::for_test(tenant.into(), vault.into(), None)
}

/// A URL, what the tenant may reach, and what is dialled, with spaces between.
type Case<'a> = (&'a str, &'a [&'a str], std::result::Result<&'a str, Code>);

async fn check_resolved(peers: &Peers, (url, allow, expect): Case<'_>) {
    let (target, _) = fixture::target(url);
    let resolved = peers.resolve(&permit(allow, 1), &target).await;
    let resolved = resolved
        .map(|addresses| addresses.iter().map(SocketAddr::to_string).collect())
        .map_err(|error| error.code());
    let expect =
        expect.map(|addresses| addresses.split(' ').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(resolved, expect, "{url} {allow:?}");
}

#[tokio::test]
async fn what_is_dialled_was_classified() {
    let peers = peers(
        &[
            ("mixed.test", &["10.0.0.1", "8.8.8.8"]),
            (
                "many.test",
                &["10.0.0.1", "8.8.8.8", "10.0.0.2", "8.8.4.4", "1.1.1.1"],
            ),
            ("inside.test", &["10.0.0.1"]),
            ("mapped.test", &["::ffff:10.0.0.1"]),
            ("us.test", &["127.0.0.1"]),
            ("nowhere.test", &[]),
        ],
        &["127.0.0.1:7302", "0.0.0.0:7380"],
    );
    let cases: &[Case<'_>] = &[
        ("https://mixed.test/", &[][..], Ok("8.8.8.8:443")),
        ("https://many.test/", &[], Ok("8.8.8.8:443 8.8.4.4:443")),
        (
            "https://many.test/",
            &["10.0.0.0/31"],
            Ok("10.0.0.1:443 8.8.8.8:443"),
        ),
        ("https://inside.test/", &[], Err(Code::AddressRefused)),
        ("https://inside.test/", &["10.0.0.0/8"], Ok("10.0.0.1:443")),
        (
            "https://inside.test/",
            &["10.0.1.0/24"],
            Err(Code::AddressRefused),
        ),
        ("https://mapped.test/", &[], Err(Code::AddressRefused)),
        ("https://mapped.test/", &["10.0.0.0/8"], Ok("10.0.0.1:443")),
        (
            "https://us.test:7302/",
            &["127.0.0.0/8"],
            Err(Code::AddressRefused),
        ),
        (
            "https://us.test:7380/",
            &["127.0.0.0/8"],
            Err(Code::AddressRefused),
        ),
        (
            "https://us.test:8443/",
            &["127.0.0.0/8"],
            Ok("127.0.0.1:8443"),
        ),
        ("http://169.254.169.254/", &[], Err(Code::AddressRefused)),
        ("http://1.1.1.1/", &[], Ok("1.1.1.1:80")),
        ("https://nowhere.test/", &[], Err(Code::DnsFailed)),
    ];
    for case in cases {
        check_resolved(&peers, *case).await;
    }
}

#[tokio::test]
async fn a_port_of_the_operators_is_dialled_and_asked_about() {
    let peers = peers(
        &[
            ("moved.test", &["127.0.0.1:8443", "[2606:4700::1111]:8444"]),
            ("home.test", &["127.0.0.1:7302"]),
        ],
        &["127.0.0.1:7302"],
    );
    let cases: &[Case<'_>] = &[
        (
            "https://moved.test/",
            &["127.0.0.0/8"],
            Ok("127.0.0.1:8443 [2606:4700::1111]:8444"),
        ),
        ("https://moved.test:1/", &[], Ok("[2606:4700::1111]:8444")),
        (
            "https://home.test/",
            &["127.0.0.0/8"],
            Err(Code::AddressRefused),
        ),
    ];
    for case in cases {
        check_resolved(&peers, *case).await;
    }
}

#[tokio::test]
async fn what_nobody_may_dial_no_tenant_opens() {
    let peers = peers(&[("six.test", &["2001:4860:4860::8888"])], &[]);
    let cases: &[Case<'_>] = &[
        // Control's feed, and its neighbours.
        (
            "http://10.1.0.1:7301/",
            &["10.0.0.0/8"],
            Err(Code::AddressRefused),
        ),
        (
            "http://10.1.0.1:7399/",
            &["10.0.0.0/8"],
            Ok("10.1.0.1:7399"),
        ),
        (
            "http://10.1.0.2:7301/",
            &["10.0.0.0/8"],
            Ok("10.1.0.2:7301"),
        ),
        // What the operator denies.
        (
            "http://10.9.1.2/",
            &["10.0.0.0/8"],
            Err(Code::AddressRefused),
        ),
        (
            "http://10.9.1.2/",
            &["10.9.1.2/32"],
            Err(Code::AddressRefused),
        ),
        ("http://10.8.1.2/", &["10.0.0.0/8"], Ok("10.8.1.2:80")),
        ("http://9.9.9.9/", &["0.0.0.0/0"], Err(Code::AddressRefused)),
        ("http://six.test/", &["::/0"], Err(Code::AddressRefused)),
    ];
    for case in cases {
        check_resolved(&peers, *case).await;
    }
}

#[tokio::test]
async fn control_on_this_machine_is_dialled_at_none_of_its_addresses() {
    let mut peers = peers(&[("us.test", &["127.0.0.1"]), ("six.test", &["::1"])], &[]);
    let allow = &["127.0.0.0/8", "::1/128"];
    let resolve = async |peers: &Peers, url: &str| {
        let (target, _) = fixture::target(url);
        let resolved = peers.resolve(&permit(allow, 1), &target).await;
        resolved.map_err(|error| error.code())
    };
    // Known only once its name was looked up.
    peers.whereabouts = Arc::new(Whereabouts::new("localhost:7301".to_owned(), []));
    assert!(resolve(&peers, "https://us.test:7301/").await.is_ok());
    peers.whereabouts.look_up().await.unwrap();
    for url in [
        "https://us.test:7301/",
        "http://127.0.0.2:7301/",
        "https://six.test:7301/",
    ] {
        let resolved = resolve(&peers, url).await;
        assert_eq!(resolved, Err(Code::AddressRefused), "{url}");
    }
    assert!(resolve(&peers, "https://us.test:7300/").await.is_ok());
}

#[test]
fn a_peer_is_verified_by_name_and_shared_with_nobody() {
    let peers = peers(&[], &[]);
    let peer = |url: &str, pool: u64, upgrade: bool| {
        let (target, _) = fixture::target(url);
        let gate = upgrade.then(Arc::default);
        peers.peer(
            &permit(&[], pool),
            &target,
            ([8, 8, 8, 8], 443).into(),
            gate.as_ref(),
        )
    };
    let first = peer("https://a.test/", 1, false).unwrap();
    assert_eq!(
        (first.sni.as_str(), &first.scheme),
        ("a.test", &PeerScheme::HTTPS)
    );
    assert!(first.options.verify_cert && first.options.verify_hostname);
    assert_eq!(first.options.alpn, ALPN::H2H1);
    assert!(first.options.custom_l4.is_none());
    let websocket = peer("https://a.test/", 1, true).unwrap().options;
    assert_eq!(websocket.alpn, ALPN::H1);
    assert!(websocket.custom_l4.is_some());

    let group = |url, pool, upgrade| peer(url, pool, upgrade).unwrap().group_key;
    assert_eq!(group("https://a.test/", 1, false), first.group_key);
    let mut groups: Vec<_> = [1, 2]
        .into_iter()
        .flat_map(|pool| {
            [
                group("https://a.test/", pool, false),
                group("https://a.test/", pool, true),
                group("http://a.test/", pool, false),
            ]
        })
        .collect();
    groups.sort_unstable();
    groups.dedup();
    assert_eq!(groups.len(), 6);

    let refused = peer("https://8.8.8.8/", 1, false).map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::TargetInvalid);
    assert_eq!(
        peer("http://8.8.8.8/", 1, false).unwrap().scheme,
        PeerScheme::HTTP
    );
}

/// A server for TLS, with a certificate of its own making.
pub(super) fn acceptor() -> SslAcceptor {
    let key = crate::p256::P256Key::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_private_key(key.pkey()).unwrap();
    let certificate = X509::from_der(certificate.der()).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    acceptor.build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_says_which_pool_it_was_made_for() {
    use pingora_core::connectors::TransportConnector;

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::task::spawn_blocking(move || {
        let (stream, _) = listener.accept().unwrap();
        drop(acceptor().accept(stream).unwrap());
    });
    let peers = peers(&[], &[]);
    let (target, _) = fixture::target("https://a.test/");
    let peer = |pool, upgrade: bool| {
        let permit = permit(&[], pool);
        let gate = upgrade.then(Arc::default);
        let mut peer = peers
            .peer(&permit, &target, address, gate.as_ref())
            .unwrap();
        peer.options.verify_cert = false;
        peer
    };
    let connector = TransportConnector::new(None);
    let stream = connector.new_stream(&peer(1, false)).await.unwrap();
    server.await.unwrap();
    let digest = stream.get_ssl_digest().unwrap();
    assert!(is_of_pool(&peer(1, false), &digest));
    assert!(!is_of_pool(&peer(1, true), &digest));
    assert!(!is_of_pool(&peer(2, false), &digest));
    let untagged = SslDigest::new("", "TLSv1.3", None, None, vec![]);
    assert!(!is_of_pool(&peer(1, false), &untagged));
}
