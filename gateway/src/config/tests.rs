use super::*;

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::read(text, environment, Vec::new()).map_err(|invalid| invalid.0)
}

#[test]
fn without_anything_there_are_defaults() {
    let config = read("", &[]).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:7380".parse().unwrap()]);
    assert_eq!(config.admin, "127.0.0.1:7381".parse().unwrap());
    assert_eq!(
        config.journal.path,
        Path::new("./sortie-data/gateway/journal")
    );
    assert!(config.join.is_none() && config.workers >= 1);
}

#[test]
fn the_environment_goes_over_the_file() {
    let config = read(
        "name = 'a'\n[proxy]\nlisten = ['127.0.0.1:1']\n[upstream]\nhosts = { 'API.demo.test' = ['127.0.0.1'] }",
        &[
            ("PROXY__LISTEN", "127.0.0.1:2,[::1]:3"),
            ("PROXY__WORKERS", "3"),
            ("UPSTREAM__DENY", "10.0.0.0/8, 9.9.9.9,fd00::/8"),
            ("JOIN", "sortie_join_x"),
            ("NAME", "7"),
            ("LOG__FORMAT", "json"),
        ],
    )
    .unwrap();
    assert_eq!(
        config.listen,
        ["127.0.0.1:2".parse().unwrap(), "[::1]:3".parse().unwrap()]
    );
    assert_eq!((config.workers, config.name.as_str()), (3, "7"));
    assert!(config.log.json && config.join.is_some());
    let deny = ["10.0.0.0/8", "9.9.9.9/32", "fd00::/8"].map(|range| range.parse().unwrap());
    assert_eq!(config.upstream.peers.deny, deny);
    assert!(
        config
            .upstream
            .peers
            .hosts
            .contains_key(&sortie_proto::host::Host::parse("api.demo.test").unwrap())
    );
}

#[test]
fn the_ports_certificate_is_read_before_a_port_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(vec!["gateway.test".to_owned()]).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("c.pem"), pair.cert.pem()).unwrap();
    std::fs::write(path("k.pem"), pair.signing_key.serialize_pem()).unwrap();
    let both = |certificate: &str, key: &str| {
        let (certificate, key) = (path(certificate), path(key));
        read(
            "",
            &[
                ("PROXY__TLS__CERTIFICATE", &certificate),
                ("PROXY__TLS__KEY", &key),
            ],
        )
    };
    let config = both("c.pem", "k.pem").unwrap();
    assert!(config.tls.is_some() && config.text.contains("c.pem"));
    assert!(!config.text.contains("PRIVATE") && !format!("{config:?}").contains("PRIVATE"));
    let problems = both("none.pem", "neither.pem").unwrap_err();
    assert!(problems[0].contains("none.pem") && problems[1].contains("neither.pem"));
    let problems = read("[proxy.tls]\ncertificate = 'c.pem'\n", &[]).unwrap_err();
    assert_eq!(problems, ["proxy.tls.certificate needs proxy.tls.key"]);
    assert!(read("", &[]).unwrap().tls.is_none());
}

#[test]
fn every_problem_is_named_at_once() {
    let problems = read(
        "nmae = 'x'\n[proxy]\nworkers = 0\n[admin]\nlisten = 'nowhere'\n[limits]\nidle_seconds = 0\nstreams_max = 0\nwrite_timeout_ms = 0\n[journal]\nsegment_bytes = 1\n[upstream]\nhosts = { 'a b' = ['::1'], 'c.test' = ['127.0.0.1:0'] }\n",
        &[("LOG__FORMAT", "xml")],
    )
    .unwrap_err();
    for part in [
        "nmae",
        "workers",
        "[admin]",
        "idle_seconds",
        "streams_max",
        "write_timeout_ms",
        "segment_bytes",
        "a b",
        "c.test",
        "[log]",
    ] {
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{part} is missing from {problems:?}"
        );
    }
}

#[test]
fn a_join_string_is_given_once_and_never_shown() {
    let config = read("join = 'sortie_join_canary'", &[]).unwrap();
    assert!(!config.text.contains("canary"));
    assert!(!format!("{config:?}").contains("canary"));
    assert!(config.text.contains("[limits]"));
    assert!(read("join = 'a'\njoin_file = '/nowhere'", &[]).is_err());
}

#[test]
fn a_denied_range_that_would_cover_nothing_is_a_problem() {
    let text = "[upstream]\ndeny = ['10.0.0.0/33', '::ffff:10.0.0.0/104', 'here', '10.0.0.0/8']";
    let problems = read(text, &[]).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
    for (problem, range) in problems.iter().zip(["10.0.0.0/33", "::ffff:10", "here"]) {
        assert!(problem.contains("upstream.deny") && problem.contains(range));
    }
}

#[test]
fn the_address_of_redis_is_read_and_never_printed() {
    let url = ("REDIS__URL", "rediss://limits:a-password@redis.test:6380/1");
    let config = read("[redis]\nbudget_ms = 9", &[url]).unwrap();
    let redis = config.redis.unwrap();
    assert_eq!(redis.budget, Duration::from_millis(9));
    assert!(redis.url.same_as(url.1.as_bytes()));
    assert!(!config.text.contains("a-password"), "{}", config.text);
    assert!(config.text.contains("url = \"…\""), "{}", config.text);
    assert!(read("", &[]).unwrap().redis.is_none());
}

#[test]
fn an_address_of_redis_that_means_nothing_is_a_problem_and_is_not_printed() {
    for wrong in ["http://redis.test", "a-password", "redis://"] {
        let problems = read("", &[("REDIS__URL", wrong)]).unwrap_err();
        assert_eq!(problems.len(), 1, "{wrong}: {problems:?}");
        assert!(!problems[0].contains("a-password"), "{problems:?}");
    }
    let both = "[redis]\nurl = 'redis://a.test'\nurl_file = 'b'";
    let problems = read(both, &[]).unwrap_err();
    assert_eq!(problems, ["redis.url and redis.url_file are both set"]);
}
