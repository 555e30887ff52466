//! Finding the service of a request among those of a vault.

use std::sync::Arc;

use sortie_proto::host::{CanonicalPath, Host, HostPattern, PathPattern};
use sortie_proto::id::{ServiceId, VaultId};
use sortie_proto::matching::{Index, Query};
use sortie_proto::service::{Intercept, Scheme, Service};

fn main() {
    divan::main();
}

fn index(services: usize) -> Index {
    let service = |i: usize| {
        Arc::new(Service {
            id: ServiceId::generate(),
            vault: VaultId::generate(),
            name: format!("service-{i}"),
            version: 1,
            enabled: true,
            scheme: Scheme::Https,
            host: HostPattern::parse(&format!("api{}.example.com", i / 4)).expect("a host"),
            port: None,
            methods: vec![],
            path: PathPattern::parse(&format!("/v{i}/*/items/**")).expect("a pattern"),
            inject: vec![],
            placeholders: None,
            redact: true,
            intercept: Intercept::Always,
            encoded_slash: false,
            limits: sortie_proto::limits::Limits::default(),
        })
    };
    Index::new((0..services).map(service).collect())
}

#[divan::bench(args = [4, 100, 10_000])]
fn find(bencher: divan::Bencher<'_, '_>, services: usize) {
    let index = index(services);
    let host = Host::parse("api0.example.com").expect("a host");
    bencher.bench_local(|| {
        let path = CanonicalPath::parse("/v2/acme/items/17/parts").expect("a path");
        let query = Query {
            scheme: Scheme::Https,
            host: &host,
            port: 443,
            method: "GET",
            path: Some(&path),
        };
        index.find(query).is_some()
    });
}

#[divan::bench]
fn parse_host() -> bool {
    Host::parse(divan::black_box("api.github.com")).is_ok()
}
