use super::super::finding::State;
use super::*;
use crate::certificate::tests::authority;

#[test]
fn what_is_wrong_with_a_bundle_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.pem");
    let (ours, other) = (
        authority("Sortie ten_1", "Sortie"),
        authority("Root", "Other"),
    );
    let now = 1_800_000_000;
    for (text, state, part) in [
        (format!("{ours}{other}"), State::Ok, "1 other roots"),
        (ours.clone(), State::Warning, "no root but Sortie ten_1"),
        (other.clone(), State::Fault, "no tenant's authority"),
        ("x".to_owned(), State::Fault, "holds no certificate"),
    ] {
        std::fs::write(&file, text).unwrap();
        let (_, finding) = check(&file, now);
        assert_eq!(finding.state, state, "{finding:?}");
        assert!(finding.seen.contains(part), "{finding:?}");
    }
    let (_, missing) = check(&folder.path().join("missing"), now);
    assert_eq!(missing.state, State::Fault);
    std::fs::write(&file, format!("{ours}{other}")).unwrap();
    let (_, late) = check(&file, i64::MAX);
    assert!(late.seen.contains("not valid"), "{late:?}");
}
