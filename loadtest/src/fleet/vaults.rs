//! Vaults in any number, and who of the nodes holds which, with sessions' tokens to show for it.

use std::str::FromStr as _;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hyper::Method;
use prost::Message as _;
use serde_json::{Value, json};
use sortie_proto::id::{ServiceId, VaultId};
use sortie_proto::wire::v1;
use tokio_postgres::Client;

use super::node::Holds;
use crate::bench::report::say;
use crate::bench::rest::Kept;
use crate::bench::stand::HOST;
use crate::cluster::{Cluster, Session, Tenant};

/// How many calls are under way at once.
const AT_ONCE: usize = 32;
/// How many rows a statement inserts.
const ROWS: usize = 5_000;
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
    /// Makes so many, each with a credential, a service that injects it, and an agent that may use it.
    ///
    /// # Errors
    /// When control refuses.
    pub async fn make(cluster: &Cluster, count: usize) -> Result<Self> {
        say(&format!("making {count} vaults"));
        let api = cluster.tenant(0)?.owner();
        let path = format!("/v1/tenants/-/vaults/{SHARED}");
        let shared = api.call(Method::GET, &path, &Value::Null).await?;
        // Each caller keeps its connection, and makes every so many-th.
        let callers = stream::iter(0..AT_ONCE).map(async |caller| {
            let mut api = Kept::connect(api).await?;
            let mut made = Vec::new();
            for index in (caller..count).step_by(AT_ONCE) {
                made.push(make(&mut api, index).await?);
            }
            anyhow::Ok(made)
        });
        let own: Vec<Vec<_>> = callers.buffered(AT_ONCE).try_collect().await?;
        let vaults = Self {
            shared: vault(&shared)?,
            own: own.into_iter().flatten().collect(),
        };
        let copied = cluster.in_database(async |database| copy(database, &vaults.own).await);
        copied.await?;
        Ok(vaults)
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

/// Makes a vault and its credential, which control seals.
async fn make(api: &mut Kept, index: usize) -> Result<Vault> {
    let name = format!("v{index}");
    let made = json!({"name": name}).to_string();
    let made = api.call(Method::POST, "/v1/tenants/-/vaults", made).await?;
    let path = format!("/v1/tenants/-/vaults/{name}/credentials/API_KEY");
    let value = credential(index).to_string();
    api.call(Method::PUT, &path, value).await?;
    vault(&serde_json::from_slice(&made)?)
}

/// Gives vaults the service and the grant that the shared one has. In the database, since a hundred thousand vaults take
/// long enough with two calls each; nobody follows them yet, so that nobody has to be told.
async fn copy(database: &Client, vaults: &[Vault]) -> Result<()> {
    const SERVICE: &str = "SELECT s.spec FROM services s JOIN vaults v ON v.id = s.vault_id \
                           WHERE v.name = $1 AND s.name = 'api'";
    const SERVICES: &str = "INSERT INTO services (id, tenant_id, vault_id, name, enabled, spec) \
                            SELECT encode(n.id, 'hex')::uuid, v.tenant_id, v.id, 'api', true, n.spec \
                            FROM UNNEST($1::bytea[], $2::bytea[], $3::bytea[]) AS n (id, vault, spec) \
                            JOIN vaults v ON v.id = encode(n.vault, 'hex')::uuid";
    const GRANTS: &str = "INSERT INTO grants (tenant_id, vault_id, agent_id, role) \
                          SELECT v.tenant_id, v.id, g.agent_id, g.role FROM vaults v \
                          JOIN grants g ON g.tenant_id = v.tenant_id JOIN vaults f ON f.id = g.vault_id \
                          WHERE f.name = $1 ON CONFLICT DO NOTHING";
    let row = database.query_one(SERVICE, &[&SHARED]).await?;
    let service = v1::Service::decode(row.try_get::<_, &[u8]>(0)?)?;
    for few in vaults.chunks(ROWS) {
        let (mut ids, mut of, mut specs) = (Vec::new(), Vec::new(), Vec::new());
        for vault in few {
            let id = ServiceId::generate().to_bytes();
            let spec = v1::Service {
                id: id.clone(),
                vault_id: vault.id.clone(),
                ..service.clone()
            };
            ids.push(id);
            of.push(vault.id.clone());
            specs.push(spec.encode_to_vec());
        }
        database.execute(SERVICES, &[&ids, &of, &specs]).await?;
    }
    database.execute(GRANTS, &[&SHARED]).await?;
    Ok(())
}

/// A credential of usual length; another for each number.
pub(super) fn credential(number: usize) -> Value {
    let value = format!("fleet-{number:08}-5f1e0c7a9b3d4862a1c0e7f4-key");
    json!({"value": value, "destinations": [{"host": HOST}]})
}

fn vault(view: &Value) -> Result<Vault> {
    let text = |name: &str| view.get(name).and_then(Value::as_str);
    let id = VaultId::from_str(text("id").context("no id")?)?;
    Ok(Vault {
        name: text("name").context("no name")?.to_owned(),
        id: id.to_bytes(),
    })
}
