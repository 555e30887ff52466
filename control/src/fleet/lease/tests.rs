use super::*;

fn beat(number: u64, n: u64) -> Beat {
    Beat {
        number,
        revision: Revision { epoch: 1, n },
    }
}

#[test]
fn a_beat_that_had_begun_does_not_cover_a_nonce() {
    let mut nonces = Nonces::default();
    nonces.arrived(7, 3);
    nonces.beaten(beat(3, 0));
    assert_eq!(nonces.echo(beat(0, 0).revision), None);
    nonces.beaten(beat(4, 0));
    assert_eq!(nonces.echo(beat(0, 0).revision), Some(7));
    assert_eq!(nonces.echo(beat(0, 0).revision), None);
}

#[test]
fn an_echo_waits_for_everything_that_the_beat_saw() {
    let mut nonces = Nonces::default();
    nonces.arrived(1, 0);
    nonces.beaten(beat(1, 10));
    assert_eq!(nonces.echo(beat(0, 9).revision), None);
    nonces.arrived(2, 1);
    nonces.beaten(beat(2, 20));
    assert_eq!(nonces.echo(beat(0, 10).revision), Some(1));
    nonces.beaten(beat(3, 20));
    assert_eq!(nonces.echo(beat(0, 20).revision), Some(2));
}

#[test]
fn waiting_nonces_are_bounded() {
    let mut nonces = Nonces::default();
    for begun in 0..1_000 {
        nonces.arrived(begun, begun);
    }
    assert_eq!(nonces.waiting.len(), WAITING_MAX);
}
