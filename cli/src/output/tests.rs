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
fn text_that_turns_its_direction_or_hides_is_shown_as_such() {
    let host = "\u{202e}moc.elpmaxe\u{200b}\u{2066}.test\u{feff}\u{e0041}";
    assert_eq!(
        printable(host, true),
        "\u{fffd}moc.elpmaxe\u{fffd}\u{fffd}.test\u{fffd}\u{fffd}"
    );
    assert_eq!(
        printable("\u{9b}31m\r\u{7f}\t", false),
        "\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}"
    );
    // A joiner belongs to the word.
    assert_eq!(
        printable("می\u{200c}خواهم 👩\u{200d}💻", false),
        "می\u{200c}خواهم 👩\u{200d}💻"
    );
}

#[test]
fn a_table_has_a_row_for_each_object() {
    let rows = [json!({"name": "a"}), json!({"name": "b"})];
    for room in [None, Some(80)] {
        let text = table_text(&rows, &[("NAME", "/name")], room);
        assert_eq!(text, "NAME\na\nb");
    }
}

#[test]
fn times_are_told_to_the_second() {
    let object = json!({"at": "2026-11-21T20:18:03.123456Z", "name": "2026-11-21", "no": "xTz0123456789T123456Z"});
    let columns = [("AT", "/at"), ("NAME", "/name"), ("NO", "/no")];
    let expect = [
        "2026-11-21 20:18:03Z",
        "2026-11-21",
        "xTz0123456789T123456Z",
    ];
    assert_eq!(cells(&object, &columns), expect);
}

#[test]
fn urls_are_told_without_the_port_that_they_have_anyway() {
    for (text, shown) in [
        ("https://a.example:443/x:443/y", "https://a.example/x:443/y"),
        ("https://a.example:8443/x", "https://a.example:8443/x"),
        ("https://a.example/x:443/y", "https://a.example/x:443/y"),
        ("http://a.example:443/", "http://a.example:443/"),
        ("https://[::1]:443/", "https://[::1]/"),
    ] {
        assert_eq!(short(text.to_owned()), shown);
    }
}

#[test]
fn a_file_gets_no_colours() {
    let out = Output {
        format: Format::Table,
        colour: true,
    };
    let text = format!("{} and {}", out.green("ready"), out.dim("1.0 s"));
    assert!(text.contains('\u{1b}'));
    assert_eq!(plain(&text), "ready and 1.0 s");
    let out = Output {
        colour: false,
        ..out
    };
    assert_eq!(out.red("no"), "no");
}

#[test]
fn more_rows_go_on_below_without_a_second_head() {
    let columns: [Column; 2] = [("A", "/a"), ("B", "/b")];
    let say = |objects: &[Value], shape: &mut Option<Shape>| {
        let rows: Vec<_> = objects.iter().map(|it| cells(it, &columns)).collect();
        more(&titles(&columns), &rows, Some(10), shape)
    };
    let mut shape = None;
    assert_eq!(
        say(&[json!({"a": "12345 6789"})], &mut shape),
        "A\n12345 6789"
    );
    assert_eq!(say(&[json!({"a": "1"})], &mut shape), "1");
    // A column that was left out is needed now.
    let text = say(&[json!({"a": "1", "b": "2"})], &mut shape);
    assert_eq!(text, "A  B\n1  2");
}
