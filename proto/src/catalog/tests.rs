//! The catalog against its own rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Bundle, Entry, bundles, find, find_pack, for_host, for_value, for_variable, packs, read,
};
use crate::host::{Host, HostPattern};
use crate::id::{ServiceId, VaultId};
use crate::matching::Index;
use crate::service::{Injection, Intercept, Scheme, Service};

/// Names below which only the vendor gives out names, each looked at by a person.
const REVIEWED: [(&str, &str); 6] = [
    ("xethub.hf.co", "Hugging Face's file storage"),
    ("xethub-eu.hf.co", "Hugging Face's file storage"),
    (
        "cdn.hf.co",
        "Hugging Face's downloads, as huggingface.co/.well-known/meta.json lists them",
    ),
    ("aws.cdn.hf.co", "the same"),
    ("gcp.cdn.hf.co", "the same"),
    ("us.gcp.cdn.hf.co", "the same"),
];

/// Names below which anyone gets a name: an exact host there would be somebody's, and it has to be the vendor's.
const SHARED: [&str; 14] = [
    "amazonaws.com",
    "atlassian.net",
    "azurewebsites.net",
    "cloudfront.net",
    "fly.dev",
    "github.io",
    "herokuapp.com",
    "netlify.app",
    "pages.dev",
    "storage.googleapis.com",
    "supabase.co",
    "vercel.app",
    "windows.net",
    "workers.dev",
];

fn entries() -> impl Iterator<Item = &'static Entry> {
    let offered = bundles().iter().flat_map(|bundle| &bundle.services);
    offered.chain(packs().iter().flat_map(|pack| &pack.services))
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn service(entry: &Entry) -> Arc<Service> {
    Arc::new(Service {
        id: ServiceId::generate(),
        vault: VaultId::from(uuid::Uuid::nil()),
        name: entry.name.clone(),
        version: 1,
        enabled: true,
        scheme: entry.scheme,
        host: entry.host.clone(),
        port: entry.port,
        methods: entry.methods.clone(),
        path: entry.path.clone(),
        inject: entry.inject.clone(),
        placeholders: entry.placeholders.clone(),
        redact: true,
        intercept: Intercept::Always,
        encoded_slash: entry.encoded_slash,
        limits: crate::limits::Limits::default(),
    })
}

#[test]
fn the_catalog_is_read_and_is_large_enough() {
    assert!(bundles().len() >= 25, "{}", bundles().len());
    assert!(packs().len() >= 6);
    let mut names: Vec<_> = bundles().iter().map(|bundle| &bundle.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), bundles().len(), "a name came twice");
    for name in [
        "anthropic",
        "claude-code",
        "codex",
        "opencode",
        "github",
        "gitlab",
        "npm",
        "pypi",
    ] {
        assert!(find(name).is_some(), "{name}");
    }
    assert_eq!(find_pack("pack:npm"), find_pack("npm"));
    assert!(find("pack:npm").is_none());
}

#[test]
fn no_host_is_one_that_anyone_can_register() {
    for entry in entries() {
        match &entry.host {
            HostPattern::Exact(Host::Name(name)) => assert!(
                !SHARED.iter().any(|shared| name.ends_with(shared)),
                "{}: {name} stands below a shared name",
                entry.name
            ),
            HostPattern::Exact(Host::Address(_)) => panic!("{}: an address", entry.name),
            HostPattern::Wildcard(base) => assert!(
                REVIEWED.iter().any(|(name, _)| **name == **base),
                "{}: nobody has reviewed *.{base}",
                entry.name
            ),
        }
    }
}

#[test]
fn credentials_never_go_in_the_clear_or_to_a_wildcard() {
    for entry in entries().filter(|entry| entry.credentials().next().is_some()) {
        assert_eq!(entry.scheme, Scheme::Https, "{}", entry.name);
        assert!(
            matches!(entry.host, HostPattern::Exact(_)),
            "{}",
            entry.name
        );
    }
}

/// Two bundles that share a host share the names of the services there: adding one after the other replaces, and never
/// leaves two that claim the same requests.
#[test]
fn bundles_that_share_a_host_agree_on_names() {
    let mut claims: BTreeMap<String, &str> = BTreeMap::new();
    let mut hosts: BTreeMap<&str, String> = BTreeMap::new();
    for entry in bundles().iter().flat_map(|bundle| &bundle.services) {
        let claim = format!(
            "{:?} {} {} {:?}",
            entry.scheme, entry.host, entry.path, entry.methods
        );
        let name = *claims.entry(claim.clone()).or_insert(&entry.name);
        assert_eq!(name, entry.name, "two names for {claim}");
        let place = format!("{} {}", entry.host, entry.path);
        assert_eq!(
            *hosts.entry(&entry.name).or_insert_with(|| place.clone()),
            place,
            "{}",
            entry.name
        );
    }
}

