use std::process::Command;

use super::*;

/// What every quoting stumbles over.
const HARD: [&str; 8] = [
    "plain",
    "",
    "two words",
    "it's \"quoted\"",
    "$HOME `id` $(id) \\ \\n",
    "line one\nline 'two'\n",
    "# no comment; && | < > * ? [a] {b} ~ !",
    "ünïcode → \t tab",
];

fn hard() -> Vec<(String, String)> {
    let numbered = HARD.iter().enumerate();
    numbered
        .map(|(at, value)| (format!("V{at}"), (*value).to_owned()))
        .collect()
}

#[test]
fn a_shell_reads_every_value_as_it_was() {
    let text = lines(Format::Sh, &hard(), &["GONE".to_owned(), "a;b".to_owned()]).unwrap();
    for shell in ["sh", "bash"] {
        for (at, value) in HARD.iter().enumerate() {
            let script = format!("{text}\nprintf '%s|%s' \"$V{at}\" \"${{GONE-gone}}\"");
            let done = Command::new(shell)
                .env("GONE", "there")
                .args(["-c", &script])
                .output()
                .unwrap();
            let expect = format!("{value}|gone");
            assert_eq!(String::from_utf8(done.stdout).unwrap(), expect, "{shell}");
        }
    }
}

#[test]
fn fish_has_two_escapes() {
    assert_eq!(fish(r"a\b'c$d"), r"'a\\b\'c$d'");
    let text = lines(Format::Fish, &hard(), &["GONE".to_owned()]).unwrap();
    assert!(text.starts_with("set -gx V0 'plain'\n") && text.ends_with("set -e GONE\n"));
}

#[test]
fn dotenv_holds_what_all_its_readers_take_in_the_same_way() {
    for (value, expect) in [
        ("http://x:t@h:1", Some("http://x:t@h:1")),
        ("two words", Some("'two words'")),
        ("a $b \"c\" #d", Some("'a $b \"c\" #d'")),
        ("line\nline", Some("'line\nline'")),
        (r"a\nb", Some(r"'a\nb'")),
        ("it's", Some("\"it's\"")),
        ("it's $x", None),
        ("it's \"x\"", None),
        (r"a\\b", None),
        (r"a b\", None),
        ("a\r\n", None),
    ] {
        assert_eq!(dotenv(value).as_deref(), expect, "{value}");
    }
    let set = [("KEY".to_owned(), "it's $x".to_owned())];
    let error = lines(Format::Dotenv, &set, &[]).unwrap_err().to_string();
    assert!(
        error.starts_with("KEY has") && !error.contains("it's"),
        "{error}"
    );
}

#[test]
fn docker_takes_values_as_they_are_and_no_line_breaks() {
    let own = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let text = lines(Format::Docker, &own("A", "it's \"b\" $c"), &[]).unwrap();
    assert_eq!(text, "A=it's \"b\" $c\n");
    let error = lines(Format::Docker, &own("SECRET", "x\ny"), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SECRET has a line break, which `docker run --env-file` cannot hold"
    );
}

#[test]
fn a_name_that_a_shell_would_run_is_refused() {
    for name in ["", "1A", "A-B", "A;id", "$(id)"] {
        for format in [Format::Sh, Format::Fish, Format::Dotenv, Format::Docker] {
            let set = [(name.to_owned(), "x".to_owned())];
            assert!(lines(format, &set, &[]).is_err(), "{name}");
        }
    }
}

fn manifest(name: &str) -> Result<String> {
    let trust = Trust {
        authority: "-----BEGIN-----\nAA==\n-----END-----\n".to_owned(),
        bundle: "one\ntwo\n".to_owned(),
        store: vec![0, 1, 2],
    };
    let manifest = Manifest {
        name,
        mount: "/etc/sortie",
        ends: "2100-01-01T00:00:00Z",
        trust: &trust,
    };
    manifest.render(&hard())
}

#[test]
fn the_manifest_reads_back_as_a_secret_and_certificates() {
    let text = manifest("agent-7").unwrap();
    let (secret, certificates) = text.split_once("---\n").unwrap();
    let read = |text: &str| serde_norway::from_str::<serde_json::Value>(text).unwrap();
    let (secret, certificates) = (read(secret), read(certificates));
    for (object, kind) in [(&secret, "Secret"), (&certificates, "ConfigMap")] {
        assert_eq!(object["kind"], kind);
        assert_eq!(object["metadata"]["name"], "agent-7");
    }
    for (name, value) in hard() {
        assert_eq!(secret["stringData"][&name], value, "{name}");
    }
    assert_eq!(
        certificates["data"]["ca.pem"],
        "-----BEGIN-----\nAA==\n-----END-----\n"
    );
    assert_eq!(certificates["data"]["bundle.pem"], "one\ntwo\n");
    assert_eq!(certificates["binaryData"]["trust.p12"], "AAEC");
    assert!(text.contains("secretRef: { name: agent-7 }"), "{text}");
    for name in ["", "A", "-a", "a-", "a\nb", "a_b"] {
        assert!(manifest(name).is_err(), "{name}");
    }
}
