use std::cell::Cell;

use super::*;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1_000) };
}

fn clock() -> u64 {
    NOW.get()
}

thread_local! {
    static RUNNING: Cell<u64> = const { Cell::new(1_000) };
}

#[test]
fn what_was_confirmed_before_the_process_stood_still_does_not_count() {
    let lease = Lease::with_clocks(clock, || RUNNING.get());
    let day = Duration::from_secs(86_400);
    assert!(!lease.tick());
    lease.echo(lease.beat());
    let under_way = lease.beat();
    RUNNING.set(11_000);
    assert!(lease.holds(day) && !lease.tick(), "ten seconds are borne");
    RUNNING.set(21_001);
    NOW.set(11_001);
    assert!(!lease.holds(day), "before the tick knows it");
    assert!(lease.tick());
    assert!(!lease.holds(day), "and behind it");
    lease.echo(under_way);
    assert!(
        !lease.holds(day),
        "what was sent before the gap confirms nothing"
    );
    lease.echo(lease.beat());
    assert!(lease.holds(day));
}

const THIRTY: Duration = Duration::from_secs(30);

#[test]
fn nothing_holds_before_the_first_echo() {
    let lease = Lease::new(clock);
    lease.beat();
    assert!(!lease.holds(Duration::from_secs(86_400)));
}

#[test]
fn a_lease_runs_from_the_sending_not_from_the_echo() {
    let lease = Lease::new(clock);
    let nonce = lease.beat();
    NOW.set(30_999);
    lease.echo(nonce);
    assert!(lease.holds(THIRTY));
    NOW.set(31_000);
    assert!(!lease.holds(THIRTY));
}

#[test]
fn an_old_an_unknown_or_a_repeated_echo_confirms_nothing_more() {
    let lease = Lease::new(clock);
    let first = lease.beat();
    NOW.set(20_000);
    let second = lease.beat();
    lease.echo(second + 1);
    assert!(!lease.holds(THIRTY));
    lease.echo(second);
    lease.echo(first);
    lease.echo(second);
    NOW.set(49_999);
    assert!(lease.holds(THIRTY));
    NOW.set(50_000);
    assert!(!lease.holds(THIRTY));
}

#[test]
fn echoes_of_an_ended_connection_confirm_nothing() {
    let lease = Lease::new(clock);
    let nonce = lease.beat();
    lease.disconnected();
    lease.echo(nonce);
    assert!(!lease.holds(THIRTY));
    assert!(lease.beat() > nonce);
}

#[test]
fn a_clock_that_cannot_be_read_holds_nothing() {
    let lease = Lease::new(clock);
    lease.echo(lease.beat());
    NOW.set(0);
    assert!(!lease.holds(THIRTY));
}

#[test]
fn beats_without_echo_are_bounded() {
    let lease = Lease::new(clock);
    let first = lease.beat();
    for _ in 0..BEATS_MAX {
        lease.beat();
    }
    lease.echo(first);
    assert!(!lease.holds(THIRTY));
    assert_eq!(lease.sent.lock().waiting.len(), BEATS_MAX);
}

#[test]
fn the_real_clock_runs() {
    assert!(boot_clock() > 0);
}
