//! A running control plane, called through its router: its ports are for gateways.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sortie_control::api::State;
use sortie_control::config::Config;
use sortie_control::database::Database;
use sortie_control::server::Server;

use super::database::{folder, fresh, look};
use super::{Caller, Gateway};

/// A running control plane without tenants.
pub(crate) struct Control {
    server: Server,
    operator: String,
    url: String,
    folder: tempfile::TempDir,
}

impl Control {
    pub(crate) async fn start() -> Self {
        Self::on(folder(), fresh().await).await
    }

    /// Another replica on the same database.
    pub(crate) async fn replica(&self) -> Self {
        let folder = folder();
        let key = "root.key";
        std::fs::copy(self.folder.path().join(key), folder.path().join(key)).unwrap();
        Self::on(folder, self.url.clone()).await
    }

    /// One on a database that is there.
    pub(crate) async fn on(folder: tempfile::TempDir, url: String) -> Self {
        let config = config(folder.path(), Some(&url));
        let server = Server::start(config).await.unwrap();
        // The first replica's; another makes none.
        let operator = std::fs::read_to_string(folder.path().join("operator.key"));
        let operator = operator.unwrap_or_default();
        Self {
            server,
            operator: operator.trim().to_owned(),
            url,
            folder,
        }
    }

    pub(crate) fn state(&self) -> &State {
        self.server.state()
    }

    pub(crate) fn database(&self) -> &Database {
        &self.state().database
    }

    /// How many changes were published.
    pub(crate) async fn published(&self) -> u64 {
        self.state().sequencer.committed().await.unwrap().n
    }

    pub(crate) fn caller(&self, key: &str) -> Caller {
        Caller::of(self.state(), key)
    }

    pub(crate) fn operator(&self) -> Caller {
        self.caller(&self.operator)
    }

    /// A tenant; answers its owner.
    pub(crate) async fn tenant(&self, name: &str) -> Caller {
        let made = self
            .operator()
            .post("/v1/tenants", json!({ "name": name }))
            .await
            .expect(201);
        self.caller(made["owner_key"].as_str().unwrap())
    }

    /// A tenant with the vault `v`; answers its owner.
    pub(crate) async fn vault(&self, name: &str) -> Caller {
        let owner = self.tenant(name).await;
        owner
            .post("/v1/tenants/-/vaults", json!({ "name": "v" }))
            .await
            .expect(201);
        owner
    }

    /// An agent with a role on the vault `v`.
    pub(crate) async fn agent(&self, owner: &Caller, name: &str) -> Caller {
        let body = json!({ "name": name });
        let made = owner.post("/v1/tenants/-/agents", body).await.expect(201);
        let path = format!("/v1/tenants/-/vaults/v/grants/{name}");
        owner
            .put(&path, json!({ "role": "user" }))
            .await
            .expect(200);
        self.caller(made["key"].as_str().unwrap())
    }

    /// A gateway that joined as an operator lets it.
    pub(crate) async fn enrol(&self, name: &str) -> Gateway {
        Gateway::enrol(self.server.feed(), &self.join(name).await).await
    }

    /// A join string.
    pub(crate) async fn join(&self, name: &str) -> String {
        let body = json!({ "name": name });
        let made = self.operator().post("/v1/gateways:join", body).await;
        made.expect(201)["join"].as_str().unwrap().to_owned()
    }

    pub(crate) fn feed(&self) -> std::net::SocketAddr {
        self.server.feed()
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let tx = self.database().system().await.unwrap();
        tx.query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await
            .unwrap()
            .get(0)
    }

    /// How many acts of a kind the audit log has.
    pub(crate) async fn acts(&self, action: &str) -> i64 {
        self.count(&format!("audit_acts WHERE action = '{action}'"))
            .await
    }

    /// Changes rows behind the commands' back.
    pub(crate) async fn alter(&self, sql: &str) {
        let tx = self.database().system().await.unwrap();
        assert_ne!(tx.execute(sql, &[]).await.unwrap(), 0, "{sql}");
        tx.commit().await.unwrap();
    }

    /// A number that one statement answers, on a connection that the control does not know of.
    pub(crate) async fn look(&self, sql: &str) -> i64 {
        look(&self.url, sql).await
    }

    pub(crate) async fn wait_until(&self, what: &str, done: impl AsyncFn() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !done().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain for {what}");
    }

    /// What another one on the same database and folder is started with.
    pub(crate) fn config(&self) -> Config {
        config(self.folder.path(), Some(&self.url))
    }

    /// Stops it and keeps what it leaves.
    pub(crate) async fn halt(self) -> Halted {
        self.server.stop().await;
        Halted {
            folder: self.folder,
            url: self.url,
        }
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}

/// A control that has stopped.
pub(crate) struct Halted {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) url: String,
}

/// A configuration on ports that are free; without a URL, with a private database.
pub(crate) fn config(dir: &Path, url: Option<&str>) -> Config {
    let mut settings = vec![
        ("DATA_DIR", dir.to_str().unwrap()),
        ("DATABASE_CONNECTIONS", "8"),
        ("API__LISTEN", "127.0.0.1:0"),
        ("FEED__LISTEN", "127.0.0.1:0"),
        ("ADMIN__LISTEN", "127.0.0.1:0"),
    ];
    settings.extend(url.map(|url| ("DATABASE_URL", url)));
    let environment = settings
        .into_iter()
        .map(|(name, value)| (format!("SORTIE_CONTROL__{name}"), value.to_owned()));
    Config::from_layers(None, environment).unwrap()
}
