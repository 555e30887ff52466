use super::super::finding::State;
use super::*;

#[test]
fn a_date_that_differs_is_a_fault() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let there = 784_111_777;
    for (now, state, part) in [
        (there, State::Ok, "within"),
        (there + 59, State::Ok, "within"),
        (there + 3600, State::Fault, "3600 s ahead of control"),
        (there - 61, State::Fault, "61 s behind control"),
    ] {
        let finding = against_date(now, date, "control");
        assert_eq!(finding.state, state);
        assert!(finding.seen.contains(part), "{finding:?}");
    }
    assert_eq!(against_date(0, "yesterday", "x").state, State::Skipped);
}

#[test]
fn a_token_tells_of_a_clock_that_is_wrong() {
    let times = Times {
        iat: 1000,
        exp: 4600,
    };
    for (now, is_accepted, told) in [
        (1000, true, false),
        (900, false, true),
        (4599, true, false),
        (5000, false, false),
        (5000, true, true),
    ] {
        let finding = against_token(now, times, is_accepted);
        assert_eq!(finding.is_some(), told, "{now} {is_accepted}");
    }
}
