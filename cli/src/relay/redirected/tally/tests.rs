use super::*;
use crate::output::Format;

#[test]
fn each_reason_is_said_at_powers_of_ten() {
    let tally = Tally::new(Output::new(Format::Json));
    let said: Vec<_> = (0..120).filter_map(|_| tally.add(Reason::Silent)).collect();
    assert_eq!(said, [1, 10, 100]);
    assert_eq!(tally.add(Reason::Refused("session_revoked")), Some(1));
}
