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
fn bars_are_of_the_build_that_ships_beside_each_peer_of_a_round() {
    let mut samples = vec![
        sample("nginx", 1, 30.0),
        sample("sortie (release)", 1, 90.0),
        sample("sortie (pgo)", 1, 45.0),
        sample("squid", 1, 90.0),
    ];
    let wanted = Wanted {
        envoy: true,
        squid: true,
    };
    let shown = |samples: &[Sample]| {
        let figures = figures(samples, &wanted).into_iter();
        let of_http1 = figures.filter(|figure| figure.title.contains("HTTP/1.1"));
        of_http1.collect::<Vec<_>>()
    };
    let [nginx, envoy, squid] = shown(&samples).try_into().unwrap();
    assert_eq!((nginx.value, nginx.holds()), (1.5, true));
    assert!(envoy.value.is_nan() && !envoy.holds(), "it was asked for");
    assert_eq!((squid.value, squid.holds()), (0.5, true));
    // Another build only informs.
    samples.push(sample("sortie (given)", 1, 99.0));
    assert!(shown(&samples).iter().all(|figure| !figure.has_bar()));
    assert!(shown(&[]).is_empty());
}
