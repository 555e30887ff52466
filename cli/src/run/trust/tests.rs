use super::*;

fn authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut made = rcgen::CertificateParams::new(vec!["x.example".to_owned()]).unwrap();
    made.distinguished_name
        .push(rcgen::DnType::CommonName, "Tenant of the test");
    made.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    made.self_signed(&key).unwrap().pem()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_folder_is_private_and_goes() {
    let authority = authority();
    let folder = Folder::temporary().unwrap();
    folder.write(&Trust::new(&authority).unwrap()).unwrap();
    folder.put("gh/hosts.yml", b"x").unwrap();
    let path = folder.path().unwrap().to_owned();
    let files = Trust::files(&path);
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(format!("{path}/gh")), 0o700);
    assert_eq!(mode(format!("{path}/gh/hosts.yml")), 0o600);
    assert_eq!(mode(files.trust_store.unwrap()), 0o600);
    let text = fs::read(files.bundle).unwrap();
    let wanted = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    assert!(CertificateDer::pem_slice_iter(&text).any(|found| found.unwrap() == wanted));
    folder.close();
    assert!(!Path::new(&path).exists());
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("a/b");
    Folder::lasting(&path).unwrap().put("x", b"1").unwrap();
    assert_eq!(mode(&path), 0o700);
    Folder::lasting(&path).unwrap().close();
    assert!(path.join("x").exists());
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Folder::lasting(&path), Err(Error::Config(_))));
}

#[test]
fn what_is_written_is_read_back() {
    let wanted = CertificateDer::from_pem_slice(authority().as_bytes()).unwrap();
    let found = CertificateDer::from_pem_slice(pem(&wanted).as_bytes()).unwrap();
    assert_eq!(found, wanted);
}

#[test]
fn the_store_holds_every_certificate_as_a_root() {
    let all = [authority(), authority()]
        .map(|text| CertificateDer::from_pem_slice(text.as_bytes()).unwrap());
    let bytes = store(all.iter()).unwrap();
    // `Strict` leaves out what is not marked as trusted.
    let policy = p12_keystore::Pkcs12ImportPolicy::Strict;
    let read = KeyStore::from_pkcs12(&bytes, TRUST_STORE_PASSWORD, policy).unwrap();
    let mut found = read.entries().map(|(_, entry)| match entry {
        KeyStoreEntry::Certificate(certificate) => certificate.as_der().to_vec(),
        KeyStoreEntry::PrivateKeyChain(_) | KeyStoreEntry::Secret(_) => panic!("{entry:?}"),
    });
    assert!(found.any(|der| der == all[0].as_ref()));
    assert_eq!(read.entries_len(), 2);
}

#[test]
fn an_answer_that_is_no_certificate_is_refused() {
    assert!(Trust::new("hello").is_err());
}
