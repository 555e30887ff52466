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
fn long_texts_are_broken_between_words() {
    let text = wrapped(&"word ".repeat(40), 20);
    assert!(text.lines().count() > 1);
    assert!(text.lines().all(|line| line.len() <= LINE_WIDTH), "{text}");
    assert!(text.lines().skip(1).all(|line| line.starts_with("    ")));
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
