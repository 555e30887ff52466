use super::*;

fn rows(cells: &[&[&str]]) -> Vec<Vec<String>> {
    let row = |row: &&[&str]| row.iter().map(|&text| text.to_owned()).collect();
    cells.iter().map(row).collect()
}

/// The table as lines, none of which may be wider than the terminal.
fn shown(titles: &[&str], cells: &[&[&str]], room: usize) -> Vec<String> {
    let rows = rows(cells);
    let text: Vec<_> = match shape(titles, &rows, Some(room)) {
        Shape::Columns(widths) => rows.iter().map(|it| row(it, &widths)).collect(),
        Shape::Blocks => rows
            .iter()
            .map(|it| block(titles, it, Some(room)))
            .collect(),
    };
    let lines: Vec<_> = text.join("\n").lines().map(str::to_owned).collect();
    for line in &lines {
        assert!(line.width() <= room, "{} cells: {line}", line.width());
    }
    lines
}

#[test]
fn what_fits_is_left_as_it_is() {
    let lines = shown(&["A", "B"], &[&["one", ""], &["three", "x"]], 80);
    assert_eq!(lines, ["one", "three  x"]);
}

#[test]
fn wide_characters_take_two_cells_and_combining_ones_none() {
    let lines = shown(&["A", "B"], &[&["日本", "x"], &["e\u{301}ab", "y"]], 80);
    assert_eq!(lines, ["日本  x", "e\u{301}ab   y"]);
}

#[test]
fn columns_that_are_empty_go_first() {
    let id = "0123456789012345678901234567890123456789";
    let lines = shown(&["ID", "LABELS", "B"], &[&[id, "", "b"]], 44);
    assert_eq!(lines, [format!("{id}  b")]);
}

#[test]
fn cells_are_broken_between_words_and_identifiers_stay_whole() {
    let id = "ses_0198f0c2-7a55-7e4e-9a62-000000000001";
    let list = "one.example, two.example, three.example";
    let lines = shown(&["ID", "HOSTS"], &[&[id, list], &["x", "y"]], 60);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let pad = |text: &str| format!("{text:40}");
    assert_eq!(lines[0], format!("{id}  one.example,"));
    assert_eq!(lines[1], format!("{}  two.example,", pad("")));
    assert_eq!(lines[2], format!("{}  three.example", pad("")));
    assert_eq!(lines[3], format!("{}  y", pad("x")));
}

#[test]
fn an_id_and_a_time_go_where_there_is_a_name() {
    let id = "vlt_0198f0c27a557e4e9a62000000000001";
    let titles = ["NAME", "ID", "MODE", "CREATED"];
    let cells: &[&[&str]] = &[&["default", id, "observe", "2026-11-21 20:00:00Z"]];
    // Words are broken first.
    let lines = shown(&titles, cells, 70);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].ends_with("2026-11-21"), "{lines:#?}");
    assert_eq!(
        shown(&titles, cells, 60),
        [format!("default  {id}  observe")]
    );
    assert_eq!(shown(&titles, cells, 40), ["default  observe"]);
    // Without a name the id is what there is.
    let lines = shown(
        &["AGENT", "ID", "CREATED"],
        &[&["builder", id, "2026-11-21 20:00:00Z"]],
        50,
    );
    assert_eq!(lines, [format!("builder  {id}")]);
}

#[test]
fn names_are_broken_between_their_parts_and_nowhere_else() {
    let parts = |text| pieces(text, Breaks::Parts).collect::<Vec<_>>();
    assert_eq!(
        parts("DIGITALOCEAN_ACCESS_TOKEN"),
        ["DIGITALOCEAN_", "ACCESS_", "TOKEN"]
    );
    assert_eq!(
        parts("raw.githubusercontent.com"),
        ["raw.githubusercontent.", "com"]
    );
    assert_eq!(parts("2026-11-21 20:00:00Z"), ["2026-11-21 ", "20:00:00Z"]);
    assert_eq!(parts("ses_0198f0c2"), ["ses_0198f0c2"]);
    assert_eq!(parts("__DEMO_KEY__"), ["__DEMO_", "KEY__"]);
    assert_eq!(parts("run=sortie-dev"), ["run=", "sortie-", "dev"]);
    assert_eq!(parts("日本語、x"), ["日本語、x"]);
    assert_eq!(parts(""), [""; 0]);
}

