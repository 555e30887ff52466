use super::*;
use crate::output::Format;

#[test]
fn the_account_holds_what_was_seen_and_how_to_repeat_it() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::make(folder.path(), 20_000).unwrap();
    std::fs::write(layout.demo("owner.key"), "k").unwrap();
    let shown = Shown {
        received: "Bearer sha256:ba7816bf8f01".to_owned(),
        stored: "sha256:ba7816bf8f01".to_owned(),
        echoed: "Bearer ***".to_owned(),
        echoed_placeholder: "***".to_owned(),
    };
    let text = tell(&shown, &layout, true, Output::new(Format::Json));
    for part in [
        "authorization: Bearer sha256:ba7816bf8f01",
        "authorization: Bearer ***",
        "= the stored value",
        "https://api.demo.test:20090/hello",
        "run -- curl",
        "owner.key",
        "dev stop --data-dir",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_path_with_a_space_is_one_word() {
    assert_eq!(quoted(Path::new("/a/b.c")), "/a/b.c");
    assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
}
