//! Vaults: made, changed, revoked and deleted with all that they hold.

use serde_json::json;
use sortie_proto::agent::{Revocation, RevokedSubject};
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::code::Code;
use sortie_proto::id::VaultId;
use sortie_proto::vault::{STALENESS_DEFAULT, STALENESS_MAX, STALENESS_MIN, VaultMode};
use sortie_proto::wire::v1;

use super::fields::{self, Problems};
use super::page::Page;
use super::{Context, Draft, Wait, last_token_ends, not_found, record_in};
use crate::access::{Authorized, Manage, Read};
use crate::database::vaults::{self as rows, VaultRow, VaultUpdate};
use crate::database::{Reference, changes};
use crate::error::{Error, Result};

fn view(row: VaultRow) -> v1::VaultView {
    let vault = row.vault;
    v1::VaultView {
        id: vault.id.to_string(),
        tenant_id: vault.tenant.to_string(),
        name: vault.name,
        enabled: vault.enabled,
        mode: vault.mode.name().to_owned(),
        staleness_seconds: u32::try_from(vault.staleness.as_secs()).unwrap_or(u32::MAX),
        durable: vault.durable,
        version: vault.version,
        created_at: row.created_at.to_string(),
        limits: (&vault.limits).into(),
        session_limits: (&vault.session_limits).into(),
    }
}

fn mode(name: &str) -> Result<VaultMode, &'static str> {
    VaultMode::from_name(name).ok_or("must be `deny` or `observe`")
}

fn staleness(seconds: u32) -> Result<u32, &'static str> {
    if (STALENESS_MIN.as_secs()..=STALENESS_MAX.as_secs()).contains(&seconds.into()) {
        Ok(seconds)
    } else {
        Err("must be 30 to 86,400 seconds")
    }
}

