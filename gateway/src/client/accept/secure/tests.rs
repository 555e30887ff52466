use super::*;

/// A certificate and its key, in PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["gateway.test".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("proxy.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("proxy.key")
    }

    fn write(&self, certificate: &str, key: &str) {
        std::fs::write(self.certificate(), certificate).unwrap();
        std::fs::write(self.key(), key).unwrap();
    }

    fn load(&self) -> Result<Secure, Vec<Error>> {
        Secure::load(self.certificate(), self.key())
    }

    /// What is wrong, as an operator reads it.
    fn problems(&self) -> Vec<String> {
        let found = self.load().unwrap_err();
        found.iter().map(ToString::to_string).collect()
    }
}

/// The certificate that is shown.
fn shown(secure: &Secure) -> Vec<u8> {
    let acceptor = secure.acceptor();
    acceptor.context().certificate().unwrap().to_pem().unwrap()
}

#[test]
fn every_problem_of_the_files_is_named() {
    let folder = Folder::new();
    assert_eq!(folder.problems().len(), 2);
    let ((certificate, key), (other, _)) = (pair(), pair());
    folder.write("no", "no");
    let problems = folder.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("proxy.pem") && problems[1].contains("proxy.key"));
    folder.write(&other, &key);
    assert!(folder.problems()[0].contains("not the key of the certificate"));
    // The two files the wrong way round.
    folder.write(&key, &certificate);
    assert_eq!(folder.problems().len(), 2);
}

#[test]
fn no_problem_shows_the_key() {
    let folder = Folder::new();
    let (certificate, key) = pair();
    let middle = key.lines().nth(1).unwrap();
    folder.write(&certificate, &key.replace("PRIVATE", "PUBLIC"));
    let found = format!("{:?}", folder.load().unwrap_err());
    assert!(!found.contains(middle), "{found}");
    folder.write(&certificate, &key);
    let loaded = format!("{:?}", folder.load().unwrap());
    assert!(!loaded.contains(middle), "{loaded}");
}

#[test]
fn a_new_pair_is_used_once_it_fits() {
    let folder = Folder::new();
    let ((first, key), (second, second_key)) = (pair(), pair());
    folder.write(&first, &key);
    let secure = folder.load().unwrap();
    assert!(!secure.reload().unwrap());
    // Half replaced.
    folder.write(&second, &key);
    assert!(secure.reload().is_err());
    assert_eq!(shown(&secure), first.as_bytes());
    folder.write(&second, &second_key);
    assert!(secure.reload().unwrap());
    assert_eq!(shown(&secure), second.as_bytes());
}

#[test]
fn what_leads_to_a_root_is_shown_too() {
    let folder = Folder::new();
    let ((certificate, key), (issuer, _)) = (pair(), pair());
    folder.write(&(certificate + &issuer), &key);
    let acceptor = folder.load().unwrap().acceptor();
    assert_eq!(acceptor.context().extra_chain_certs().len(), 1);
}
