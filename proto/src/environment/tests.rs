use super::*;
use crate::host::HostPattern;

fn patterns(hosts: &[&str]) -> Vec<HostPattern> {
    let parsed = hosts.iter().map(|host| HostPattern::parse(host));
    parsed.collect::<Result<_, _>>().unwrap()
}

fn no_proxy(theirs: &[&str], brokered: &[&str]) -> NoProxy {
    NoProxy::merge(theirs.iter().copied(), &patterns(brokered))
}

fn files(folder: &str) -> Files {
    Files {
        authority: format!("{folder}/ca.pem"),
        bundle: format!("{folder}/bundle.pem"),
        trust_store: Some(format!("{folder}/trust.p12")),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Plain(text) => text.clone(),
        Value::Secret(secret) => String::from_utf8(secret.expose().to_vec()).unwrap(),
    }
}

fn all(password: Option<&str>) -> Vec<(&'static str, String)> {
    let password = password.map(|text| Secret::new(text.into()));
    let around = Surroundings {
        proxy: &Proxy::parse("http://127.0.0.1:7380").unwrap(),
        password: password.as_ref(),
        files: &files("/run/sortie"),
        no_proxy: &no_proxy(&[], &[]),
    };
    variables(&around)
        .iter()
        .map(|variable| (variable.name, shown(&variable.value)))
        .collect()
}

#[test]
fn a_proxy_is_read_and_its_url_carries_the_password() {
    let token = Secret::new(b"sortie_ses_x".to_vec());
    for (text, plain, with) in [
        (
            "http://127.0.0.1:7380",
            "http://127.0.0.1:7380",
            "http://x:sortie_ses_x@127.0.0.1:7380",
        ),
        (
            "https://Gate.example/",
            "https://gate.example:443",
            "https://x:sortie_ses_x@gate.example:443",
        ),
        (
            "HTTP://[::1]:1",
            "http://[::1]:1",
            "http://x:sortie_ses_x@[::1]:1",
        ),
        (
            "http://[::1]",
            "http://[::1]:80",
            "http://x:sortie_ses_x@[::1]:80",
        ),
    ] {
        let proxy = Proxy::parse(text).unwrap();
        assert_eq!(proxy.to_string(), plain);
        assert_eq!(proxy.url(None).expose(), plain.as_bytes());
        assert_eq!(proxy.url(Some(&token)).expose(), with.as_bytes());
    }
    let odd = Secret::new(b"a@b:/%".to_vec());
    let proxy = Proxy::parse("http://h:1").unwrap();
    assert_eq!(
        proxy.url(Some(&odd)).expose(),
        b"http://x:a%40b%3A%2F%25@h:1"
    );
}

#[test]
fn what_is_no_proxy_is_refused() {
    for text in [
        "",
        "127.0.0.1:7380",
        "socks5://h:1",
        "http://h/x",
        "http://h:x",
        "http://h:99999",
        "http://user:pass@h:1",
        "http://::1:80",
        "http://h:1?x",
        "http://",
    ] {
        assert!(Proxy::parse(text).is_err(), "{text}");
    }
}

#[test]
fn every_variable_is_set_once_and_is_known() {
    let all = all(Some("token"));
    for (at, (name, _)) in all.iter().enumerate() {
        assert!(
            all.iter().skip(at + 1).all(|(other, _)| other != name),
            "{name} twice"
        );
        assert!(sets(name), "{name}");
    }
    let of = |name: &str| {
        all.iter()
            .find(|(other, _)| *other == name)
            .unwrap()
            .1
            .as_str()
    };
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        assert_eq!(of(name), "http://x:token@127.0.0.1:7380", "{name}");
    }
    for name in BUNDLE {
        assert_eq!(of(name), "/run/sortie/bundle.pem", "{name}");
    }
    assert_eq!(of("NODE_EXTRA_CA_CERTS"), "/run/sortie/ca.pem");
    assert_eq!(of("NODE_USE_ENV_PROXY"), "1");
    assert_eq!(of("NO_PROXY"), "localhost,127.0.0.1,::1");
    assert_eq!(of("no_proxy"), of("NO_PROXY"));
    assert!(sets("Https_Proxy") && sets("java_tool_options") && !sets("PATH"));
}

