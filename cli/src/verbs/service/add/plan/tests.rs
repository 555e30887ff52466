use sortie_proto::catalog;

use super::*;
use crate::verbs::InVault;

fn held(services: &[(&str, Value)], credentials: &[Value]) -> Held {
    let service = |(name, spec): &(&str, Value)| json!({"name": name, "spec": spec});
    Held {
        services: services.iter().map(service).collect(),
        credentials: credentials.to_vec(),
    }
}

fn options(replace: bool) -> Options {
    Options {
        names: vec![],
        credential_file: vec![],
        renew: false,
        replace,
        vault: InVault { vault: None },
    }
}

/// The steps in a few words each.
fn words(steps: &[Step]) -> Vec<String> {
    let words = steps.iter().map(|step| match step {
        Step::Remove { name, .. } => format!("remove {name}"),
        Step::Credential { needed, .. } => format!("credential {}", needed.name),
        Step::Service {
            entry,
            is_new: true,
        } => format!("add {}", entry.name),
        Step::Service {
            entry,
            is_new: false,
        } => format!("replace {}", entry.name),
        Step::Keep { name, why, .. } => format!("{why}: {name}"),
    });
    words.collect()
}

/// The credential of the anthropic bundle, as control describes it.
fn anthropic_key() -> Value {
    json!({"name": "ANTHROPIC_API_KEY", "destinations": [{"host": "api.anthropic.com"}]})
}

fn bundle(name: &str, held: &Held, replace: bool) -> Result<Vec<String>> {
    let files = Files::read(&[])?;
    let steps = bundle_steps(
        catalog::find(name).unwrap(),
        held,
        &options(replace),
        &files,
    )?;
    Ok(words(&steps))
}

fn pack(name: &str, held: &Held) -> Vec<String> {
    let pack = catalog::find_pack(name).unwrap();
    words(&pack_steps(&pack.name, &pack.services, held, false).unwrap())
}

#[test]
fn what_is_there_and_the_same_is_kept() {
    let spec = json!({"host": "api.anthropic.com", "scheme": "https", "path": "/**", "enabled": true, "redact": true,
        "intercept": "always", "inject": [{"type": "header", "name": "x-api-key", "template": "{{ ANTHROPIC_API_KEY }}"}],
        "placeholders": {"credentials": ["ANTHROPIC_API_KEY"], "surfaces": ["header"]}});
    let held = held(&[("anthropic", spec)], &[anthropic_key()]);
    assert_eq!(
        bundle("anthropic", &held, false).unwrap(),
        ["kept: ANTHROPIC_API_KEY", "kept: anthropic"]
    );
}

#[test]
fn what_somebody_changed_is_replaced_only_on_demand() {
    let spec = json!({"host": "api.anthropic.com", "enabled": false, "inject": [
        {"type": "header", "name": "x-api-key", "template": "{{ ANTHROPIC_API_KEY }}"}],
        "placeholders": {"credentials": ["ANTHROPIC_API_KEY"], "surfaces": ["header"]}});
    let held = held(&[("anthropic", spec)], &[anthropic_key()]);
    assert!(matches!(
        bundle("anthropic", &held, false),
        Err(Error::Failed { .. })
    ));
    assert_eq!(
        bundle("anthropic", &held, true).unwrap(),
        ["kept: ANTHROPIC_API_KEY", "replace anthropic"]
    );
}

#[test]
fn a_bundle_takes_its_host_from_a_pack() {
    let key = json!({"name": "NPM_TOKEN", "destinations": [{"host": "registry.npmjs.org"}]});
    let pack = json!({"host": "registry.npmjs.org", "path": "/**", "methods": ["GET", "HEAD"]});
    let held = held(&[("pack-npm-registry", pack)], &[key]);
    assert_eq!(
        bundle("npm", &held, false).unwrap(),
        ["kept: NPM_TOKEN", "remove pack-npm-registry", "add npm"]
    );
}

#[test]
fn a_pack_leaves_requests_to_services_that_inject_or_are_off() {
    let git = json!({"host": "github.com", "path": "/**", "inject": [{"type": "bearer", "credential": "T"}]});
    let off = json!({"host": "api.github.com", "path": "/repos/**", "enabled": false});
    let narrow = json!({"host": "codeload.github.com", "path": "/acme/**"});
    let other_port = json!({"host": "raw.githubusercontent.com", "port": 8443});
    let held = held(
        &[
            ("git", git),
            ("off", off),
            ("narrow", narrow),
            ("port", other_port),
        ],
        &[],
    );
    assert_eq!(
        pack("github-read", &held),
        [
            "left out: `git` decides there: pack-github-read-web",
            "left out: `git` decides there: pack-github-read-fetch",
            "left out: `off` decides there: pack-github-read-api",
            "add pack-github-read-raw",
            "add pack-github-read-codeload",
            "add pack-github-read-objects",
            "add pack-github-read-releases",
            "add pack-github-read-media",
        ]
    );
}

#[test]
fn a_pack_is_added_twice_without_harm() {
    let entries = &catalog::find_pack("npm").unwrap().services;
    let services: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.body()))
        .collect();
    assert_eq!(
        pack("npm", &held(&services, &[])),
        ["kept: pack-npm-registry"]
    );
}

#[test]
fn a_credential_reaches_where_its_destinations_say() {
    let check = |destination: Value, place: Value, expect: bool| {
        let credential = json!({"destinations": [destination]});
        assert_eq!(reaches(&credential, &place), expect, "{credential} {place}");
    };
    check(json!({"host": "a"}), json!({"host": "a"}), true);
    check(
        json!({"host": "a", "methods": [], "surfaces": []}),
        json!({"host": "a", "path": "/api/**"}),
        true,
    );
    check(
        json!({"host": "a", "path": "/api/**"}),
        json!({"host": "a", "path": "/api/**"}),
        true,
    );
    check(
        json!({"host": "a", "path": "/api/**"}),
        json!({"host": "a"}),
        false,
    );
    check(
        json!({"host": "a", "port": 8443}),
        json!({"host": "a"}),
        false,
    );
    check(
        json!({"host": "a", "surfaces": ["query"]}),
        json!({"host": "a"}),
        false,
    );
    check(json!({"host": "b"}), json!({"host": "a"}), false);
}

#[test]
fn destinations_are_the_services_own_places() {
    let check = |name: &str, credential: &str, expect: Value| {
        let places = destinations(catalog::find(name).unwrap(), credential);
        assert_eq!(Value::from(places), expect, "{name}");
    };
    check(
        "gitlab",
        "GITLAB_TOKEN",
        json!([{"host": "gitlab.com", "path": "/api/**"}, {"host": "gitlab.com"}]),
    );
    check(
        "slack",
        "SLACK_BOT_TOKEN",
        json!([{"host": "slack.com", "path": "/api/**"}, {"host": "files.slack.com"}]),
    );
}

#[test]
fn files_belong_to_credentials() {
    let read = |arguments: &[&str]| {
        Files::read(
            &arguments
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let files = read(&["A=a.txt", "./odd=name.txt"]).unwrap();
    assert!(files.has("A"));
    assert_eq!(files.alone, Some("./odd=name.txt".into()));
    assert!(matches!(files.all_used(), Err(Error::Failed { .. })));
    assert!(matches!(read(&["a.txt", "b.txt"]), Err(Error::Usage(_))));
}
