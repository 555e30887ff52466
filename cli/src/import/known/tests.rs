use serde_json::json;

use super::*;
use crate::import::format::Format;

fn file(name: &str, text: &str) -> File {
    let path = std::path::PathBuf::from(name);
    File {
        found: Format::of(&path).unwrap().find(text.as_bytes()),
        content: Secret::new(text.as_bytes().to_vec()),
        path,
    }
}

/// What files hold, as (name, placeholder, hosts, places).
fn check(files: &[(&str, &str)], expect: &[(&str, &str, &[&str], usize)]) {
    let files: Vec<_> = files.iter().map(|(name, text)| file(name, text)).collect();
    let seen: Vec<_> = candidates(&files, false)
        .into_iter()
        .map(|it| {
            let to: Vec<_> = it
                .to
                .iter()
                .map(|place| crate::output::cell(place, "/host"))
                .collect();
            (it.name, it.placeholder, to.join(" "), it.spots.len())
        })
        .collect();
    let expect: Vec<_> = expect
        .iter()
        .map(|(name, placeholder, to, count)| {
            (
                (*name).to_owned(),
                (*placeholder).to_owned(),
                to.join(" "),
                *count,
            )
        })
        .collect();
    assert_eq!(seen, expect);
}

#[test]
fn shapes_and_variables_lead_to_the_catalog() {
    check(
        &[(
            ".env",
            "MY_GH=github_pat_0123456789\nOPENAI_API_KEY=sk-0123456789abcdef\nDEBUG=true\nPORT=8080\nGH_TOKEN=\n\
             COHERE_API_KEY=0123456789abcdef\n",
        )],
        &[
            (
                "GITHUB_TOKEN",
                "ghp___GITHUB_TOKEN__",
                &[
                    "api.github.com",
                    "uploads.github.com",
                    "github.com",
                    "raw.githubusercontent.com",
                ],
                1,
            ),
            (
                "OPENAI_API_KEY",
                "sk-__OPENAI_API_KEY__",
                &["api.openai.com"],
                1,
            ),
            (
                "CO_API_KEY",
                "__CO_API_KEY__",
                &["api.cohere.com", "api.cohere.ai"],
                1,
            ),
        ],
    );
}

#[test]
fn other_names_have_to_say_that_they_are_secrets() {
    check(
        &[(
            ".env",
            "INTERNAL_TOKEN=0123456789\nDB_PASSWORD='p w d 1 2 3'\nNEXT_PUBLIC_API_KEY=0123456789\nKEY_PATH=/etc/key.pem\n\
             AWS_ACCESS_KEY_ID=AKIA0123456789\nAPI_KEY=changeme\nSECRET_KEY=<yours>\nTOKEN_URL=https://x.example\n\
             WEBHOOK_SECRET=https://hooks.example/1\nsigningKey=9876543210\n",
        )],
        &[
            ("INTERNAL_TOKEN", "__INTERNAL_TOKEN__", &[], 1),
            ("DB_PASSWORD", "__DB_PASSWORD__", &[], 1),
            ("SIGNINGKEY", "__SIGNINGKEY__", &[], 1),
        ],
    );
}

#[test]
fn the_files_own_host_decides() {
    check(
        &[
            (
                "gh/hosts.yml",
                "ghe.example.com:\n  oauth_token: ghp_0123456789\n",
            ),
            (
                ".netrc",
                "machine gitlab.com login me password glpat-0123456789\n",
            ),
            (
                ".npmrc",
                "_auth=dXNlcjpwYXNzd29yZA==\n//npm.example.com:8443/:_authToken=0123456789\n",
            ),
            (".git-credentials", "https://me:0123456789ab@github.com\n"),
        ],
        &[
            (
                "GHE_EXAMPLE_COM_TOKEN",
                "__GHE_EXAMPLE_COM_TOKEN__",
                &["ghe.example.com"],
                1,
            ),
            (
                "GITLAB_TOKEN",
                "glpat-__GITLAB_TOKEN__",
                &["gitlab.com", "gitlab.com"],
                1,
            ),
            (
                "REGISTRY_NPMJS_ORG_AUTH",
                "__REGISTRY_NPMJS_ORG_AUTH__",
                &["registry.npmjs.org"],
                1,
            ),
            (
                "NPM_EXAMPLE_COM_8443_TOKEN",
                "__NPM_EXAMPLE_COM_8443_TOKEN__",
                &["npm.example.com"],
                1,
            ),
            (
                "GITHUB_TOKEN",
                "ghp___GITHUB_TOKEN__",
                &[
                    "api.github.com",
                    "uploads.github.com",
                    "github.com",
                    "raw.githubusercontent.com",
                ],
                1,
            ),
        ],
    );
}

