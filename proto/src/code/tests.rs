use std::collections::HashSet;

use super::*;

#[test]
fn names_are_unique_and_read_back() {
    let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len());
    for code in Code::ALL {
        assert_eq!(Code::from_name(code.name()), Some(*code));
    }
}

#[test]
fn every_text_is_a_sentence_that_fits_a_terminal_line_or_two() {
    for code in Code::ALL {
        let text = code.text();
        assert!(text.ends_with('.') && text.len() < 180, "{code}: {text}");
        assert!(text.starts_with(char::is_uppercase), "{code}: {text}");
    }
}
