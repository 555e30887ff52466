use super::*;

fn folder() -> Folder {
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec!["x.example".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    Folder::make(&made.pem()).unwrap()
}

fn composed(ours: &[(&str, &str)], placeholders: &[(&str, &str)]) -> Vec<(String, String)> {
    let folder = folder();
    let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    let surroundings = Surroundings {
        proxy: proxy_url(
            "http://127.0.0.1:7380",
            &Secret::new(b"sortie_ses_x".to_vec()),
        )
        .unwrap(),
        folder: &folder,
        placeholders: placeholders.iter().map(own).collect(),
    };
    compose(
        ours.iter().map(|(a, b)| (a.into(), b.into())),
        &surroundings,
    )
    .into_iter()
    .map(|(a, b)| (a.into_string().unwrap(), b.into_string().unwrap()))
    .collect()
}

fn of<'a>(all: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let same = all.iter().filter(|(other, _)| other == name);
    same.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn the_token_is_the_user_name_of_the_proxy() {
    let token = Secret::new(b"sortie_ses_x".to_vec());
    let check = |url, expect: &str| {
        assert_eq!(proxy_url(url, &token).unwrap().expose(), expect.as_bytes());
    };
    check(
        "http://127.0.0.1:7380",
        "http://x:sortie_ses_x@127.0.0.1:7380",
    );
    check(
        "https://gate.example",
        "https://x:sortie_ses_x@gate.example:443",
    );
    check("http://[::1]:1", "http://x:sortie_ses_x@[::1]:1");
    for url in ["127.0.0.1:7380", "socks5://h:1", "http://h/x", ""] {
        assert!(proxy_url(url, &token).is_err(), "{url}");
    }
}

#[test]
fn keys_of_ours_do_not_reach_the_command() {
    let all = composed(
        &[
            ("SORTIE_API_KEY", "k"),
            ("sortie_x", "k"),
            ("PATH", "/bin"),
            ("https_proxy", "http://other"),
        ],
        &[],
    );
    assert!(
        all.iter()
            .all(|(name, _)| !name.to_uppercase().starts_with("SORTIE_"))
    );
    assert_eq!(of(&all, "PATH"), ["/bin"]);
    assert_eq!(
        of(&all, "https_proxy"),
        ["http://x:sortie_ses_x@127.0.0.1:7380"]
    );
}

#[test]
fn every_case_and_every_bundle_is_set_once() {
    let all = composed(
        &[("SSL_CERT_FILE", "/etc/x.pem"), ("NODE_USE_ENV_PROXY", "0")],
        &[],
    );
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        assert_eq!(of(&all, name).len(), 1, "{name}");
    }
    for name in BUNDLE {
        let values = of(&all, name);
        assert!(
            values.len() == 1 && values[0].ends_with("bundle.pem"),
            "{name}: {values:?}"
        );
    }
    assert_eq!(of(&all, "NODE_USE_ENV_PROXY"), ["1"]);
}

#[test]
fn hosts_that_were_left_out_stay_so() {
    let all = composed(
        &[
            ("NO_PROXY", "a.example, *"),
            ("no_proxy", "b.example,localhost"),
        ],
        &[],
    );
    let expect = "a.example,b.example,localhost,127.0.0.1,::1";
    assert_eq!(of(&all, "NO_PROXY"), [expect]);
    assert_eq!(of(&all, "no_proxy"), [expect]);
}

#[test]
fn a_placeholder_replaces_a_variable_but_steers_nothing() {
    let all = composed(
        &[
            ("GITHUB_TOKEN", "real"),
            ("PATH", "/bin"),
            ("TERM", "xterm"),
        ],
        &[
            ("GITHUB_TOKEN", "__GITHUB_TOKEN__"),
            ("PATH", "__PATH__"),
            ("LD_PRELOAD", "__LD_PRELOAD__"),
            ("HTTPS_PROXY", "__HTTPS_PROXY__"),
            ("TERM", "__TERM__"),
        ],
    );
    assert_eq!(of(&all, "GITHUB_TOKEN"), ["__GITHUB_TOKEN__"]);
    assert_eq!(of(&all, "PATH"), ["/bin"]);
    assert_eq!(of(&all, "TERM"), ["xterm"]);
    assert!(of(&all, "LD_PRELOAD").is_empty());
    assert_eq!(of(&all, "HTTPS_PROXY").len(), 1);
}
