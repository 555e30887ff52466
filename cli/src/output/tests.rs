use serde_json::json;

use super::*;

#[test]
fn cells_read_as_people_write() {
    let object = json!({"a": true, "b": ["x", "y"], "c": {"k": "v"}, "d": null, "n": 7,
        "to": [{"host": "a.example", "port": 443}, {"host": "b.example"}]});
    let check = |pointer, expect: &str| assert_eq!(cell(&object, pointer), expect);
    check("/a", "yes");
    check("/b", "x, y");
    check("/c", "k=v");
    check("/d", "");
    check("/n", "7");
    check("/missing", "");
    check("/to", "a.example:443, b.example");
}

#[test]
fn what_others_wrote_cannot_steer_a_terminal() {
    let object = json!({"name": "a\u{1b}[2Jb\nc"});
    assert_eq!(cell(&object, "/name"), "a\u{fffd}[2Jb\u{fffd}c");
}

#[test]
fn a_table_has_a_row_for_each_object() {
    let rows = [json!({"name": "a"}), json!({"name": "b"})];
    let text = table(&rows, &[("NAME", "/name")]);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(!text.contains('\u{1b}'));
}
