use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn record(id: &str) -> Record {
    Record {
        id: id.to_owned(),
        state: State::Started,
        api_url: "http://127.0.0.1:7300".to_owned(),
        tenant: "-".to_owned(),
        vault: "default".to_owned(),
        credentials: vec![Moved {
            name: "TOKEN".to_owned(),
            placeholder: "__TOKEN__".to_owned(),
            destinations: vec![json!({"host": "a.example"})],
            value: Secret::new(b"the-secret-value".to_vec()),
        }],
        files: vec![Changed {
            path: "/x/.env".into(),
            before: Secret::new(vec![0xff, 0, b'\n']),
            after: Secret::new(Vec::new()),
        }],
        path: PathBuf::new(),
    }
}

fn folder() -> (tempfile::TempDir, Folder) {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::at(home.path().join("sortie/imports"));
    (home, folder)
}

#[test]
fn a_record_is_private_and_read_back_whole() {
    let (home, folder) = folder();
    drop(folder.lock().unwrap());
    folder.write(&record("20260131-120000-aaaa")).unwrap();
    let path = home.path().join("sortie/imports/20260131-120000-aaaa.json");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let read = folder.read("last", |state| state != State::Undone).unwrap();
    assert!(read.credentials[0].value.same_as(b"the-secret-value"));
    assert!(read.files[0].before.same_as(&[0xff, 0, b'\n']));
    assert_eq!(read.path_text(), path.display().to_string());
}

#[test]
fn no_summary_holds_a_value() {
    let summary = record("x").summary().to_string();
    assert!(
        summary.contains("TOKEN") && !summary.contains("the-secret-value"),
        "{summary}"
    );
    assert!(!format!("{:?}", record("x")).contains("the-secret"));
}

#[test]
fn the_last_is_the_newest_that_is_not_undone() {
    let (_home, folder) = folder();
    drop(folder.lock().unwrap());
    assert!(folder.read("last", |state| state != State::Undone).is_err());
    for id in [
        "20260101-000000-a",
        "20260102-000000-b",
        "20260103-000000-c",
    ] {
        folder.write(&record(id)).unwrap();
    }
    let newest = folder.mark(
        folder.read("20260103-000000-c", |_| true).unwrap(),
        State::Undone,
    );
    assert_eq!(newest.unwrap().state, State::Undone);
    assert_eq!(
        folder
            .read("last", |state| state != State::Undone)
            .unwrap()
            .id,
        "20260102-000000-b"
    );
    let newest = folder.read("last", |_| true).unwrap();
    assert_eq!(newest.id, "20260103-000000-c");
    assert!(folder.read("../../etc/passwd", |_| true).is_err());
}

#[test]
fn what_is_forgotten_is_overwritten_first() {
    let (home, folder) = folder();
    drop(folder.lock().unwrap());
    folder.write(&record("x")).unwrap();
    let path = home.path().join("sortie/imports/x.json");
    // A second name shows what became of the bytes.
    let witness = home.path().join("witness");
    fs::hard_link(&path, &witness).unwrap();
    let length = fs::metadata(&path).unwrap().len();
    folder.shred(&folder.read("x", |_| true).unwrap()).unwrap();
    assert!(!path.exists());
    let bytes = fs::read(&witness).unwrap();
    assert_eq!(u64::try_from(bytes.len()).unwrap(), length);
    assert!(bytes.iter().all(|&byte| byte == 0));
}

#[test]
fn two_imports_at_once_are_one_too_many() {
    let (_home, folder) = folder();
    let first = folder.lock().unwrap();
    assert!(matches!(folder.lock(), Err(Error::Failed { .. })));
    drop(first);
    folder.lock().unwrap();
}

#[test]
fn a_damaged_record_says_nothing_of_what_it_holds() {
    let (home, folder) = folder();
    drop(folder.lock().unwrap());
    fs::write(
        home.path().join("sortie/imports/x.json"),
        "{\"id\": the-secret-value",
    )
    .unwrap();
    let error = folder.all().unwrap_err();
    assert!(!format!("{error} {:?}", error.next()).contains("secret-value"));
}

#[test]
fn parts_are_replaced_and_never_overlap() {
    let cut = |parts: &[(std::ops::Range<usize>, &str)]| {
        let parts = parts
            .iter()
            .map(|(at, new)| (at.clone(), (*new).to_owned()));
        splice(b"0123456789", parts.collect())
    };
    assert_eq!(cut(&[(8..10, "Z"), (0..1, "abc")]).unwrap(), b"abc1234567Z");
    assert_eq!(cut(&[]).unwrap(), b"0123456789");
    assert_eq!(cut(&[(1..5, ""), (4..6, "")]), None);
    assert_eq!(cut(&[(5..11, "")]), None);
}

#[test]
fn the_draft_of_a_record_does_not_stay() {
    let (home, folder) = folder();
    drop(folder.lock().unwrap());
    let draft = home.path().join("sortie/imports/x.json.4711.new");
    fs::write(&draft, "the-secret-value").unwrap();
    drop(folder.lock().unwrap());
    assert!(!draft.exists());
}