#[test]
fn only_urls_of_the_proxy_are_secret() {
    let token = Secret::new(b"token".to_vec());
    let around = Surroundings {
        proxy: &Proxy::parse("http://h:1").unwrap(),
        password: Some(&token),
        files: &files("/f"),
        no_proxy: &no_proxy(&[], &[]),
    };
    for variable in variables(&around) {
        let is_secret = matches!(variable.value, Value::Secret(_));
        assert_eq!(
            is_secret,
            PROXY.contains(&variable.name),
            "{}",
            variable.name
        );
        assert_eq!(
            shown(&variable.value).contains("token"),
            is_secret,
            "{}",
            variable.name
        );
    }
    let plain = all(None);
    assert_eq!(plain.first().unwrap().1, "http://127.0.0.1:7380");
}

#[test]
fn java_is_told_in_its_own_words() {
    let around = Surroundings {
        proxy: &Proxy::parse("http://gate.example:7380").unwrap(),
        password: None,
        files: &files("/home/a b/it's"),
        no_proxy: &no_proxy(
            &["corp.example,.in.example,10.0.0.0/8,10.1.2.3:80,[fe80::1]:1"],
            &[],
        ),
    };
    let text = java::options(&around);
    for part in [
        "-Dhttp.proxyHost=gate.example -Dhttp.proxyPort=7380",
        "-Dhttps.proxyHost=gate.example -Dhttps.proxyPort=7380",
        "-Dhttp.nonProxyHosts=*.corp.example|corp.example|*.in.example|in.example|10.1.2.3|[fe80::1]|localhost|127.*|[::1] ",
        r#"-Djavax.net.ssl.trustStore="/home/a b/it""'""s/trust.p12" "#,
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        "-Djavax.net.ssl.trustStorePassword=changeit",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(text.ends_with("-Djdk.http.auth.tunneling.disabledSchemes="));
}

#[test]
fn hosts_that_were_left_out_stay_so_and_brokered_ones_do_not() {
    let merged = no_proxy(&["a.example, *", "b.example,localhost,,a.example"], &[]);
    assert_eq!(
        merged.to_string(),
        "a.example,b.example,localhost,127.0.0.1,::1"
    );
    assert_eq!(merged.dropped(), ["*"]);

    for (entry, brokered, dropped) in [
        ("api.example.com", "api.example.com", true),
        ("API.example.com.", "api.example.com", true),
        ("api.example.com:8443", "api.example.com", true),
        ("example.com", "api.example.com", true),
        (".example.com", "api.example.com", true),
        ("*.example.com", "api.example.com", true),
        (".com", "api.example.com", true),
        ("ample.com", "api.example.com", false),
        ("other.example.com", "api.example.com", false),
        ("x.example.com", "*.example.com", true),
        ("example.com", "*.example.com", true),
        ("example.org", "*.example.com", false),
        ("10.0.0.0/8", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3:80", "10.1.2.3", true),
        ("192.168.0.0/16", "10.1.2.3", false),
        ("10.0.0.0/8", "api.example.com", false),
    ] {
        let merged = no_proxy(&[entry], &[brokered]);
        assert_eq!(
            merged.dropped() == [entry],
            dropped,
            "{entry} for {brokered}"
        );
        assert_eq!(
            merged.to_string().contains(entry),
            !dropped,
            "{entry} for {brokered}"
        );
    }
}

#[test]
fn no_placeholder_steers_programs() {
    for name in ["PATH", "LD_PRELOAD", "GIT_SSH_COMMAND"] {
        assert!(steers(name), "{name}");
    }
    assert!(is_shell("LC_ALL") && is_shell("PWD"));
    assert!(is_ours("sortie_api_key"));
    for name in ["GITHUB_TOKEN", "LDAP_PASSWORD", "PATH_KEY", "STRIPE_KEY"] {
        assert!(!steers(name) && !is_shell(name) && !is_ours(name), "{name}");
    }
}
