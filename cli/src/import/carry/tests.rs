use super::*;

fn file(folder: &Path, before: &str, after: &str) -> Changed {
    Changed {
        path: folder.join(".env"),
        before: Secret::new(before.as_bytes().to_vec()),
        after: Secret::new(after.as_bytes().to_vec()),
    }
}

#[test]
fn a_file_is_replaced_whole_with_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), "A=1\n", "A=2\n");
    fs::write(&file.path, "A=1\n").unwrap();
    for mode in [0o640, 0o400] {
        fs::set_permissions(&file.path, fs::Permissions::from_mode(mode)).unwrap();
        replace(&file, &file.before, &file.after).unwrap();
        assert_eq!(fs::read(&file.path).unwrap(), b"A=2\n");
        assert_eq!(fs::metadata(&file.path).unwrap().mode() & 0o7777, mode);
        // Again: nothing to do, and nothing goes wrong.
        replace(&file, &file.before, &file.after).unwrap();
        replace(&file, &file.after, &file.before).unwrap();
        assert_eq!(fs::read(&file.path).unwrap(), b"A=1\n");
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "a draft was left"
    );
}

#[test]
fn what_somebody_changed_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), "A=1\n", "A=2\n");
    fs::write(&file.path, "A=1\nB=1\n").unwrap();
    assert!(matches!(
        replace(&file, &file.before, &file.after),
        Err(None)
    ));
    assert_eq!(fs::read(&file.path).unwrap(), b"A=1\nB=1\n");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "a draft was left"
    );
}

#[test]
fn a_draft_of_an_import_that_was_killed_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), "A=1\n", "A=2\n");
    fs::write(&file.path, "A=1\n").unwrap();
    fs::write(draft_of(&file.path), "A=").unwrap();
    replace(&file, &file.before, &file.after).unwrap();
    assert_eq!(fs::read(&file.path).unwrap(), b"A=2\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
