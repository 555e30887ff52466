//! A tenant as an administrator sets it up over REST: vault, credential, services, agent, sessions.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hyper::Method;
use serde_json::{Value, json};

use super::DOMAIN;
use crate::bench::rest::Api;
use crate::bench::stand::HOST;

/// The most sessions that one call mints.
const BATCH: usize = 1000;
/// So many requests, and bytes, a second as nobody here makes.
const LIMIT: u64 = 1_000_000_000_000;
/// How long sessions last: longer than any measurement.
const TTL_SECONDS: u32 = 86_400;

/// A session. Its token is not printed.
#[derive(Clone)]
pub struct Session {
    id: String,
    token: String,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Its id, by which it is revoked.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the agent shows.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// Writes sessions' tokens into a new file for the owner only, a line each.
///
/// # Errors
/// When the file is there already, or cannot be written.
pub fn write_tokens(file: &Path, sessions: &[Session]) -> Result<()> {
    let tokens: Vec<_> = sessions.iter().map(Session::token).collect();
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(file);
    Ok(file?.write_all(tokens.join("\n").as_bytes())?)
}

/// A tenant.
#[derive(Debug, Clone)]
pub struct Tenant {
    owner: Api,
    root: PathBuf,
    value: String,
    agent: String,
    vault: String,
}

impl Tenant {
    /// Makes one with a vault `main`, a service for each host of the upstream, and an agent that may use it; all of them
    /// limited, if wanted, so high that nothing is refused for it: requests and bytes are counted for each.
    ///
    /// # Errors
    /// When control refuses a call.
    pub async fn make(
        operator: &Api,
        name: &str,
        (folder, upstream): (&Path, u16),
        limited: bool,
    ) -> Result<Self> {
        let made = json!({"name": name, "private_allow": ["127.0.0.0/8"]});
        let made = operator.call(Method::POST, "/v1/tenants", &made).await?;
        let owner = Api {
            address: operator.address,
            key: text(&made, "/owner_key")?,
        };
        // Of the length of a usual API key, and each tenant's its own: a mix-up would be seen.
        let value = format!("load-{name:x<12}-5f1e0c7a9b3d4862a1c0e7f4-key");
        let any = format!("*.{DOMAIN}");
        let rate = json!({"count": LIMIT, "per": "second"});
        let limits = limited.then(|| json!({"requests": rate, "bytes": rate}));
        let service = |host: &str| {
            let inject = json!([{"type": "bearer", "credential": "API_KEY"}]);
            json!({"host": host, "port": upstream, "inject": inject, "limits": limits})
        };
        let vault = "/v1/tenants/-/vaults/main";
        let steps = [
            (
                Method::POST,
                "/v1/tenants/-/vaults".to_owned(),
                json!({"name": "main"}),
            ),
            (
                Method::PUT,
                format!("{vault}/credentials/API_KEY"),
                json!({"value": value, "destinations": [{"host": HOST}, {"host": any}]}),
            ),
            (Method::PUT, format!("{vault}/services/api"), service(HOST)),
            (
                Method::PUT,
                format!("{vault}/services/hosts"),
                service(&any),
            ),
            (
                Method::POST,
                "/v1/tenants/-/agents".to_owned(),
                json!({"name": "agent"}),
            ),
            (
                Method::PUT,
                format!("{vault}/grants/agent"),
                json!({"role": "user"}),
            ),
        ];
        for (method, path, body) in steps {
            owner.call(method, &path, &body).await?;
        }
        let tenant = Self {
            root: write_root(&owner, folder, name).await?,
            owner,
            value,
            agent: "agent".to_owned(),
            vault: "main".to_owned(),
        };
        if let Some(limits) = &limits {
            tenant.limit(operator, (name, limits)).await?;
        }
        Ok(tenant)
    }

    /// Sets limits on all that can have some beside services.
    async fn limit(&self, operator: &Api, (name, limits): (&str, &Value)) -> Result<()> {
        let own = json!({"limits": limits});
        let path = format!("/v1/tenants/{name}");
        operator.call(Method::PATCH, &path, &own).await?;
        let both = json!({"limits": limits, "session_limits": limits});
        for path in [
            format!("/v1/tenants/-/agents/{}", self.agent),
            format!("/v1/tenants/-/vaults/{}", self.vault),
        ] {
            self.owner.call(Method::PATCH, &path, &both).await?;
        }
        Ok(())
    }

    /// One that is there: with the key of its admin, an agent of it, and a vault that this may use. What its
    /// credentials are is not known.
    ///
    /// # Errors
    /// When control refuses a call.
    pub async fn given(owner: Api, agent: &str, vault: &str) -> Result<Self> {
        let name = format!("sortie-load-{}", std::process::id());
        Ok(Self {
            root: write_root(&owner, &std::env::temp_dir(), &name).await?,
            owner,
            value: String::new(),
            agent: agent.to_owned(),
            vault: vault.to_owned(),
        })
    }

    /// Mints sessions, in batches.
    ///
    /// # Errors
    /// When control refuses.
    pub async fn mint(&self, count: usize) -> Result<Vec<Session>> {
        self.mint_for(count, &[&self.vault]).await
    }

    /// Mints sessions for some of its vaults.
    ///
    /// # Errors
    /// When control refuses.
    pub async fn mint_for(&self, count: usize, vaults: &[&str]) -> Result<Vec<Session>> {
        let one = json!({"agent": self.agent, "vaults": vaults, "ttl_seconds": TTL_SECONDS});
        let mut sessions = Vec::with_capacity(count);
        while sessions.len() < count {
            let wanted = vec![one.clone(); BATCH.min(count - sessions.len())];
            let batch = json!({"sessions": wanted});
            let path = "/v1/tenants/-/sessions:batchMint";
            let minted = self.owner.call(Method::POST, path, &batch).await?;
            let minted = minted.get("sessions").and_then(Value::as_array);
            for session in minted.context("no sessions")? {
                sessions.push(Session {
                    id: text(session, "/id")?,
                    token: text(session, "/token")?,
                });
            }
        }
        Ok(sessions)
    }

    /// Revokes a session, and waits until gateways enforce it, or so many seconds. Answers what control says.
    ///
    /// # Errors
    /// When control refuses.
    pub async fn revoke(&self, session: &str, wait_seconds: u32) -> Result<Value> {
        let path = format!("/v1/tenants/-/sessions/{session}:revoke");
        let body = json!({"wait_seconds": wait_seconds});
        self.owner.call(Method::POST, &path, &body).await
    }

    /// The API, with its owner's key.
    #[must_use]
    pub fn owner(&self) -> &Api {
        &self.owner
    }

    /// The root that its agents trust.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The credential's value: no answer may hold it.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

async fn write_root(owner: &Api, folder: &Path, name: &str) -> Result<PathBuf> {
    let pem = owner.text("/v1/tenants/-/authority", "application/x-pem-file");
    let file = folder.join(format!("{name}.pem"));
    std::fs::write(&file, pem.await?)?;
    Ok(file)
}

/// A text in an answer.
///
/// # Errors
/// When it is not there.
pub(crate) fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    Ok(found
        .with_context(|| format!("the answer has no {pointer}"))?
        .to_owned())
}
