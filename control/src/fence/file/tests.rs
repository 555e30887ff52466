use uuid::Uuid;

use super::*;

fn mark(epoch: u64, n: u64) -> Mark {
    Mark {
        cluster: Uuid::from_u128(1),
        epoch,
        n,
    }
}

#[test]
fn a_mark_never_goes_back_and_survives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let fence = FileFence::new(folder.path());
    assert_eq!(fence.read().unwrap(), None);
    for (raised, expected) in [
        (mark(1, 5), mark(1, 5)),
        (mark(1, 4), mark(1, 5)),
        (mark(2, 0), mark(2, 0)),
        (mark(1, 900), mark(2, 0)),
    ] {
        fence.raise(raised).unwrap();
        assert_eq!(
            FileFence::new(folder.path()).read().unwrap(),
            Some(expected)
        );
    }
}

#[test]
fn what_is_no_mark_is_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(NAME), "{\"epoch\":1").unwrap();
    let fence = FileFence::new(folder.path());
    assert!(matches!(fence.read(), Err(Error::Malformed(_))));
    // A restore that is meant replaces it.
    fence.raise(mark(2, 0)).unwrap();
    assert_eq!(fence.read().unwrap(), Some(mark(2, 0)));
}
