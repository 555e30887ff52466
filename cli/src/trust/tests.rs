use super::*;
use crate::certificate::tests::authority;

fn stores(system_dir: &Path) -> Stores {
    Stores {
        store: vec![Kind::System],
        system_dir: Some(system_dir.to_owned()),
        nss_db: Vec::new(),
        java_home: Vec::new(),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_installed_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("corporate.crt"), "x").unwrap();
    let out = Output::new(crate::output::Format::Json);
    let sure = || Sure::yes();
    let stores = stores(folder.path());
    let first = Named::read(&authority("Sortie ten_1", "Sortie"), None).unwrap();
    let second = Named::read(&authority("Sortie ten_2", "Sortie"), None).unwrap();
    for _ in 0..2 {
        install(&first, &stores, &sure(), out).unwrap();
    }
    install(&second, &stores, &sure(), out).unwrap();
    assert_eq!(names(folder.path()).len(), 3);
    let written = folder.path().join(format!("{}.crt", first.name));
    assert_eq!(std::fs::read_to_string(written).unwrap(), first.pem);
    for _ in 0..2 {
        remove(Some(&first), &stores, &sure(), out).unwrap();
    }
    assert_eq!(
        names(folder.path()),
        ["corporate.crt".to_owned(), format!("{}.crt", second.name)]
    );
    remove(None, &stores, &sure(), out).unwrap();
    assert_eq!(names(folder.path()), ["corporate.crt"]);
}

#[test]
fn a_store_that_cannot_be_changed_has_the_line_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let stores = stores(folder.path());
    let named = Named::read(
        &authority("Sortie ten_1", "Sortie"),
        Some("/tmp/ca.pem".into()),
    );
    let named = named.unwrap();
    struct Closed;
    impl Store for Closed {
        fn kind(&self) -> Kind {
            Kind::System
        }
        fn place(&self) -> String {
            "/closed".to_owned()
        }
        fn does(&self) -> String {
            String::new()
        }
        fn is_writable(&self) -> bool {
            false
        }
        fn names(&self) -> Result<Vec<String>> {
            Ok(Vec::new())
        }
        fn install(&self, _: &Named) -> Result<()> {
            Err(Error::failed("it is closed", ""))
        }
        fn remove(&self, _: &str) -> Result<()> {
            Err(Error::failed("it is closed", ""))
        }
    }
    for act in ["install", "remove"] {
        let done = Done::new(act, &stores, Some(&named));
        let next = done.may_change(&Closed).unwrap_err().next().unwrap();
        assert!(next.starts_with("sudo '"), "{next}");
        let line =
            format!("trust {act} --yes --authority '/tmp/ca.pem' --store system --system-dir");
        assert!(next.contains(&line), "{next}");
    }
    let all = Done::new("remove", &stores, None);
    let next = all.may_change(&Closed).unwrap_err().next().unwrap();
    assert!(
        next.contains("trust remove --yes --all --store system"),
        "{next}"
    );
}
