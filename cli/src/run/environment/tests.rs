use sortie_proto::host::HostPattern;
use sortie_proto::service::Scheme;

use super::super::vault::{Credential, Service};
use super::*;

const SECRET: &str = "ghp_a1B2c3D4e5a1B2c3D4e5a1B2c3D4e5a1B2c3";

fn vaults(credentials: &[(&str, &str)], hosts: &[&str]) -> Vaults {
    let credential = |(name, placeholder): &(&str, &str)| Credential {
        name: (*name).to_owned(),
        placeholder: (*placeholder).to_owned(),
    };
    let service = |host: &&str| Service {
        name: "x".to_owned(),
        host: HostPattern::parse(host).unwrap(),
        port: None,
        scheme: Scheme::Https,
        enabled: true,
    };
    Vaults {
        credentials: credentials.iter().map(credential).collect(),
        services: hosts.iter().map(service).collect(),
        hidden: false,
    }
}

fn composed(ours: &[(&str, &str)], vaults: &Vaults, keep: &[&str]) -> Composed {
    let inputs = Inputs {
        way: Way {
            proxy: &Proxy::parse("http://127.0.0.1:7380").unwrap(),
            password: Some(&Secret::new(b"sortie_ses_x".to_vec())),
        },
        files: &Files {
            authority: "/f/ca.pem".to_owned(),
            bundle: "/f/bundle.pem".to_owned(),
            trust_store: Some("/f/trust.p12".to_owned()),
        },
        vaults,
        tools: &Tools {
            variables: vec![("GH_CONFIG_DIR".to_owned(), "/f/gh".to_owned())],
            aliases: vec![("GH_TOKEN".to_owned(), "__GITHUB_TOKEN__".to_owned())],
            ..Tools::default()
        },
        keep: &keep
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>(),
    };
    let ours = ours.iter().map(|(name, value)| (name.into(), value.into()));
    Composed::new(ours, &inputs)
}

/// Every value that the command finds under a name.
fn of(composed: &Composed, name: &str) -> Vec<String> {
    let all = composed.all().filter(|(other, _)| other == name);
    all.map(|(_, value)| value.into_string().unwrap()).collect()
}

#[test]
fn keys_of_ours_and_other_proxies_do_not_reach_the_command() {
    let made = composed(
        &[
            ("SORTIE_API_KEY", "k"),
            ("sortie_x", "k"),
            ("PATH", "/bin"),
            ("Https_Proxy", "http://other"),
            ("NPM_CONFIG_HTTPS_PROXY", "http://other"),
            ("NPM_CONFIG_CAFILE", "/other"),
            ("SSL_CERT_FILE", "/etc/x.pem"),
            ("NODE_USE_ENV_PROXY", "0"),
        ],
        &Vaults::default(),
        &[],
    );
    assert!(made.all().all(|(name, value)| {
        let name = name.to_string_lossy().to_uppercase();
        !name.starts_with("SORTIE_") && value != "http://other"
    }));
    assert!(of(&made, "NPM_CONFIG_CAFILE").is_empty());
    assert_eq!(of(&made, "PATH"), ["/bin"]);
    assert_eq!(of(&made, "SSL_CERT_FILE"), ["/f/bundle.pem"]);
    assert_eq!(of(&made, "NODE_USE_ENV_PROXY"), ["1"]);
    assert_eq!(
        of(&made, "https_proxy"),
        ["http://x:sortie_ses_x@127.0.0.1:7380"]
    );
    assert_eq!(of(&made, "GH_CONFIG_DIR"), ["/f/gh"]);
    assert!(made.notes().is_empty());
}

