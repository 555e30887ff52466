use std::io::Write as _;

use super::*;

#[test]
fn lines_come_once_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.log");
    let mut tail = Tail::new(path.clone());
    assert!(tail.read().unwrap().is_empty());
    let mut file = File::create(&path).unwrap();
    write!(file, "one\ntwo\nthr").unwrap();
    assert_eq!(tail.read().unwrap(), ["one", "two"]);
    assert!(tail.read().unwrap().is_empty());
    writeln!(file, "ee").unwrap();
    assert_eq!(tail.read().unwrap(), ["three"]);
}

#[test]
fn a_new_file_is_read_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.log");
    fs::write(&path, "a long old line\n").unwrap();
    let mut tail = Tail::new(path.clone());
    tail.read().unwrap();
    fs::rename(&path, folder.path().join("x.log.1")).unwrap();
    fs::write(&path, "new, and longer than the old one was\n").unwrap();
    assert_eq!(
        tail.read().unwrap(),
        ["new, and longer than the old one was"]
    );
}

#[test]
fn a_line_without_an_end_is_not_kept_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.log");
    fs::write(&path, vec![b'x'; LINE_MAX + 1]).unwrap();
    assert_eq!(Tail::new(path).read().unwrap().len(), 1);
}
