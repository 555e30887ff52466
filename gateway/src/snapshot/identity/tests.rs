use std::os::unix::fs::PermissionsExt;

use rcgen::{BasicConstraints, CertificateParams, IsCa, SerialNumber};

use super::*;

/// A certificate of a key, signed by itself.
fn certificate(key: &P256Key) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serial_number = Some(SerialNumber::from(7_u64));
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![1; 20]);
    params.self_signed(key).unwrap().der().to_vec()
}

fn join_string(control: &str, authority: &[u8], token: &str) -> Secret {
    let json = serde_json::json!({
        "control": control,
        "ca": STANDARD.encode(authority),
        "token": token,
    });
    let encoded = URL_SAFE_NO_PAD.encode(json.to_string());
    Secret::new(format!("{JOIN_PREFIX}{encoded}\n").into_bytes())
}

#[test]
fn a_join_string_is_read_whole_or_refused() {
    let authority = certificate(&P256Key::generate().unwrap());
    let join = Join::parse(&join_string("127.0.0.1:7301", &authority, "t")).unwrap();
    assert_eq!(join.control, "127.0.0.1:7301");
    assert_eq!(join.authority, authority);
    let refused = [
        join_string("127.0.0.1", &authority, "t"),
        join_string(":7301", &authority, "t"),
        join_string("127.0.0.1:7301", b"no certificate", "t"),
        join_string("127.0.0.1:7301", &authority, ""),
        Secret::new(b"sortie_join_e30".to_vec()),
        Secret::new(b"sortie_join_!".to_vec()),
        Secret::new(b"something else".to_vec()),
    ];
    for text in refused {
        assert!(matches!(Join::parse(&text), Err(Error::JoinString)));
    }
}

#[test]
fn a_key_survives_its_file_and_signs_its_request() {
    let key = P256Key::generate().unwrap();
    let again = P256Key::from_pem(&key.to_pem().unwrap()).unwrap();
    assert!(key.pkey().public_eq(again.pkey()));
    let request = again.certificate_request("edge-1").unwrap();
    let request = boring::x509::X509Req::from_der(&request).unwrap();
    assert!(request.verify(key.pkey()).unwrap());
}

#[tokio::test]
async fn a_node_that_has_not_joined_says_how() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Identity::open(&folder.path().join("data"), "edge-1", None, &[]).await;
    assert!(matches!(opened, Err(Error::NotJoined)));
}

#[tokio::test]
async fn an_identity_is_read_back_and_its_files_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let key = P256Key::generate().unwrap();
    let leaf = certificate(&key);
    let node = Node {
        gateway: GatewayId::generate(),
        control: "127.0.0.1:7301".into(),
        authority: STANDARD.encode(&leaf),
    };
    write(&folder.join("node.key"), key.to_pem().unwrap().expose()).unwrap();
    write(
        &folder.join("node.json"),
        &serde_json::to_vec(&node).unwrap(),
    )
    .unwrap();
    write(&folder.join("node.crt"), &pem_chain(&[leaf], &key).unwrap()).unwrap();
    let identity = Identity::open(folder, "edge-1", None, &[]).await.unwrap();
    assert_eq!(identity.id(), node.gateway);
    for name in ["node.key", "node.json", "node.crt"] {
        let mode = std::fs::metadata(folder.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // rcgen's certificates begin in 1975.
    assert!(identity.is_due(1_700_000_000));
    assert!(!identity.is_due(0));
}

#[test]
fn a_certificate_for_another_key_is_no_answer() {
    let leaf = certificate(&P256Key::generate().unwrap());
    let other = P256Key::generate().unwrap();
    assert!(matches!(pem_chain(&[leaf], &other), Err(Error::Answer)));
    assert!(matches!(pem_chain(&[], &other), Err(Error::Answer)));
}
