use super::*;

#[test]
fn a_rate_says_how_long_its_bucket_takes_to_gain_so_many() {
    let rate = Rate::new(600, Period::Minute, 600).unwrap();
    assert_eq!(rate.time_of(1), Duration::from_millis(100));
    assert_eq!(rate.time_of(600), Duration::from_secs(60));
    let bytes = Rate::new(1 << 30, Period::Second, 1 << 30).unwrap();
    // Less than a nanosecond each: rounded up, never to nothing.
    assert_eq!(bytes.time_of(1), Duration::from_nanos(1));
}

#[test]
fn a_rate_of_nothing_or_without_measure_is_refused() {
    for (count, burst) in [(0, 1), (1, 0), (COUNT_MAX + 1, 1), (1, COUNT_MAX + 1)] {
        let made = Rate::new(count, Period::Second, burst);
        assert_eq!(made, Err(InvalidRate::OutOfRange), "{count} {burst}");
    }
    let made = Rate::new(1, Period::Day, 8);
    assert_eq!(made, Err(InvalidRate::BurstTooLarge));
    assert!(Rate::new(1, Period::Day, 7).is_ok());
}

#[test]
fn periods_are_read_by_the_name_that_they_are_shown_with() {
    for period in Period::ALL {
        assert_eq!(Period::from_name(period.name()), Some(period));
    }
    assert_eq!(Period::from_name("fortnight"), None);
}
