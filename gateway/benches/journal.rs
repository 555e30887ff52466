//! What recording a use costs the thread that serves the request: `cargo bench -p sortie-gateway --bench journal`.

use std::time::Duration;

use divan::Bencher;
use sortie_gateway::journal::{Config, Journal};
use sortie_proto::id::{BootId, DecisionId};
use sortie_proto::wire::v1;

fn main() {
    divan::main();
}

fn record() -> v1::Use {
    v1::Use {
        decision_id: DecisionId::generate().to_bytes(),
        service: "github".into(),
        credentials: vec![v1::CredentialUse {
            name: "GITHUB_TOKEN".into(),
            version: 3,
        }],
        method: "POST".into(),
        scheme: "https".into(),
        host: "api.github.com".into(),
        port: 443,
        path: "/repos/acme/widgets/issues/42/comments".into(),
        ..v1::Use::default()
    }
}

#[divan::bench(threads = [1, 2], sample_size = 100, max_time = 2)]
fn append(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let config = Config {
        path: folder.path().to_path_buf(),
        segment_bytes: 64 * 1024 * 1024,
        bytes_max: 4 * 1024 * 1024 * 1024,
        sync_interval: Duration::from_millis(50),
        completions_max: 4096,
        tunnels_unrecorded: true,
    };
    let journal = Journal::open(config, BootId::generate(), &prometheus::Registry::new())
        .expect("the folder is empty");
    let record = record();
    bencher.bench(|| journal.append(&[], &record, false));
}