#[test]
fn a_vault_takes_each_bundle_and_each_pack_whole() {
    let bundles = bundles()
        .iter()
        .map(|bundle| (&bundle.name, &bundle.services));
    let packs = packs().iter().map(|pack| (&pack.name, &pack.services));
    for (name, services) in bundles.chain(packs) {
        let index = Index::new(services.iter().map(service).collect());
        index
            .check()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// All API bundles in one vault: what a team ends up with.
#[test]
fn a_vault_takes_all_bundles_together() {
    let mut by_name: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in bundles().iter().flat_map(|bundle| &bundle.services) {
        by_name.entry(&entry.name).or_insert(entry);
    }
    Index::new(by_name.values().map(|entry| service(entry)).collect())
        .check()
        .unwrap();
}

#[test]
fn a_credential_means_the_same_in_every_bundle() {
    let mut known: BTreeMap<&str, (&Bundle, Vec<String>)> = BTreeMap::new();
    for bundle in bundles() {
        for needed in &bundle.credentials {
            let hosts: Vec<_> = bundle
                .destinations(&needed.name)
                .map(|entry| entry.host.to_string())
                .collect();
            assert!(hosts.len() <= 32, "{}", needed.name);
            let (first, places) = known
                .entry(&needed.name)
                .or_insert_with(|| (bundle, hosts.clone()));
            assert_eq!(
                first.credential(&needed.name),
                Some(needed),
                "{}",
                bundle.name
            );
            assert_eq!(*places, hosts, "{} in {}", needed.name, bundle.name);
        }
    }
}

/// A gateway takes the first and longest placeholder at a place: none may hide in another.
#[test]
fn placeholders_are_apart_and_have_the_shape_of_one() {
    let all: BTreeMap<&str, &str> = bundles()
        .iter()
        .flat_map(|bundle| &bundle.credentials)
        .map(|needed| (needed.name.as_str(), needed.placeholder.as_str()))
        .collect();
    for (name, placeholder) in &all {
        assert!(
            placeholder.ends_with(&format!("__{name}__")),
            "{placeholder}: without __{name}__ in it, a gateway of another vault lets it pass as text"
        );
        for (other, inner) in &all {
            assert!(
                name == other || !placeholder.contains(inner),
                "{placeholder} holds {inner}"
            );
        }
    }
}

#[test]
fn a_placeholder_has_a_shape_of_its_vendor() {
    for needed in bundles().iter().flat_map(|bundle| &bundle.credentials) {
        let shaped = needed.shape.is_empty()
            || needed.shape.iter().any(|shape| {
                let start = needed.placeholder.split("__").next().unwrap_or_default();
                // `sk-ant-` is the beginning of `sk-ant-api`: what clients check is as much.
                !start.is_empty()
                    && (shape.starts_with(start) || start.starts_with(shape.trim_end_matches('_')))
            });
        assert!(shaped, "{}", needed.name);
    }
}

#[test]
fn packs_read_and_say_where_they_come_from() {
    for pack in packs() {
        assert!(pack.source.starts_with("https://"), "{}", pack.name);
        for entry in &pack.services {
            assert!(entry.name.starts_with(&format!("pack-{}-", pack.name)));
            let reads = entry
                .methods
                .iter()
                .all(|method| method == "GET" || method == "HEAD");
            assert!(
                reads || entry.path.to_string().ends_with("/git-upload-pack"),
                "{}",
                entry.name
            );
            assert!(entry.credentials().next().is_none());
        }
    }
}

#[test]
fn hosts_variables_and_values_lead_to_their_bundle() {
    let names = |text: &str| {
        for_host(&host(text))
            .map(|bundle| bundle.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("api.github.com"), ["github"]);
    assert_eq!(names("api.anthropic.com")[0], "anthropic");
    assert_eq!(names("us.aws.cdn.hf.co"), ["huggingface"]);
    assert_eq!(names("evil.example"), Vec::<&str>::new());

    let variable = |text: &str| {
        for_variable(text).map(|(bundle, needed)| (bundle.name.as_str(), needed.name.as_str()))
    };
    assert_eq!(variable("GH_TOKEN"), Some(("github", "GITHUB_TOKEN")));
    assert_eq!(
        variable("ANTHROPIC_API_KEY"),
        Some(("anthropic", "ANTHROPIC_API_KEY"))
    );
    assert_eq!(variable("PATH"), None);

    let value = |text: &str| for_value(text.as_bytes()).map(|(bundle, _)| bundle.name.as_str());
    assert_eq!(value("ghp_0123456789abcdef"), Some("github"));
    assert_eq!(
        value("sk-ant-oat01-0123456789"),
        Some("claude-code-subscription")
    );
    assert_eq!(
        value("sk-0123456789abcdef0123"),
        None,
        "many vendors begin so"
    );
    assert_eq!(value("ghp_"), None);
}

#[test]
fn files_are_rendered_with_the_vaults_placeholders() {
    let file = &find("npm").unwrap().files[0];
    let text = file
        .content
        .render(|name| (name == "NPM_TOKEN").then(|| "__NPM__".to_owned()));
    assert_eq!(
        text.unwrap().trim(),
        "//registry.npmjs.org/:_authToken=__NPM__"
    );
    assert_eq!(file.content.render(|_| None), None);

    // Claude Code compares the end of the key with what it has approved.
    let claude = find("claude-code").unwrap();
    let approved = claude.files[0].content.render(|_| None).unwrap();
    let placeholder = &claude.credentials[0].placeholder;
    let (_, end) = placeholder.split_at(placeholder.len() - 20);
    assert!(approved.contains(&format!("\"{end}\"")));
}

#[test]
fn bodies_say_what_the_entries_say() {
    let datadog = find("datadog").unwrap().services[0].body();
    assert_eq!(datadog["host"], "api.datadoghq.com");
    assert_eq!(datadog["inject"][1]["template"], "{{ DD_APP_KEY }}");
    assert_eq!(datadog["inject"][1]["name"], "DD-APPLICATION-KEY");
    let twilio = find("twilio").unwrap().services[0].body();
    assert_eq!(
        twilio["placeholders"]["surfaces"],
        serde_json::json!(["header", "path"])
    );
    let git = find("github").unwrap();
    let git = git
        .services
        .iter()
        .find(|entry| entry.name == "github-git")
        .unwrap();
    assert!(
        matches!(&git.inject[0], Injection::Basic { username, .. } if username == "x-access-token")
    );
}

#[test]
fn mistakes_are_refused() {
    let check = |service: &str| {
        let text = format!(
            "[[bundle]]\nname = \"x\"\ntitle = \"X\"\nabout = \"x\"\ndocs = \"x\"\n[[bundle.credential]]\nname = \"K\"\n\
             placeholder = \"__K__\"\nobtain = \"x\"\n[[bundle.service]]\nname = \"x\"\n{service}"
        );
        read::read(&text)
    };
    assert!(check("host = \"x.example\"\nbearer = \"K\"").is_ok());
    for wrong in [
        "host = \"x.example\"",
        "host = \"x.example\"\nbearer = \"OTHER\"",
        "host = \"*.com\"\nbearer = \"K\"",
        "host = \"x.example\"\npath = \"x\"\nbearer = \"K\"",
        "host = \"x.example\"\nheader = { A = \"constant\" }\nbearer = \"K\"",
        "host = \"x.example\"\nscheme = \"ftp\"\nbearer = \"K\"",
        "host = \"x.example\"\nbearer = \"K\"\nwhat = 1",
        "host = \"x.example\"\nbearer = \"K\"\n[[bundle.file]]\npath = \"../x\"\nvariable = \"X\"\npoints_at = \"file\"\ncontent = \"\"",
    ] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_documents_list_every_bundle_and_pack() {
    let text = include_str!("../../../docs/catalog.md");
    for bundle in bundles() {
        let row = format!("| `{}` |", bundle.name);
        let row = text.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("{} is not in docs/catalog.md", bundle.name));
        for needed in &bundle.credentials {
            assert!(row.contains(&format!("`{}`", needed.name)), "{row}");
        }
    }
    for pack in packs() {
        let row = format!("| `pack:{}` |", pack.name);
        assert!(
            text.contains(&row),
            "{} is not in docs/catalog.md",
            pack.name
        );
    }
}
