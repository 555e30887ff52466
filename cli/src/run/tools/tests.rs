use sortie_proto::service::Scheme;

use super::super::vault::{Credential, Service};
use super::*;

/// A vault that holds bundles of the catalog, as `sortie service add` fills it.
fn vaults(names: &[&str]) -> Vaults {
    let mut all = Vaults::default();
    for bundle in names.iter().map(|name| catalog::find(name).unwrap()) {
        all.services
            .extend(bundle.services.iter().map(|entry| Service {
                name: entry.name.clone(),
                host: entry.host.clone(),
                port: entry.port,
                scheme: Scheme::Https,
                enabled: true,
            }));
        all.credentials
            .extend(bundle.credentials.iter().map(|needed| Credential {
                name: needed.name.clone(),
                placeholder: needed.placeholder.clone(),
            }));
    }
    all
}

#[test]
fn a_bundle_brings_its_files_with_placeholders() {
    let tools = Tools::new(&vaults(&["github"]), "/f", &[]);
    let expect = ("GH_CONFIG_DIR".to_owned(), "/f/gh".to_owned());
    assert!(tools.variables.contains(&expect), "{tools:?}");
    let (path, content) = &tools.files[0];
    assert_eq!(path, "gh/hosts.yml");
    let placeholder = &catalog::find("github").unwrap().credentials[0].placeholder;
    assert!(content.contains(placeholder), "{content}");
    let alias = ("GH_TOKEN".to_owned(), placeholder.clone());
    assert!(tools.aliases.contains(&alias));
}

#[test]
fn a_bundle_that_is_not_whole_brings_nothing() {
    let mut some = vaults(&["github"]);
    some.credentials.clear();
    assert!(Tools::new(&some, "/f", &[]).files.is_empty());
    let mut some = vaults(&["github"]);
    some.services[0].enabled = false;
    assert!(Tools::new(&some, "/f", &[]).files.is_empty());
    assert!(
        Tools::new(&Vaults::default(), "/f", &[])
            .variables
            .is_empty()
    );
}

#[test]
fn what_is_kept_is_left_alone_and_nothing_is_set_twice() {
    let tools = Tools::new(&vaults(&["github"]), "/f", &["GH_CONFIG_DIR".to_owned()]);
    assert!(
        tools.files.is_empty() && tools.variables.is_empty(),
        "{tools:?}"
    );
    let all: Vec<_> = catalog::bundles()
        .iter()
        .map(|bundle| &*bundle.name)
        .collect();
    let tools = Tools::new(&vaults(&all), "/f", &[]);
    let mut names: Vec<_> = tools.variables.iter().map(|(name, _)| name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(tools.files.len() > 3, "{tools:?}");
}
