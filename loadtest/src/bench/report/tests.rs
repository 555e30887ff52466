use super::*;

fn sample(proxy: &str, round: usize, cpu: f64) -> Sample {
    Sample {
        proxy: proxy.to_owned(),
        scenario: Scenario::KeepAlive1,
        round,
        requests: 1000,
        requests_per_second: 1000.0,
        cpu_us_per_request: cpu,
        p50_ms: 1.0,
        p99_ms: 2.0,
    }
}

#[test]
fn ratios_are_taken_within_a_round() {
    // The machine was twice as slow in round 2: the ratio must not see it.
    let samples = [
        sample("nginx", 1, 30.0),
        sample("ours", 1, 45.0),
        sample("nginx", 2, 60.0),
        sample("ours", 2, 90.0),
        sample("nginx", 3, 30.0),
        sample("ours", 3, 45.0),
    ];
    let ours = row(&samples, Scenario::KeepAlive1, "ours");
    assert!((ours.cpu_ratio - 1.5).abs() < 1e-9);
    assert!((ours.cpu_us_per_request - 45.0).abs() < 1e-9);
}

#[test]
fn a_table_has_each_proxy_in_each_scenario_that_it_was_driven_in() {
    let rows = rows(&[sample("nginx", 1, 30.0), sample("ours", 1, 45.0)]);
    let shown: Vec<_> = rows.iter().map(|row| row.proxy.as_str()).collect();
    assert_eq!(shown, ["nginx", "ours"]);
}

#[test]
fn figures_are_of_the_last_gateway_beside_each_peer() {
    let samples = [
        sample("nginx", 1, 30.0),
        sample("sortie (release)", 1, 90.0),
        sample("sortie (pgo)", 1, 45.0),
        sample("squid", 1, 90.0),
    ];
    let figures = figures(&rows(&samples), &[]);
    let shown: Vec<_> = figures
        .iter()
        .map(|figure| (figure.value, figure.holds()))
        .collect();
    assert_eq!(shown, [(1.5, true), (0.5, true)]);
}
