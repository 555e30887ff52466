use super::*;

fn answered(millis: u64) -> Answered {
    Answered {
        latency: Duration::from_millis(millis),
        lag: Duration::from_micros(50),
        bytes: 10,
        calm: millis < 50,
    }
}

#[test]
fn percentiles_are_those_of_all_that_was_recorded() {
    let recorder = Recorder::new().unwrap();
    for millis in 1..=100 {
        recorder.answered(answered(millis));
    }
    let measured = recorder.so_far();
    assert_eq!(measured.answered(), 100);
    for (percentile, wanted) in [(50.0, 50.0), (99.0, 99.0), (100.0, 100.0)] {
        let found = measured.millis(percentile);
        assert!((found - wanted).abs() <= wanted / 500.0, "{found}");
    }
}

#[test]
fn calm_answers_are_counted_apart() {
    let recorder = Recorder::new().unwrap();
    assert!(recorder.so_far().calm_millis(50.0).is_nan());
    for millis in [10, 20, 90] {
        recorder.answered(answered(millis));
    }
    let measured = recorder.so_far();
    assert_eq!((measured.answered(), measured.calm()), (3, 2));
    assert!((measured.calm_millis(100.0) - 20.0).abs() < 0.1);
}

#[test]
fn rounds_add_up() {
    let recorder = Recorder::new().unwrap();
    recorder.answered(answered(5));
    recorder.failed("status 503", 2);
    let mut all = Measured::new().unwrap();
    for _ in 0..3 {
        let mut round = recorder.so_far();
        round.lasted(Duration::from_secs(2));
        all.add(&round).unwrap();
    }
    assert_eq!((all.answered(), all.failed()), (3, 6));
    assert!((all.per_second() - 0.5).abs() < 1e-9);
}

#[test]
fn a_latency_beyond_all_bounds_is_kept_as_the_longest() {
    let recorder = Recorder::new().unwrap();
    recorder.answered(answered(10_000_000));
    let longest = recorder.so_far().millis(100.0);
    assert!(longest >= 599_000.0, "{longest}");
}

#[test]
fn kinds_of_errors_are_bounded() {
    let recorder = Recorder::new().unwrap();
    for kind in 0..1000 {
        recorder.failed(&format!("kind {kind}"), 1);
    }
    let measured = recorder.so_far();
    assert_eq!(measured.failed(), 1000);
    assert_eq!(measured.errors().len(), KINDS_MAX + 1);
}