#[test]
fn nothing_is_set_twice() {
    let vaults = vaults(
        &[
            ("HTTPS_PROXY", "__P__"),
            ("GH_CONFIG_DIR", "__G__"),
            ("K", "__K__"),
        ],
        &["github.com"],
    );
    let ours = [
        ("K", "v"),
        ("GIT_CONFIG_COUNT", "0"),
        ("GH_CONFIG_DIR", "/home"),
        ("JAVA_TOOL_OPTIONS", "-Da=b"),
    ];
    let made = composed(&ours, &vaults, &[]);
    let mut names: Vec<_> = made.all().map(|(name, _)| name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn a_placeholder_replaces_a_variable_but_steers_nothing() {
    let names = [
        ("GITHUB_TOKEN", "__GITHUB_TOKEN__"),
        ("PATH", "__PATH__"),
        ("LD_PRELOAD", "__LD_PRELOAD__"),
        ("HTTPS_PROXY", "__HTTPS_PROXY__"),
        ("TERM", "__TERM__"),
        ("KEPT", "__KEPT__"),
    ];
    let ours = [
        ("GITHUB_TOKEN", SECRET),
        ("PATH", "/bin"),
        ("TERM", "xterm"),
        ("KEPT", "real"),
    ];
    let made = composed(&ours, &vaults(&names, &[]), &["KEPT"]);
    assert_eq!(of(&made, "GITHUB_TOKEN"), ["__GITHUB_TOKEN__"]);
    assert_eq!(of(&made, "PATH"), ["/bin"]);
    assert_eq!(of(&made, "TERM"), ["xterm"]);
    assert_eq!(of(&made, "KEPT"), ["real"]);
    assert!(of(&made, "LD_PRELOAD").is_empty());
    assert_eq!(of(&made, "HTTPS_PROXY").len(), 1);
    assert!(made.removed.is_empty(), "{:?}", made.removed);
}

#[test]
fn secrets_that_nobody_brokers_are_left_out_and_named_without_their_value() {
    let ours = [
        ("OTHER", SECRET),
        ("WANTED", SECRET),
        ("SSH_AUTH_SOCK", "/s"),
        ("LANG", "C"),
    ];
    let made = composed(&ours, &Vaults::default(), &["WANTED"]);
    assert!(of(&made, "OTHER").is_empty() && of(&made, "SSH_AUTH_SOCK").is_empty());
    assert_eq!(of(&made, "WANTED"), [SECRET]);
    assert_eq!(of(&made, "LANG"), ["C"]);
    let notes = made.notes();
    assert_eq!(
        notes,
        ["OTHER looks like a GitHub token and is left out; --keep OTHER hands it on"]
    );
    assert!(!format!("{:?}", made.removed).contains("ghp_"));
}

#[test]
fn brokered_hosts_do_not_go_past_the_gateway() {
    let ours = [("NO_PROXY", "github.com,corp.example"), ("no_proxy", "*")];
    let made = composed(&ours, &vaults(&[], &["api.github.com"]), &[]);
    let expect = "corp.example,localhost,127.0.0.1,::1";
    assert_eq!(of(&made, "NO_PROXY"), [expect]);
    assert_eq!(of(&made, "no_proxy"), [expect]);
    assert_eq!(
        made.notes(),
        ["NO_PROXY without github.com, *: brokered hosts are reached through the gateway"]
    );
}

#[test]
fn options_of_java_and_rules_of_git_stand_behind_the_users_own() {
    let ours = [
        ("JAVA_TOOL_OPTIONS", "-Xmx1g"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "a.b"),
    ];
    let made = composed(&ours, &vaults(&[], &["github.com"]), &[]);
    let java = of(&made, "JAVA_TOOL_OPTIONS").remove(0);
    assert!(
        java.starts_with("-Xmx1g -Dhttp.proxyHost=127.0.0.1 "),
        "{java}"
    );
    assert!(!java.contains("sortie_ses_"), "{java}");
    assert_eq!(of(&made, "GIT_CONFIG_COUNT"), ["3"]);
    assert_eq!(of(&made, "GIT_CONFIG_KEY_0"), ["a.b"]);
    assert_eq!(of(&made, "GIT_CONFIG_VALUE_2"), ["ssh://git@github.com/"]);
}

#[test]
fn a_secret_under_another_name_is_replaced_and_none_is_invented() {
    let made = composed(&[("GH_TOKEN", SECRET)], &Vaults::default(), &[]);
    assert_eq!(of(&made, "GH_TOKEN"), ["__GITHUB_TOKEN__"]);
    assert!(made.removed.is_empty());
    assert!(of(&composed(&[], &Vaults::default(), &[]), "GH_TOKEN").is_empty());
}
