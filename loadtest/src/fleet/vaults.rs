//! Vaults in any number, and who of the nodes holds which, with sessions' tokens to show for it.

use std::str::FromStr as _;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hyper::Method;
use serde_json::{Value, json};
use sortie_proto::id::VaultId;

use super::node::Holds;
use crate::bench::report::say;
use crate::bench::rest::Api;
use crate::cluster::{Session, Tenant};

/// How many calls are under way at once.
const AT_ONCE: usize = 24;
/// The most vaults of a session.
const PER_SESSION: usize = 8;
/// The vault that every node holds.
const SHARED: &str = "main";

/// A vault.
#[derive(Debug, Clone)]
pub struct Vault {
    name: String,
    id: Vec<u8>,
}

impl Vault {
    /// What admins call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// All vaults of a measurement.
#[derive(Debug)]
pub struct Vaults {
    /// One that every node holds.
    shared: Vault,
    /// The others.
    own: Vec<Vault>,
}

impl Vaults {
    /// Makes so many, each with an agent that may use it.
    ///
    /// # Errors
    /// When control refuses.
    pub async fn make(tenant: &Tenant, count: usize) -> Result<Self> {
        say(&format!("making {count} vaults"));
        let api = tenant.owner();
        let path = format!("/v1/tenants/-/vaults/{SHARED}");
        let shared = api.call(Method::GET, &path, &Value::Null).await?;
        let own = stream::iter(0..count).map(|index| make(api, index));
        Ok(Self {
            shared: vault(&shared)?,
            own: own.buffered(AT_ONCE).try_collect().await?,
        })
    }

    /// The vaults that only some nodes hold.
    #[must_use]
    pub fn own(&self) -> &[Vault] {
        &self.own
    }

    /// Gives each node the shared vault and its part of the others, each of them to so many nodes.
    ///
    /// # Errors
    /// When control mints no sessions.
    pub async fn hand_out(
        &self,
        tenant: &Tenant,
        (nodes, copies): (usize, usize),
    ) -> Result<Vec<Vec<Holds>>> {
        let shares: Vec<Vec<Vault>> = (0..nodes)
            .map(|node| {
                let of_node =
                    |index: &usize| (0..copies).any(|copy| (index + copy) % nodes == node);
                let indices = (0..self.own.len()).filter(of_node);
                let mut share: Vec<_> = indices
                    .filter_map(|index| self.own.get(index))
                    .cloned()
                    .collect();
                share.push(self.shared.clone());
                share
            })
            .collect();
        say("minting the nodes' sessions");
        let each = stream::iter(shares).map(|share| tokens(tenant, share));
        each.buffered(AT_ONCE).try_collect().await
    }
}

/// A session for every few vaults of a node.
async fn tokens(tenant: &Tenant, share: Vec<Vault>) -> Result<Vec<Holds>> {
    let mut holds = Vec::with_capacity(share.len());
    for few in share.chunks(PER_SESSION) {
        let names: Vec<_> = few.iter().map(|vault| vault.name.as_str()).collect();
        let sessions = tenant.mint_for(1, &names).await?;
        let token: Arc<str> = sessions
            .first()
            .map(Session::token)
            .context("no session")?
            .into();
        holds.extend(few.iter().map(|vault| Holds {
            vault: vault.id.clone(),
            token: Arc::clone(&token),
        }));
    }
    Ok(holds)
}

async fn make(api: &Api, index: usize) -> Result<Vault> {
    let name = format!("v{index}");
    let made = json!({"name": name});
    let made = api
        .call(Method::POST, "/v1/tenants/-/vaults", &made)
        .await?;
    let path = format!("/v1/tenants/-/vaults/{name}/grants/agent");
    api.call(Method::PUT, &path, &json!({"role": "user"}))
        .await?;
    vault(&made)
}

fn vault(view: &Value) -> Result<Vault> {
    let text = |name: &str| view.get(name).and_then(Value::as_str);
    let id = VaultId::from_str(text("id").context("no id")?)?;
    Ok(Vault {
        name: text("name").context("no name")?.to_owned(),
        id: id.to_bytes(),
    })
}
