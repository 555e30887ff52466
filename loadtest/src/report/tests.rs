use super::plot::Curve;
use super::*;

fn outcome() -> Outcome {
    let mut outcome = Outcome::new("sample", "A sample.");
    outcome.figures = vec![
        Figure::new("median", 0.25, "ms").at_most(0.3),
        Figure::new("secrets seen", 0.0, "").at_most(0.0),
        Figure::new("load", 5.0, ""),
    ];
    outcome.plots = vec![Plot {
        name: "line".to_owned(),
        title: "a < b".to_owned(),
        x: "tunnels".to_owned(),
        y: "MiB".to_owned(),
        ticks: Vec::new(),
        curves: vec![Curve {
            title: "memory".to_owned(),
            points: vec![(0.0, 1.0), (1000.0, 15.5)],
            dashed: false,
        }],
    }];
    outcome
}

#[test]
fn a_bar_holds_up_to_its_value_and_not_beyond() {
    let figure = Figure::new("p99", 2.0, "ms");
    assert!(figure.clone().at_most(2.0).holds());
    assert!(!figure.clone().at_most(1.99).holds());
    assert!(!figure.clone().at_least(2.01).holds());
    assert!(figure.holds());
    // What was not measured does not hold.
    assert!(!Figure::new("p99", f64::NAN, "ms").at_most(1.0).holds());
    assert!(!Figure::new("p99", f64::NAN, "ms").at_least(1.0).holds());
}

#[test]
fn results_are_written_and_summed_up_on_one_page() {
    let folder = tempfile::tempdir().unwrap();
    outcome().write(folder.path()).unwrap();
    std::fs::write(folder.path().join("k6.json"), "{\"metrics\": {}}").unwrap();
    let svg = std::fs::read_to_string(folder.path().join("sample-line.svg")).unwrap();
    assert!(svg.contains("a &lt; b") && svg.contains("<polyline"));
    let page = summary::page(folder.path()).unwrap();
    assert!(
        page.contains("| median | 0.25 ms | ≤ 0.30 | yes | [sample](sample.md) |"),
        "{page}"
    );
    assert!(!page.contains("load |"), "only what has a bar: {page}");
}

#[test]
fn what_was_not_measured_stands_on_the_page_and_does_not_hold() {
    let folder = tempfile::tempdir().unwrap();
    let mut without = outcome();
    without
        .figures
        .push(Figure::new("beside a peer", f64::NAN, "×").at_most(1.0));
    without.write(folder.path()).unwrap();
    let page = summary::page(folder.path()).unwrap();
    assert!(
        page.contains("| beside a peer | NaN × | ≤ 1.00 | **no** |"),
        "{page}"
    );
    // Nor is an outcome left out that cannot be read.
    std::fs::write(folder.path().join("other.json"), "{\"figures\": 1}").unwrap();
    assert!(summary::page(folder.path()).is_err());
}

#[test]
fn a_missed_bar_fails_the_run_and_is_named() {
    let mut missed = outcome();
    missed
        .figures
        .push(Figure::new("p99", 9.0, "ms").at_most(2.0));
    let place = Place {
        results: None,
        json: true,
    };
    let error = missed.publish(&place).unwrap_err();
    assert_eq!(error.to_string(), "sample: not held: p99");
    assert!(outcome().publish(&place).is_ok());
}

#[test]
fn numbers_are_short() {
    let shown = [-0.0, 0.0123, 0.25, 3.456, 42.42, 1234.5].map(short);
    assert_eq!(shown, ["0", "0.012", "0.25", "3.46", "42.4", "1234"]);
}
