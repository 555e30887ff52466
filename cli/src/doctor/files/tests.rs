use super::super::finding::State;
use super::*;

const PROXY: &str = "http://x:sortie_ses_a.b.c@127.0.0.1:7380";

fn environment(variables: &[&str]) -> Environment {
    let pairs = variables.iter().filter_map(|text| text.split_once('='));
    Environment::new(pairs.map(|(name, value)| (name.into(), value.into())))
}

fn rows(found: &[Finding]) -> Vec<(State, &str)> {
    found
        .iter()
        .map(|finding| (finding.state, finding.fix.as_str()))
        .collect()
}

#[test]
fn gits_own_proxy_and_roots_are_found() {
    let named = Named::parse(PROXY).unwrap();
    let meant = Meant {
        proxy: Some(&named),
        trusts: |path| path.starts_with("/run"),
    };
    let told = format!(
        "global\0http.proxy\nhttp://u:secret@old:3128\0local\0http.https://a.example.sslCAInfo\n/etc/x.pem\0\
         global\0http.sslVerify\nfalse\0local\0http.proxy\n{PROXY}\0global\0http.sslcainfo\n/run/b.pem\0\
         local\0remote.origin.proxy\n\0"
    );
    let found = git(&told, &environment(&[]), &meant);
    assert_eq!(
        rows(&found),
        [
            (State::Fault, "git config --global --unset-all http.proxy"),
            (
                State::Fault,
                "git config --local --unset-all http.https://a.example.sslCAInfo"
            ),
            (
                State::Warning,
                "git config --global --unset-all http.sslVerify"
            ),
            (
                State::Fault,
                "git config --local --unset-all remote.origin.proxy"
            ),
        ]
    );
    assert!(!format!("{found:?}").contains("secret"));
    let hidden = "global\0http.https://u:secret@a.example.proxy\nhttp://old:1\0";
    let found_hidden = git(hidden, &environment(&[]), &meant);
    assert_eq!(
        rows(&found_hidden),
        [(State::Fault, "git config --global --edit")]
    );
    assert!(!format!("{found_hidden:?}").contains("secret"));
    let found = git(&told, &environment(&["GIT_SSL_CAINFO=/run/b.pem"]), &meant);
    assert!(
        found
            .iter()
            .all(|finding| !finding.seen.contains("sslCAInfo"))
    );
}

#[test]
fn files_that_win_over_the_environment_are_found() {
    let named = Named::parse(PROXY).unwrap();
    let meant = Meant {
        proxy: Some(&named),
        trusts: |path| path.starts_with("/run"),
    };
    let file = Path::new("/home/a/file");
    for (tool, text, variables, faults) in [
        (Tool::Npm, "https-proxy=http://old:1\n", &[][..], 1),
        (
            Tool::Npm,
            "https-proxy=http://old:1\n",
            &["npm_config_https_proxy=x"][..],
            0,
        ),
        (Tool::Npm, "cafile=\"/etc/x\"\n; proxy=http://a:1", &[], 1),
        (
            Tool::Npm,
            "cafile=/etc/x\n",
            &["npm_config_cafile=/run/b"],
            0,
        ),
        (
            Tool::Pip,
            "[global]\nproxy = http://old:1\ncert = /etc/x\n",
            &[],
            2,
        ),
        (
            Tool::Pip,
            "[global]\ncert: /etc/x\n",
            &["PIP_CERT=/run/b"],
            0,
        ),
        (
            Tool::Curl,
            "--proxy http://old:1\nsilent\n",
            &["CURL_CA_BUNDLE=/run/b"],
            1,
        ),
        (Tool::Curl, "cacert = /run/b\n", &[], 0),
        (
            Tool::Cargo,
            "[http]\nproxy = \"http://old:1\"\n[net]\nretry = 2\n",
            &[],
            1,
        ),
        (Tool::Cargo, "[registry]\nproxy = \"x\"\n", &[], 0),
    ] {
        let found = tool.check(text, file, &environment(variables), &meant);
        let count = found
            .iter()
            .filter(|finding| finding.state == State::Fault)
            .count();
        assert_eq!(count, faults, "{tool:?} {text}: {found:?}");
        assert!(found.iter().all(|finding| !finding.fix.is_empty()));
    }
}

#[test]
fn verification_that_is_switched_off_is_a_warning() {
    let meant = Meant {
        proxy: None,
        trusts: |_| false,
    };
    let file = Path::new("/home/a/file");
    let careless = Tool::Npm.check("strict-ssl=false", file, &environment(&[]), &meant);
    assert_eq!(
        rows(&careless),
        [(State::Warning, "sed -i.bak '/strict-ssl/d' /home/a/file")]
    );
}
