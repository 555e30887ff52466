use super::*;

#[test]
fn a_process_that_cannot_be_seen_from_here_is_never_our_own_group() {
    assert_eq!(process(Some(7)), Some(Pid::from_raw(7)));
    for id in [None, Some(0), Some(-1)] {
        assert_eq!(process(id), None, "{id:?}");
    }
}
