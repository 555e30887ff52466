use super::*;

fn service(host: &str, port: Option<u16>) -> Service {
    Service {
        name: "x".to_owned(),
        host: HostPattern::parse(host).unwrap(),
        port,
        scheme: Scheme::Https,
        enabled: true,
    }
}

fn count(text: &str) -> impl Fn(&str) -> Option<String> {
    move |name| (name == COUNT).then(|| text.to_owned())
}

#[test]
fn rules_that_stand_already_are_not_set_again() {
    let services = [service("github.com", None)];
    let set = variables(&services, |_| None);
    let find = |name: &str| set.iter().find(|(other, _)| other == name);
    let again = variables(&services, |name| find(name).map(|(_, value)| value.clone()));
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn each_server_gets_two_rules_behind_the_users_own() {
    let services = [
        service("*.example.com", None),
        service("git.example", Some(8443)),
        service("github.com", Some(443)),
        service("github.com", None),
    ];
    let own = |text: &str| text.to_owned();
    let expect = [
        (
            own("GIT_CONFIG_KEY_2"),
            own("url.https://github.com/.insteadOf"),
        ),
        (own("GIT_CONFIG_VALUE_2"), own("git@github.com:")),
        (
            own("GIT_CONFIG_KEY_3"),
            own("url.https://github.com/.insteadOf"),
        ),
        (own("GIT_CONFIG_VALUE_3"), own("ssh://git@github.com/")),
        (
            own("GIT_CONFIG_KEY_4"),
            own("url.https://git.example:8443/.insteadOf"),
        ),
        (own("GIT_CONFIG_VALUE_4"), own("git@git.example:")),
        (
            own("GIT_CONFIG_KEY_5"),
            own("url.https://git.example:8443/.insteadOf"),
        ),
        (own("GIT_CONFIG_VALUE_5"), own("ssh://git@git.example/")),
        (own("GIT_CONFIG_COUNT"), own("6")),
    ];
    assert_eq!(variables(&services, count("2")), expect);
    assert_eq!(
        variables(&services, count("no number")).last().unwrap().1,
        "4"
    );
}

#[test]
fn without_a_server_nothing_is_set() {
    assert!(variables(&[service("*.example.com", None)], count("2")).is_empty());
    let mut off = service("github.com", None);
    off.enabled = false;
    assert!(variables(&[off], |_| None).is_empty());
    let many: Vec<_> = (0..100)
        .map(|at| service(&format!("h{at}.example"), None))
        .collect();
    assert_eq!(variables(&many, |_| None).len(), 1 + 4 * SERVERS_MAX);
}
