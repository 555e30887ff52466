use super::*;

#[test]
fn what_was_due_long_enough_after_a_stall_is_calm() {
    let stalls = Stalls::default();
    let now = Instant::now();
    assert!(stalls.calm_since(now), "none stood still yet");

    stalls.add(Duration::from_millis(3));
    assert!(!stalls.calm_since(now), "due before it moved again");
    assert!(!stalls.calm_since(Instant::now() + AFTER / 2));
    assert!(stalls.calm_since(Instant::now() + AFTER * 2));

    let said = stalls.to_string();
    assert!(said.contains("1 times, for 3 ms"), "{said}");
}
