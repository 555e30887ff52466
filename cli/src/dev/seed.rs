//! The demo tenant and all that the demonstration needs, made once and found again.
//!
//! Invariants: the credential's value is made here, sent to control and forgotten: only its fingerprint is kept. Keys
//! that control gives out once are written to private files before anything else is done.

use std::fs;

use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sortie_proto::secret::Secret;

use super::layout::{HOST, Layout};
use super::upstream::fingerprint;
use crate::client::Client;
use crate::config::{self, Profile, write_private};
use crate::error::{Error, Result};
use crate::verbs;

pub(super) const TENANT: &str = "demo";
pub(super) const VAULT: &str = "default";
pub(super) const CREDENTIAL: &str = "DEMO_API_KEY";
pub(super) const SERVICE: &str = "demo-api";
pub(super) const AGENT: &str = "dev-agent";
/// The profile that `sortie run` and the verbs use.
pub(super) const PROFILE: &str = "dev";

/// How long the session of a `sortie dev` lasts: a day of work.
const SESSION_SECONDS: u32 = 12 * 3600;
/// How long the session of a `sortie dev --once` lasts.
const ONCE_SECONDS: u32 = 600;
/// Characters of the demo credential.
const VALUE_LENGTH: usize = 40;

/// What the demonstration uses.
#[derive(Debug)]
pub(super) struct Demo {
    /// The session's token.
    pub(super) token: Secret,
    /// What the upstream must see.
    pub(super) fingerprint: String,
}

/// What is remembered from start to start.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    fingerprint: String,
    port: u16,
}

/// Makes what is missing.
///
/// # Errors
/// Whatever control refuses.
pub(super) async fn seed(layout: &Layout, operator: &Client, once: bool) -> Result<Demo> {
    let owner = tenant(layout, operator).await?;
    // It observes: an agent's own traffic works from the first minute, and `sortie service suggest` lists it.
    made(
        owner
            .post(
                &["tenants", "-", "vaults"],
                "",
                &json!({"name": VAULT, "mode": "observe"}),
            )
            .await,
    )?;
    let fingerprint = credential_and_service(layout, &owner).await?;
    agent(layout, &owner).await?;
    let path = ["tenants", "-", "authority"];
    let authority = owner.text(&path, "application/x-pem-file").await?;
    write_private(&layout.demo("ca.pem"), authority.as_bytes())?;
    let token = session(&owner, if once { ONCE_SECONDS } else { SESSION_SECONDS }).await?;
    Ok(Demo { token, fingerprint })
}

/// The tenant, as a client with its owner's key.
async fn tenant(layout: &Layout, operator: &Client) -> Result<Client> {
    let file = layout.demo("owner.key");
    if !file.exists() {
        let body = json!({"name": TENANT, "private_allow": ["127.0.0.1/32"]});
        let answer = operator
            .post(&["tenants"], "", &body)
            .await
            .map_err(|error| {
                if !error.is_conflict() {
                    return error;
                }
                Error::failed(
                    format!(
                        "the tenant `{TENANT}` is there, but its key is not in {}",
                        file.display()
                    ),
                    format!("Remove {} to start anew.", layout.folder().display()),
                )
            })?;
        let key = answer
            .get("owner_key")
            .and_then(Value::as_str)
            .unwrap_or_default();
        write_private(&file, key.as_bytes())?;
    }
    Client::new(&layout.api(), &config::read_key(&file)?, false)
}

async fn credential_and_service(layout: &Layout, owner: &Client) -> Result<String> {
    let file = layout.demo("state.json");
    let remembered = fs::read(&file)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Remembered>(&bytes).ok())
        .filter(|remembered| remembered.port == layout.upstream_port());
    if let Some(remembered) = remembered
        && is_there(owner, "credentials", CREDENTIAL).await?
        && is_there(owner, "services", SERVICE).await?
    {
        return Ok(remembered.fingerprint);
    }
    let value = random_value();
    let remember = Remembered {
        fingerprint: fingerprint(value.expose()),
        port: layout.upstream_port(),
    };
    let destination = json!({"host": HOST, "port": remember.port});
    let body = verbs::credential_body(&value, &[destination], None);
    owner
        .put(&in_vault(&["credentials", CREDENTIAL]), &body)
        .await?;
    let body = json!({
        "host": HOST,
        "port": remember.port,
        "inject": [{"type": "bearer", "credential": CREDENTIAL}],
        "placeholders": {"credentials": [CREDENTIAL], "surfaces": ["header", "query"]},
    });
    owner.put(&in_vault(&["services", SERVICE]), &body).await?;
    // Last: a start that is broken off before sets everything again.
    let text =
        serde_json::to_vec(&remember).map_err(|error| Error::system("write JSON", error.into()))?;
    write_private(&file, &text)?;
    Ok(remember.fingerprint)
}

async fn agent(layout: &Layout, owner: &Client) -> Result<()> {
    let answer = owner
        .post(&["tenants", "-", "agents"], "", &json!({"name": AGENT}))
        .await;
    if let Some(answer) = made(answer)? {
        let key = answer
            .get("key")
            .and_then(Value::as_str)
            .unwrap_or_default();
        write_private(&layout.demo("dev-agent.key"), key.as_bytes())?;
    }
    owner
        .put(&in_vault(&["grants", AGENT]), &json!({"role": "user"}))
        .await?;
    Ok(())
}

async fn session(owner: &Client, seconds: u32) -> Result<Secret> {
    let body = json!({
        "agent": AGENT,
        "vaults": [VAULT],
        "ttl_seconds": seconds,
        "labels": {"run": "sortie-dev"},
    });
    let minted = owner.post(&["tenants", "-", "sessions"], "", &body).await?;
    let token = minted
        .get("token")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(Secret::new(token.as_bytes().to_vec()))
}

/// Lets the verbs and `sortie run` find this cluster.
///
/// # Errors
/// As [`config::write_profile`].
pub(super) fn write_profile(layout: &Layout) -> Result<()> {
    let profile = Profile {
        api_url: Some(layout.api()),
        key_file: Some(layout.demo("owner.key")),
        tenant: None,
        vault: Some(VAULT.to_owned()),
        agent: Some(AGENT.to_owned()),
        proxy: Some(layout.proxy()),
    };
    config::write_profile(&config::profiles_path()?, PROFILE, profile)
}

fn in_vault<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    let mut path = vec!["tenants", "-", "vaults", VAULT];
    path.extend(rest);
    path
}

async fn is_there(owner: &Client, kind: &str, name: &str) -> Result<bool> {
    match owner.get(&in_vault(&[kind, name])).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The answer, or nothing if the object was there before.
fn made(answer: Result<Value>) -> Result<Option<Value>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_conflict() => Ok(None),
        Err(error) => Err(error),
    }
}

fn random_value() -> Secret {
    let mut value = Vec::with_capacity(5 + VALUE_LENGTH);
    value.extend_from_slice(b"demo_");
    value.extend(rand::rng().sample_iter(Alphanumeric).take(VALUE_LENGTH));
    Secret::new(value)
}
