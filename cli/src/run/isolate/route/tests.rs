use super::*;

#[test]
fn a_message_is_as_long_as_it_says_and_in_the_kernels_order() {
    let message = message(2, 254);
    assert_eq!(message.len(), usize::try_from(LENGTH).unwrap());
    assert_eq!(message[..4], LENGTH.to_ne_bytes());
    assert_eq!(message[16..28], [2, 0, 0, 0, 255, 3, 254, 2, 0, 0, 0, 0]);
    assert_eq!(message[32..], LOOPBACK.to_ne_bytes());
}

#[test]
fn who_has_no_power_over_the_network_is_told_so() {
    // Root would change the network of this machine.
    if !nix::unistd::geteuid().is_root() {
        let refused = own_every_address().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
