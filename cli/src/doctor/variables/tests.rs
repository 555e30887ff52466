use super::super::finding::State;
use super::*;

const PROXY: &str = "http://x:sortie_ses_a.b.c@127.0.0.1:7380";

/// A whole and right environment, changed: `=` sets, no `=` removes.
fn changed(changes: &[&str]) -> Environment {
    let mut all: Vec<(String, String)> = uses()
        .into_iter()
        .map(|(name, used)| {
            let value = match used {
                Use::Proxy => PROXY,
                Use::NoProxy => "localhost",
                Use::Bundle => "/run/bundle.pem",
                Use::Authority => "/run/ca.pem",
                Use::Switch => "1",
                Use::Java => "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=7380 -Djavax.net.ssl.trustStore=/t",
            };
            (name.to_owned(), value.to_owned())
        })
        .collect();
    for change in changes {
        let (name, value) = change.split_once('=').unwrap_or((change, ""));
        all.retain(|(other, _)| other != name);
        if change.contains('=') {
            all.push((name.to_owned(), value.to_owned()));
        }
    }
    Environment::new(
        all.into_iter()
            .map(|(name, value)| (name.into(), value.into())),
    )
}

fn found(changes: &[&str]) -> Vec<Finding> {
    let brokered = [HostPattern::parse("api.example.com").unwrap()];
    let known = Known {
        trusts: &|file| file.starts_with("/run/"),
        brokered: &brokered,
    };
    check(&changed(changes), &known)
}

/// The one row that is not as it should be.
fn only(changes: &[&str]) -> Finding {
    let mut odd = found(changes);
    odd.retain(|finding| !matches!(finding.state, State::Ok));
    assert_eq!(odd.len(), 1, "{odd:#?}");
    odd.remove(0)
}

#[test]
fn a_right_environment_has_no_fault() {
    let found = found(&[]);
    assert!(
        found.iter().all(|finding| finding.state == State::Ok),
        "{found:#?}"
    );
    assert!(found.iter().any(|finding| finding.check == "variables"));
}

#[test]
fn each_fault_is_named_with_its_fix() {
    for (change, check, fix) in [
        (
            "https_proxy=http://old:3128",
            "https_proxy",
            "export https_proxy=\"$HTTPS_PROXY\"",
        ),
        (
            "https_proxy=http://x:sortie_ses_d.e.f@127.0.0.1:7380",
            "https_proxy",
            "export https_proxy=\"$HTTPS_PROXY\"",
        ),
        (
            "ALL_PROXY=socks5://h:1080",
            "ALL_PROXY",
            "export ALL_PROXY=\"$HTTPS_PROXY\"",
        ),
        (
            "PIP_CERT=/etc/roots.pem",
            "PIP_CERT",
            "export PIP_CERT=\"$SSL_CERT_FILE\"",
        ),
        (
            "NPM_CONFIG_HTTPS_PROXY=http://old:1",
            "NPM_CONFIG_HTTPS_PROXY",
            "unset NPM_CONFIG_HTTPS_PROXY",
        ),
        (
            "NO_PROXY=*,a.b",
            "NO_PROXY",
            "export NO_PROXY='a.b,localhost,127.0.0.1,::1'",
        ),
        (
            "no_proxy=.example.com",
            "no_proxy",
            "export no_proxy='localhost,127.0.0.1,::1'",
        ),
    ] {
        let finding = only(&[change]);
        assert_eq!(
            (finding.state, finding.check.as_str(), finding.fix.as_str()),
            (State::Fault, check, fix),
            "{change}"
        );
        assert!(!finding.seen.contains("sortie_ses_"), "{finding:?}");
    }
}

#[test]
fn what_only_some_programs_need_is_a_warning() {
    for (change, check) in [
        ("all_proxy", "proxy variables"),
        ("DENO_CERT", "bundle variables"),
        ("NODE_USE_ENV_PROXY", "NODE_USE_ENV_PROXY"),
        ("NODE_EXTRA_CA_CERTS=/etc/x", "NODE_EXTRA_CA_CERTS"),
        ("no_proxy=a.b", "NO_PROXY"),
        (
            "NODE_TLS_REJECT_UNAUTHORIZED=0",
            "NODE_TLS_REJECT_UNAUTHORIZED",
        ),
        ("GIT_SSL_NO_VERIFY=true", "GIT_SSL_NO_VERIFY"),
        ("PYTHONHTTPSVERIFY=0", "PYTHONHTTPSVERIFY"),
    ] {
        let finding = only(&[change]);
        assert_eq!(
            (finding.state, finding.check.as_str()),
            (State::Warning, check)
        );
        assert!(!finding.fix.is_empty());
    }
    assert!(
        found(&["PYTHONHTTPSVERIFY=1"])
            .iter()
            .all(|f| f.state == State::Ok)
    );
}

#[test]
fn programs_that_are_here_make_it_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    for program in ["node", "java"] {
        let path = folder.path().join(program);
        std::fs::write(&path, "").unwrap();
        let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
    }
    let path = format!("PATH={}", folder.path().display());
    for (change, check) in [
        ("NODE_USE_ENV_PROXY", "NODE_USE_ENV_PROXY"),
        (
            "JAVA_TOOL_OPTIONS=-Dhttps.proxyHost=other -Djavax.net.ssl.trustStore=/t",
            "JAVA_TOOL_OPTIONS",
        ),
    ] {
        let finding = only(&[&path, change]);
        assert_eq!(
            (finding.state, finding.check.as_str()),
            (State::Fault, check)
        );
    }
    let warned = only(&[
        &path,
        "JAVA_TOOL_OPTIONS=-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=7380",
    ]);
    assert_eq!(warned.state, State::Warning);
}

#[test]
fn nothing_at_all_is_told_once_each() {
    let nothing = Environment::default();
    let known = Known {
        trusts: &|_| false,
        brokered: &[],
    };
    let found = check(&nothing, &known);
    for name in ["HTTPS_PROXY", "SSL_CERT_FILE"] {
        let rows = found.iter().filter(|finding| finding.check == name);
        assert_eq!(
            rows.filter(|finding| finding.state == State::Fault).count(),
            1
        );
    }
}

#[test]
fn real_secrets_are_told_by_name_only() {
    let key = format!("ghp_{}", "a1".repeat(18));
    let finding = only(&[
        &format!("GH={key}"),
        "GITHUB_TOKEN=ghp___GITHUB_TOKEN__00000000000000000000000000",
    ]);
    assert_eq!(finding.check, "secrets");
    assert!(finding.seen.contains("GH (a GitHub token)") && !finding.seen.contains("GITHUB_TOKEN"));
    assert!(!finding.seen.contains(&key) && !finding.fix.contains(&key));
}