#[test]
fn one_wide_column_leaves_the_others_as_they_are() {
    let url = "https://api.example.com/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u";
    let lines = shown(
        &["AT", "URL", "OUTCOME"],
        &[&["2026-11-21 20:00:00Z", url, "allowed as is"]],
        70,
    );
    assert!(
        lines[0].starts_with("2026-11-21 20:00:00Z  https://"),
        "{lines:#?}"
    );
    assert!(lines[0].ends_with("allowed as is"), "{lines:#?}");
    assert!(lines.len() > 1);
}

#[test]
fn a_word_that_is_too_long_is_broken_and_nothing_of_it_is_lost() {
    let long = "x".repeat(500);
    let lines = shown(&["A", "B"], &[&["a", &long]], 60);
    let all: String = lines.concat();
    assert_eq!(all.matches('x').count(), 500);
    let wide = "日".repeat(100);
    let lines = wrapped(&wide, 7);
    let (last, full) = lines.split_last().unwrap();
    assert!(full.iter().all(|line| line.width() == 6), "{lines:?}");
    assert_eq!(last, "日");
    assert_eq!(lines.concat(), wide);
}

#[test]
fn one_long_word_in_a_url_does_not_make_blocks_of_a_log() {
    let url = format!("https://a.example/{}/x", "0123456789abcdef".repeat(3));
    let cells: &[&[&str]] = &[
        &[
            "2026-11-21 20:00:00Z",
            "request",
            "GET",
            &url,
            "refused",
            "502",
        ],
        &["2026-11-21 20:00:01Z", "admin", "", "", "ok", ""],
    ];
    let lines = shown(
        &["AT", "KIND", "METHOD", "URL", "OUTCOME", "STATUS"],
        cells,
        80,
    );
    assert!(
        lines[0].contains("GET") && lines[0].ends_with("502"),
        "{lines:#?}"
    );
    assert!(
        lines.concat().replace(' ', "").contains("abcdef"),
        "{lines:#?}"
    );
}

#[test]
fn where_no_columns_fit_each_object_is_a_block() {
    let id = "0123456789012345678901234567890123456789";
    let lines = shown(&["ID", "OTHER ID", "EMPTY"], &[&[id, id, ""]], 60);
    assert_eq!(
        lines,
        [format!("id        {id}"), format!("other id  {id}")]
    );
}

#[test]
fn a_terminal_of_any_width_loses_nothing() {
    let cells: &[&[&str]] = &[
        &["ses_0198f0c2", "a/b/c/d", "日本語 text, more", ""],
        &["short", "", "e\u{301}", "last"],
    ];
    for room in 1..120 {
        let rows = rows(cells);
        let titles = ["ID", "PATH", "LABELS", "X"];
        let text: Vec<_> = match shape(&titles, &rows, Some(room)) {
            Shape::Columns(widths) => rows.iter().map(|it| row(it, &widths)).collect(),
            Shape::Blocks => rows
                .iter()
                .map(|it| block(&titles, it, Some(room)))
                .collect(),
        };
        let bare = |text: &str| {
            text.chars()
                .filter(|c| !c.is_whitespace())
                .collect::<String>()
        };
        let text = bare(&text.join(""));
        for c in bare(&cells.concat().concat()).chars() {
            assert!(text.contains(c), "{c} is lost at {room}: {text}");
        }
    }
}

#[test]
fn later_rows_get_a_head_of_their_own_only_if_they_need_other_columns() {
    let first = rows(&[&["aaaaaaaaaa bbbbbbbbbb", "", "x"]]);
    let narrow = shape(&["A", "B", "C"], &first, Some(20));
    assert_eq!(narrow, Shape::Columns(vec![Some(17), None, Some(1)]));
    let same = narrow.clone().with(&rows(&[&["a", "", "y"]]), Some(20));
    assert_eq!(same, Some(narrow.clone()));
    assert_eq!(
        narrow.clone().with(&rows(&[&["a", "b", "y"]]), Some(20)),
        None
    );
    assert_eq!(narrow.with(&first, Some(10)), None);

    let piped = shape(&["A"], &rows(&[&["abc"]]), None);
    let wider = piped.with(&rows(&[&["abcdef"]]), None);
    assert_eq!(wider, Some(Shape::Columns(vec![Some(6)])));
}
