use sortie_proto::catalog;
use sortie_proto::service::Scheme;

use super::super::vault::{Credential, Service};
use super::*;

#[test]
fn a_service_that_is_switched_off_brings_no_files() {
    let bundle = catalog::find("github").unwrap();
    let service = |entry: &catalog::Entry| Service {
        name: entry.name.clone(),
        host: entry.host.clone(),
        port: entry.port,
        scheme: Scheme::Https,
        enabled: true,
    };
    let credential = |needed: &catalog::Needed| Credential {
        name: needed.name.clone(),
        placeholder: "ghp_of_this_vault".to_owned(),
    };
    let mut vaults = Vaults {
        services: bundle.services.iter().map(service).collect(),
        credentials: bundle.credentials.iter().map(credential).collect(),
        ..Vaults::default()
    };
    let tools = of(&vaults, "/f", &[]);
    assert!(tools.files[0].1.contains("ghp_of_this_vault"), "{tools:?}");
    vaults.services[0].enabled = false;
    assert!(of(&vaults, "/f", &[]).files.is_empty());
}
