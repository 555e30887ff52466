use super::*;

fn within(arrivals: Arrivals, rate: f64, seconds: u64) -> Vec<Duration> {
    let end = Duration::from_secs(seconds);
    Schedule::new(arrivals, rate, 7)
        .take_while(|due| *due < end)
        .collect()
}

#[test]
fn every_kind_keeps_its_rate_and_its_order() {
    for arrivals in [Arrivals::Poisson, Arrivals::Even, Arrivals::Burst] {
        let due = within(arrivals, 500.0, 20);
        assert!(due.is_sorted(), "{arrivals:?}");
        assert!(
            (9_600..=10_400).contains(&due.len()),
            "{arrivals:?}: {}",
            due.len()
        );
    }
}

#[test]
fn even_arrivals_have_equal_gaps() {
    let due = within(Arrivals::Even, 100.0, 1);
    let gaps = due.windows(2).map(|pair| pair[1] - pair[0]);
    for gap in gaps {
        assert_eq!(gap.as_micros().div_ceil(100), 100);
    }
}

#[test]
fn a_burst_comes_at_the_beginning_of_each_second() {
    let due = within(Arrivals::Burst, 50.0, 2);
    let first = due.iter().filter(|due| **due == Duration::ZERO).count();
    let second = due.iter().filter(|due| **due == Duration::from_secs(1));
    assert_eq!((first, second.count()), (50, 50));
}

#[test]
fn a_seed_gives_one_schedule() {
    let again = within(Arrivals::Poisson, 100.0, 2);
    assert_eq!(within(Arrivals::Poisson, 100.0, 2), again);
}
