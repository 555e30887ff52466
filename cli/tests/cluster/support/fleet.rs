//! More of everything: controls on the cluster's database, and gateways like its first.

use std::path::Path;

use serde_json::{Value, json};

use super::process::{Finished, Process, free_port};
use super::{Api, Cluster, Minted, Ports, start_control};

/// One more control.
pub(crate) struct Replica {
    pub(crate) process: Process,
    pub(crate) ports: Ports,
    /// The tenant's API at this replica.
    pub(crate) api: Api,
}

/// What differs between gateways.
#[derive(Default)]
pub(crate) struct NodeSetup {
    /// TOML that is added to its configuration, or stands instead, section by section.
    pub(crate) config: String,
    /// Its environment.
    pub(crate) env: Vec<(String, String)>,
}

/// One more gateway.
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) proxy: u16,
    pub(crate) admin: u16,
    name: String,
    env: Vec<(String, String)>,
}

/// A second tenant with a vault, an agent and a credential of its own for the same upstream.
pub(crate) struct Rival {
    pub(crate) session: Minted,
    /// What its vault injects.
    pub(crate) value: String,
}

impl Cluster {
    /// Starts another control on the same database, with the same root key.
    pub(crate) async fn add_control(&self, name: &str) -> Replica {
        let mut ports = self.ports;
        (ports.api, ports.feed, ports.control_admin) = (free_port(), free_port(), free_port());
        let folder = self.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let first = self.path().join("control");
        std::fs::copy(first.join("root.key"), folder.join("root.key")).unwrap();
        let url = std::fs::read_to_string(first.join("database-url")).unwrap();
        Replica {
            process: start_control(self.path(), ports, name, Some(url.trim()), &[]).await,
            ports,
            api: self.api.at(ports.api),
        }
    }

    /// Starts another gateway, configured as the first. It follows the controls whose feeds are at these ports.
    pub(crate) async fn add_gateway(&self, name: &str, feeds: &[u16]) -> Node {
        self.add_gateway_with(name, feeds, NodeSetup::default())
            .await
    }

    pub(crate) async fn add_gateway_with(
        &self,
        name: &str,
        feeds: &[u16],
        setup: NodeSetup,
    ) -> Node {
        let (proxy, admin) = (free_port(), free_port());
        let text = std::fs::read_to_string(self.path().join("gateway.toml")).unwrap();
        let mut config: toml::Table = text.parse().unwrap();
        let join = self.api.join_as(name).await;
        let feeds: Vec<_> = feeds
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let own = format!(
            "data_dir = {:?}\njoin = {join:?}\nname = {name:?}\n[proxy]\nlisten = [\"127.0.0.1:{proxy}\"]\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\n[feed]\ncontrol = {feeds:?}\n",
            self.path().join(name).display().to_string()
        );
        lay_over(&mut config, own.parse().unwrap());
        lay_over(&mut config, setup.config.parse().unwrap());
        let file = self.path().join(format!("{name}.toml"));
        std::fs::write(&file, config.to_string()).unwrap();
        let mut node = Node {
            process: start(self.path(), name, &setup.env),
            proxy,
            admin,
            name: name.to_owned(),
            env: setup.env,
        };
        node.process.wait_until_ready(admin).await;
        node
    }

    /// Runs curl behind one of the gateways.
    pub(crate) async fn curl_at(
        &self,
        node: &Node,
        session: &Minted,
        arguments: &[&str],
    ) -> Finished {
        let proxy = format!("http://x:{}@127.0.0.1:{}", session.token, node.proxy);
        self.curl_through(&proxy, arguments).await
    }

    /// Makes the second tenant. Its root certificate is added to those that clients trust.
    pub(crate) async fn rival(&self) -> Rival {
        let value = self.plain_secret("rival");
        let api = self.api.tenant("rival").await;
        api.post("/v1/tenants/-/vaults", json!({"name": "main"}))
            .await;
        api.put(
            "/v1/tenants/-/vaults/main/credentials/API_KEY",
            json!({"value": value, "destinations": [{"host": "api.up.test"}]}),
        )
        .await;
        let inject = json!([{"type": "bearer", "credential": "API_KEY"}]);
        api.put(
            "/v1/tenants/-/vaults/main/services/api",
            json!({"host": "api.up.test", "port": self.ports.https, "inject": inject}),
        )
        .await;
        api.post("/v1/tenants/-/agents", json!({"name": "runner"}))
            .await;
        api.put(
            "/v1/tenants/-/vaults/main/grants/runner",
            json!({"role": "user"}),
        )
        .await;
        let session = json!({"agent": "runner", "vaults": ["main"], "ttl_seconds": 86_400});
        let session = api.mint(session).await;
        let authority = api.get("/v1/tenants/-/authority").await;
        append(&self.ca(), authority["pem"].as_str().unwrap());
        Rival { session, value }
    }
}

impl Node {
    /// Starts it again after it ended.
    pub(crate) async fn restart(&mut self, dir: &Path) {
        self.process = start(dir, &self.name, &self.env);
        self.process.wait_until_ready(self.admin).await;
    }

    /// What `/state` says.
    pub(crate) async fn state(&self) -> Option<Value> {
        let text = super::process::get(self.admin, "/state").await?;
        serde_json::from_str(&text).ok()
    }
}

fn start(dir: &Path, name: &str, env: &[(String, String)]) -> Process {
    let file = dir.join(format!("{name}.toml")).display().to_string();
    let arguments = ["--config".to_owned(), file];
    Process::start(dir, name, "sortie-gateway", &arguments, env)
}

/// Puts values over those of a table, section by section.
fn lay_over(table: &mut toml::Table, over: toml::Table) {
    for (name, value) in over {
        match (table.get_mut(&name), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

fn append(file: &Path, text: &str) {
    let mut all = std::fs::read_to_string(file).unwrap();
    all.push_str(text);
    std::fs::write(file, all).unwrap();
}
