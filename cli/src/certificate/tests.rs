use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

use super::*;

/// An authority as control makes one, or of somebody else.
pub(crate) fn authority(name: &str, organization: &str) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, organization);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().pem()
}

#[test]
fn a_tenants_authority_is_told_from_other_roots() {
    let ours = authority("Sortie ten_1", "Sortie");
    let other = authority("Some Root", "Some Company");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.pem");
    for (text, count, holds) in [
        (format!("# comment\n{other}{ours}"), 2, true),
        (other, 1, false),
        ("nothing".to_owned(), 0, false),
    ] {
        fs::write(&file, text).unwrap();
        assert_eq!(read_file(&file).unwrap().len(), count);
        assert_eq!(holds_authority(&file), holds);
    }
    assert!(read_file(&folder.path().join("missing")).is_err());
    assert!(!holds_authority(folder.path()));

    let der = CertificateDer::from_pem_slice(ours.as_bytes()).unwrap();
    let found = Authority::read(&der).unwrap();
    assert_eq!(found.name, "Sortie ten_1");
    assert_eq!(found.fingerprint.len(), 64);
    assert!(found.fingerprint.starts_with(found.short()));
    assert_eq!(issuer(&der), Some(("Sortie ten_1".to_owned(), true)));
}
