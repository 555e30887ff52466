//! A whole cluster with one tenant, vault, service and agent: set up as an administrator would, over REST.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::process::Process;
use super::rest::Api;
use super::stand::{HOST, free_address};
use crate::client;

/// The credential that is injected. Its length is that of a usual API key.
const VALUE: &str = "bench-5f1e0c7a9b3d4862a1c0e7f4b9d2a653-key";
/// Sessions that tunnels are spread over.
const SESSIONS: usize = 50;

/// A control plane and what was made in it.
#[derive(Debug)]
pub struct Cluster {
    control: Process,
    folder: PathBuf,
    operator: Api,
    /// The tenant's root: what agents trust.
    root: PathBuf,
    tokens: Vec<String>,
}

impl Cluster {
    /// Starts control and makes what the benchmark needs.
    ///
    /// # Errors
    /// When it does not start, or refuses a call.
    pub async fn start(program: &Path, folder: &Path, upstream: u16) -> Result<Self> {
        let (api, feed, admin) = (free_address()?, free_address()?, free_address()?);
        let data = folder.join("control");
        let config = folder.join("control.toml");
        let text = format!(
            "data_dir = {data:?}\n[api]\nlisten = \"{api}\"\n[feed]\nlisten = \"{feed}\"\nadvertise = \"{feed}\"\n\
             [admin]\nlisten = \"{admin}\"\n"
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(program);
        let mut control = Process::start("control", folder, command.arg("--config").arg(&config))?;
        let ready = Api {
            address: admin,
            key: String::new(),
        };
        control.until(|| is_ready(&ready)).await?;
        let key = std::fs::read_to_string(data.join("operator.key")).context("no operator.key")?;
        let operator = Api {
            address: api,
            key: key.trim().to_owned(),
        };
        let (tokens, pem) = populate(&operator, upstream).await?;
        let root = folder.join("tenant.pem");
        std::fs::write(&root, pem)?;
        Ok(Self {
            control,
            folder: folder.to_owned(),
            operator,
            root,
            tokens,
        })
    }

    /// The tenant's root certificate.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Session tokens.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Joins a gateway to it and waits until it brokers a request.
    ///
    /// # Errors
    /// When it does not start, or its first request is not brokered as it should be.
    pub async fn add_gateway(&self, plan: &GatewayPlan<'_>) -> Result<(Process, SocketAddr)> {
        let join = json!({"name": format!("bench-{}", plan.name)});
        let join = self
            .operator
            .call(Method::POST, "/v1/gateways:join", &join)
            .await?;
        let (proxy, admin) = (free_address()?, free_address()?);
        let config = self.folder.join(format!("gateway-{}.toml", plan.name));
        self.write_gateway(plan, &config, [proxy, admin])?;
        let mut command = Command::new(plan.program);
        command
            .arg("--config")
            .arg(&config)
            .env("SORTIE_GATEWAY__JOIN", text(&join, "/join")?);
        let name = format!("gateway-{}", plan.name);
        let mut process = Process::start(&name, &self.folder, &mut command)?;
        let ready = Api {
            address: admin,
            key: String::new(),
        };
        process.until(|| is_ready(&ready)).await?;
        self.check(proxy, plan.upstream)
            .await
            .with_context(|| format!("{name}:\n{}", process.output()))?;
        Ok((process, proxy))
    }

    fn write_gateway(
        &self,
        plan: &GatewayPlan<'_>,
        config: &Path,
        [proxy, admin]: [SocketAddr; 2],
    ) -> Result<()> {
        let data = self.folder.join(format!("gateway-{}", plan.name));
        let upstream_root = self.folder.join("ca.pem");
        let mut file = std::fs::File::create(config)?;
        write!(
            file,
            "data_dir = {data:?}\nname = \"bench-{}\"\n[proxy]\nlisten = [\"{proxy}\"]\nworkers = 1\n\
             [admin]\nlisten = \"{admin}\"\n[upstream]\nextra_roots = [{upstream_root:?}]\n\
             hosts = {{ \"{HOST}\" = [\"127.0.0.1\"] }}\n",
            plan.name
        )?;
        if let Some(more) = plan.more {
            file.write_all(&std::fs::read(more)?)?;
        }
        Ok(())
    }

    /// Makes one request by hand: what is measured must inject and mask.
    async fn check(&self, proxy: SocketAddr, upstream: u16) -> Result<()> {
        let authority = format!("{HOST}:{upstream}");
        let token = self.tokens.first().context("no token")?;
        let stream = client::tunnel(proxy, &authority, token).await?;
        let tls = client::trusting(&self.root, &["http/1.1"])?;
        let mut stream = client::secure(tls, HOST, stream).await?;
        let answer = client::get(&mut stream, &authority, "/json").await?;
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(
            answer.status == 200,
            "the first request was answered {}: {body}",
            answer.status
        );
        ensure!(!body.contains(VALUE), "the credential was not masked");
        ensure!(body.contains("Bearer "), "no credential was injected");
        Ok(())
    }

    /// Ends it.
    pub async fn stop(self) {
        self.control.stop().await;
    }
}

/// A gateway to be started.
#[derive(Debug, Clone, Copy)]
pub struct GatewayPlan<'a> {
    /// What the build is called.
    pub name: &'a str,
    /// The program.
    pub program: &'a Path,
    /// The upstream's port.
    pub upstream: u16,
    /// TOML to be added to its configuration.
    pub more: Option<&'a Path>,
}

async fn is_ready(admin: &Api) -> bool {
    admin.text("/readyz", "*/*").await.is_ok()
}

/// Makes the tenant and all in it; returns session tokens and the tenant's root.
async fn populate(operator: &Api, upstream: u16) -> Result<(Vec<String>, String)> {
    let tenant = json!({"name": "bench", "private_allow": ["127.0.0.0/8"]});
    let tenant = operator.call(Method::POST, "/v1/tenants", &tenant).await?;
    let owner = Api {
        address: operator.address,
        key: text(&tenant, "/owner_key")?,
    };
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|_| json!({"agent": "bench", "vaults": ["bench"], "ttl_seconds": 86_400}))
        .collect();
    let steps = [
        (
            Method::POST,
            "/v1/tenants/-/vaults",
            json!({"name": "bench"}),
        ),
        (
            Method::PUT,
            "/v1/tenants/-/vaults/bench/credentials/API_KEY",
            json!({"value": VALUE, "destinations": [{"host": HOST}]}),
        ),
        (
            Method::PUT,
            "/v1/tenants/-/vaults/bench/services/api",
            json!({"host": HOST, "port": upstream, "inject": [{"type": "bearer", "credential": "API_KEY"}]}),
        ),
        (
            Method::POST,
            "/v1/tenants/-/agents",
            json!({"name": "bench"}),
        ),
        (
            Method::PUT,
            "/v1/tenants/-/vaults/bench/grants/bench",
            json!({"role": "user"}),
        ),
    ];
    for (method, path, body) in steps {
        owner.call(method, path, &body).await?;
    }
    let batch = json!({"sessions": sessions});
    let minted = owner
        .call(Method::POST, "/v1/tenants/-/sessions:batchMint", &batch)
        .await?;
    let minted = minted
        .get("sessions")
        .and_then(Value::as_array)
        .context("no sessions")?;
    let tokens = minted
        .iter()
        .map(|session| text(session, "/token"))
        .collect::<Result<_>>()?;
    let pem = owner
        .text("/v1/tenants/-/authority", "application/x-pem-file")
        .await?;
    Ok((tokens, pem))
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    Ok(found
        .with_context(|| format!("the answer has no {pointer}"))?
        .to_owned())
}
