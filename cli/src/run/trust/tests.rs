use super::*;

fn authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec!["x.example".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem()
}

#[test]
fn the_bundle_holds_the_authority_and_goes_with_its_folder() {
    let authority = authority();
    let folder = Folder::make(&authority).unwrap();
    let mode = std::fs::metadata(folder.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    let text = std::fs::read(folder.bundle()).unwrap();
    let wanted = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    assert!(CertificateDer::pem_slice_iter(&text).any(|found| found.unwrap() == wanted));
    let path = folder.path().to_owned();
    drop(folder);
    assert!(!path.exists());
}

#[test]
fn what_is_written_is_read_back() {
    let wanted = CertificateDer::from_pem_slice(authority().as_bytes()).unwrap();
    let found = CertificateDer::from_pem_slice(pem(&wanted).as_bytes()).unwrap();
    assert_eq!(found, wanted);
}

#[test]
fn an_answer_that_is_no_certificate_is_refused() {
    assert!(Folder::make("hello").is_err());
}
