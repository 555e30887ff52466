//! `sortie profile`, and what a profile does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::{Control, feed, text};

const OTHER: &str = "sortie_key_of_a_profile";

/// The program without anything in the environment that goes before a profile.
fn plain(control: &Control, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = control.command(arguments);
    command
        .env_remove("SORTIE_API_KEY")
        .env_remove("SORTIE_API_URL");
    let done = feed(command, input);
    (
        done.status.code().unwrap(),
        text(&done.stdout),
        text(&done.stderr),
    )
}

#[test]
fn a_profile_is_added_used_and_removed() {
    let listed = json!({"vaults": []}).to_string();
    let control = Control::start(vec![("GET /v1/tenants/acme/vaults", 200, listed)]);
    let add = [
        "profile",
        "add",
        "prod",
        "--api-url",
        control.url(),
        "--tenant",
        "acme",
    ];
    let (code, out, err) = plain(&control, &add, &format!("{OTHER}\n"));
    assert_eq!(code, 0, "{err}");
    assert!(!format!("{out}{err}").contains(OTHER));

    let folder = control.home().join("sortie");
    let key = folder.join("keys/prod.key");
    assert_eq!(fs::read_to_string(&key).unwrap(), OTHER);
    let profiles = fs::read_to_string(folder.join("config.toml")).unwrap();
    assert!(!profiles.contains(OTHER), "{profiles}");
    for file in [&key, &folder.join("config.toml")] {
        assert_eq!(
            fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let keys = fs::metadata(key.parent().unwrap()).unwrap();
    assert_eq!(keys.permissions().mode() & 0o777, 0o700);

    // It is the first, and so the current one: its address, its key and its tenant are used.
    let (code, _, err) = plain(&control, &["vault", "list"], "");
    assert_eq!(code, 0, "{err}");
    let asked = control.asked().pop().unwrap();
    assert_eq!(asked.key, format!("Bearer {OTHER}"));
    assert!(
        asked.line.starts_with("GET /v1/tenants/acme/vaults"),
        "{}",
        asked.line
    );

    let second = ["profile", "add", "two", "--api-url", "https://two.example"];
    assert_eq!(plain(&control, &second, "sortie_key_two").0, 0);
    let (_, out, _) = plain(&control, &["profile", "list", "-o", "json"], "");
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&rows[0]["name"], &rows[0]["current"]),
        (&json!("prod"), &json!(true))
    );
    assert_eq!(
        (&rows[1]["name"], &rows[1]["current"]),
        (&json!("two"), &json!(false))
    );
    assert_eq!(plain(&control, &["profile", "use", "two"], "").0, 0);

    // Nobody is there to ask.
    assert_eq!(plain(&control, &["profile", "remove", "prod"], "").0, 2);
    assert!(key.exists());
    assert_eq!(
        plain(&control, &["profile", "remove", "prod", "--yes"], "").0,
        0
    );
    assert!(!key.exists() && folder.join("keys/two.key").exists());
    assert_eq!(plain(&control, &["profile", "use", "prod"], "").0, 64);
}

#[test]
fn a_key_file_of_somebody_else_stays() {
    let control = Control::start(vec![]);
    let file = control.home().join("mine.key");
    fs::write(&file, OTHER).unwrap();
    let path = file.to_str().unwrap();
    let add = [
        "profile",
        "add",
        "a",
        "--api-url",
        "https://a.example",
        "--key-file",
        path,
    ];
    assert_eq!(plain(&control, &add, "").0, 0);
    assert_eq!(
        plain(&control, &["profile", "remove", "a", "--yes"], "").0,
        0
    );
    assert!(file.exists());
}

#[test]
fn what_cannot_be_used_is_not_kept() {
    let control = Control::start(vec![]);
    for (arguments, input, expect) in [
        (&["x/y", "--api-url", "https://a.example"][..], OTHER, 2),
        (&["x"], OTHER, 2),
        (&["x", "--api-url", "https://a.example"], "\n", 1),
        (&["x", "--api-url", "http://a.example"], OTHER, 64),
        (
            &["x", "--api-url", "https://a.example"],
            "a key\nof two lines",
            64,
        ),
    ] {
        let arguments = [&["profile", "add"], arguments].concat();
        let (code, _, err) = plain(&control, &arguments, input);
        assert_eq!(code, expect, "{arguments:?}: {err}");
    }
    assert!(!control.home().join("sortie").exists());
}
