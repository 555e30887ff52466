use super::*;

#[test]
fn tokens_and_passwords_are_not_shown() {
    for (text, shown) in [
        ("http://x:pass@h:1/", "http://…@h:1/"),
        ("no http://h:1 here", "no http://h:1 here"),
        ("a sortie_ses_a.b-c_d! b", "a sortie_ses_…! b"),
        ("'http://u:p@q@h:1' and //v@w", "'http://…@h:1' and //…@w"),
        ("sortie_key_x sortie_key_y", "sortie_key_… sortie_key_…"),
    ] {
        assert_eq!(conceal(text), shown);
    }
}

#[test]
fn what_was_seen_stays_in_its_column_and_a_fix_on_its_line() {
    let fix = "export NO_PROXY='".to_owned() + &"x".repeat(100) + "'";
    let finding = Finding::fault("NO_PROXY", "word ".repeat(40), fix.as_str());
    let lines = lines(&finding, 10, Output::new(crate::output::Format::Json));
    let (seen, fixes) = lines.split_first().unwrap();
    assert!(seen.starts_with("fault    NO_PROXY    word word"), "{seen}");
    assert!(seen.lines().count() > 1);
    assert!(seen.lines().all(|line| line.len() <= LINE_WIDTH), "{seen}");
    let column = " ".repeat(7 + 2 + 10 + 2);
    assert!(seen.lines().skip(1).all(|line| line.starts_with(&column)));
    assert_eq!(fixes, [format!("         fix: {fix}")]);
}

#[test]
fn faults_are_counted() {
    let rows = [
        Finding::ok("a", "x"),
        Finding::fault("b", "x", "y"),
        Finding::warning("c", "x", "y"),
        Finding::skipped("d", "x"),
    ];
    assert_eq!(faults(&rows), 1);
    assert_eq!(counted(2, "fault"), "2 faults");
}