#[test]
fn a_port_stays_with_its_host() {
    let files = [file(
        ".npmrc",
        "//npm.example.com:8443/:_authToken=0123456789\n",
    )];
    assert_eq!(
        candidates(&files, false)[0].to,
        [json!({"host": "npm.example.com", "port": 8443})]
    );
}

#[test]
fn one_value_is_one_credential_and_two_values_are_two() {
    check(
        &[
            (
                ".env",
                "GROQ_API_KEY=gsk_0123456789\nGROQ_STAGING_KEY=gsk_other_value\n",
            ),
            (".env.local", "GROQ_API_KEY=gsk_0123456789\n"),
            (".env.prod", "GROQ_API_KEY=gsk_a_third_value\n"),
        ],
        &[
            ("GROQ_API_KEY", "gsk___GROQ_API_KEY__", &["api.groq.com"], 2),
            (
                "GROQ_STAGING_KEY",
                "gsk___GROQ_STAGING_KEY__",
                &["api.groq.com"],
                1,
            ),
            (
                "GROQ_API_KEY_2",
                "gsk___GROQ_API_KEY_2__",
                &["api.groq.com"],
                1,
            ),
        ],
    );
}

#[test]
fn aws_keys_are_found_and_go_nowhere_by_themselves() {
    check(
        &[(
            "h/.aws/credentials",
            "[default]\naws_secret_access_key = 0123456789abcdef\n",
        )],
        &[("AWS_SECRET_ACCESS_KEY", "__AWS_SECRET_ACCESS_KEY__", &[], 1)],
    );
}

#[test]
fn of_the_environment_only_what_the_catalog_knows() {
    let check = |key: &str, value: &str, expect: Option<&str>| {
        let value = Secret::new(value.as_bytes().to_vec());
        let found = meaning_of_variable(key, &value).and_then(|it| it.known);
        assert_eq!(
            found.map(|(_, needed)| needed.name.as_str()),
            expect,
            "{key}"
        );
    };
    check("GH_TOKEN", "0123456789", Some("GITHUB_TOKEN"));
    check("ANYTHING", "hf_0123456789", Some("HF_TOKEN"));
    check("SOME_SECRET", "0123456789", None);
    check("GH_TOKEN", "ghp___GITHUB_TOKEN__", None);
    check("SORTIE_API_KEY", "ghp_0123456789", None);
}

#[test]
fn a_value_that_goes_to_several_hosts_may_be_sent_to_each() {
    check(
        &[(
            ".netrc",
            "machine api.a.example login me password 0123456789abcdef\nmachine git.a.example login me password \
             0123456789abcdef\n",
        )],
        &[(
            "API_A_EXAMPLE_PASSWORD",
            "__API_A_EXAMPLE_PASSWORD__",
            &["api.a.example", "git.a.example"],
            2,
        )],
    );
}

#[test]
fn what_nobody_is_sure_of_takes_no_name_and_no_place_of_what_is_sure() {
    let file = file(
        ".env",
        "A_TOKEN=\"0123456789\nB_TOKEN=0123456789\nA_TOKEN=abcdef0123\n",
    );
    let found = candidates(&[file], false);
    let seen: Vec<_> = found
        .iter()
        .map(|it| (it.name.as_str(), it.spots.len(), it.unsure.is_some()))
        .collect();
    assert_eq!(
        seen,
        [
            ("B_TOKEN", 1, false),
            ("A_TOKEN", 1, false),
            ("A_TOKEN_2", 1, true)
        ]
    );
}

#[test]
fn a_password_may_begin_as_a_template_does() {
    for (text, is_secret) in [
        ("nonewline0000", true),
        ("trueblue01234", true),
        ("todo", false),
        ("None", false),
        ("your-key-here", false),
        ("yourself012345", true),
        ("<token>", false),
    ] {
        let value = Secret::new(text.as_bytes().to_vec());
        assert_eq!(is_plausible(&value), is_secret, "{text}");
    }
}
