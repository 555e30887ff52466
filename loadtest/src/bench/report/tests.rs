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
fn a_table_has_each_proxy_in_each_scenario() {
    let rows = rows(&[sample("nginx", 1, 30.0), sample("ours", 1, 45.0)]);
    assert_eq!(rows.len(), 2 * Scenario::ALL.len());
}
