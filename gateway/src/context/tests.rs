use super::*;

fn message(length: u32) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend(std::iter::repeat_n(7, length as usize));
    bytes
}

#[test]
fn messages_end_wherever_they_are_cut() {
    let mut bytes = message(3);
    bytes.extend(message(0));
    bytes.extend(message(300));
    let ends: Vec<usize> = vec![8, 13, bytes.len()];
    for step in 1..bytes.len() {
        let mut found = Ends::messages();
        let mut at = 0;
        for chunk in bytes.chunks(step) {
            at += chunk.len();
            assert_eq!(
                found.after(chunk),
                ends.contains(&at),
                "step {step} at {at}"
            );
        }
    }
}

#[test]
fn a_length_ends_with_its_last_byte() {
    let mut ends = Ends::Length(5);
    assert!(!ends.after(b"abcd"));
    assert!(ends.after(b"e"));
    assert!(!Ends::Stream.after(b"abc"));
}

#[test]
fn the_first_reason_stands() {
    let mut context = Context::default();
    context.fail(Code::DnsFailed);
    context.fail(Code::Internal);
    assert_eq!(context.failed, Some(Code::DnsFailed));
}

#[test]
fn each_address_is_tried_once() {
    let [first, second] = [1, 2].map(|port| SocketAddr::from(([8, 8, 8, 8], port)));
    let mut context = Context {
        addresses: vec![first, second],
        ..Context::default()
    };
    assert!(context.next_address());
    assert_eq!(context.addresses, [second]);
    assert!(!context.next_address());
    // It stays: a pooled connection to it that was closed is tried again.
    assert_eq!(context.addresses, [second]);
    assert!(!Context::default().next_address());
}