/// Makes a vault with its data key.
///
/// # Errors
/// `invalid_argument`, `already_exists`, or as the database's.
pub async fn create(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::CreateVaultRequest,
) -> Result<v1::VaultView> {
    let mut problems = Problems::default();
    problems.take("name", fields::name(&request.name));
    let mode = match request.mode.as_str() {
        "" => Some(VaultMode::Deny),
        name => problems.take("mode", mode(name)),
    };
    let seconds = match request.staleness_seconds {
        0 => u32::try_from(STALENESS_DEFAULT.as_secs()).ok(),
        seconds => problems.take("staleness_seconds", staleness(seconds)),
    };
    problems.finish()?;
    let (mode, seconds) = mode
        .zip(seconds)
        .ok_or_else(|| Error::new(Code::InvalidArgument))?;
    let (tenant, vault) = (by.tenant(), VaultId::generate());
    let tx = cx.database.tenant(tenant).await?;
    let row = rows::insert(&tx, (tenant, vault), &request.name, mode, seconds)
        .await?
        .ok_or_else(|| Error::new(Code::AlreadyExists))?;
    cx.keys.create_vault(&tx, tenant, vault).await?;
    let object = Object::Vault(row.vault.clone());
    changes::publish(&tx, Some(tenant), Some(vault), &object).await?;
    let draft = Draft {
        action: "vault.create",
        subject: request.name,
        vault: Some(vault),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    cx.settle(tx).await?;
    Ok(view(row))
}

/// Describes a vault.
///
/// # Errors
/// `not_found`, or as the database's.
pub async fn get(cx: &Context, by: &Authorized<Read>, vault: &str) -> Result<v1::VaultView> {
    let tx = cx.database.read(by.tenant()).await?;
    let row = rows::get(&tx, by.tenant(), Reference::read(vault, VaultId::uuid)).await?;
    tx.commit().await?;
    row.map(view).ok_or_else(not_found)
}

/// Lists the vaults of a tenant.
///
/// # Errors
/// `invalid_argument`, or as the database's.
pub async fn list(
    cx: &Context,
    by: &Authorized<Read>,
    request: v1::ListVaultsRequest,
) -> Result<v1::ListVaultsResponse> {
    let page = Page::read(request.page)?;
    let tx = cx.database.read(by.tenant()).await?;
    let mut rows = rows::list(&tx, by.tenant(), page.after.map(Into::into), page.limit()).await?;
    tx.commit().await?;
    let next_page_token = page.cut(&mut rows, |row| row.vault.id.uuid());
    Ok(v1::ListVaultsResponse {
        vaults: rows.into_iter().map(view).collect(),
        next_page_token,
    })
}

/// Changes a vault's settings.
///
/// # Errors
/// `invalid_argument`, `not_found`, or as the database's.
pub async fn update(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::UpdateVaultRequest,
) -> Result<v1::VaultView> {
    let mut problems = Problems::default();
    let update = VaultUpdate {
        enabled: request.enabled,
        mode: request
            .mode
            .and_then(|name| problems.take("mode", mode(&name))),
        staleness_seconds: request
            .staleness_seconds
            .and_then(|seconds| problems.take("staleness_seconds", staleness(seconds))),
        durable: request.durable,
        limits: (request.limits).map(|spec| fields::limits(&mut problems, "limits", spec)),
        session_limits: (request.session_limits)
            .map(|spec| fields::limits(&mut problems, "session_limits", spec)),
    };
    problems.finish()?;
    let tx = cx.database.tenant(by.tenant()).await?;
    let reference = Reference::read(&request.vault, VaultId::uuid);
    let row = rows::update(&tx, by.tenant(), reference, update)
        .await?
        .ok_or_else(not_found)?;
    let vault = row.vault.clone();
    let draft = Draft {
        action: "vault.update",
        subject: vault.name.clone(),
        vault: Some(vault.id),
        detail: json!({
            "enabled": vault.enabled,
            "mode": vault.mode.name(),
            "staleness_seconds": vault.staleness.as_secs(),
            "durable": vault.durable,
            "limits": Option::<v1::LimitsSpec>::from(&vault.limits),
            "session_limits": Option::<v1::LimitsSpec>::from(&vault.session_limits),
        }),
        ..Draft::default()
    };
    let id = vault.id;
    changes::publish(&tx, Some(by.tenant()), Some(id), &Object::Vault(vault)).await?;
    record_in(&tx, by, draft).await?;
    cx.settle(tx).await?;
    Ok(view(row))
}

/// Deletes a vault with all that it holds.
///
/// # Errors
/// `not_found`, or as the database's.
pub async fn delete(cx: &Context, by: &Authorized<Manage>, vault: &str) -> Result<v1::Deleted> {
    let tx = cx.database.tenant(by.tenant()).await?;
    let row = rows::delete(&tx, by.tenant(), Reference::read(vault, VaultId::uuid))
        .await?
        .ok_or_else(not_found)?;
    let id = row.vault.id;
    let object = Object::Tombstone(Tombstone::Vault(id));
    changes::publish(&tx, Some(by.tenant()), Some(id), &object).await?;
    let draft = Draft {
        action: "vault.delete",
        subject: row.vault.name,
        vault: Some(id),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?.to_string();
    Ok(v1::Deleted { revision })
}

/// Refuses every token of a vault that is out, and waits for gateways as the request says.
///
/// # Errors
/// `invalid_argument`, `not_found`, or as the database's.
pub async fn revoke(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::RevokeVaultRequest,
) -> Result<v1::Revoked> {
    let wait = Wait::read(request.wait_seconds)?;
    let tx = cx.database.tenant(by.tenant()).await?;
    let row = rows::raise(
        &tx,
        by.tenant(),
        Reference::read(&request.vault, VaultId::uuid),
    )
    .await?
    .ok_or_else(not_found)?;
    let vault = row.vault;
    let revocation = Revocation {
        tenant: by.tenant(),
        subject: RevokedSubject::Vault(vault.id, vault.generation),
        expires_at: last_token_ends(),
    };
    let draft = Draft {
        action: "vault.revoke",
        subject: vault.name.clone(),
        vault: Some(vault.id),
        detail: json!({ "generation": vault.generation }),
        ..Draft::default()
    };
    changes::revoke(&tx, &revocation).await?;
    let id = vault.id;
    changes::publish(&tx, Some(by.tenant()), Some(id), &Object::Vault(vault)).await?;
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?;
    Ok(wait.answer(cx, (by.tenant(), Some(id)), revision).await)
}
