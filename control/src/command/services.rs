//! Services of a vault, of which no two may claim the same requests.

use std::sync::Arc;

use sortie_proto::change::{Object, Tombstone};
use sortie_proto::code::Code;
use sortie_proto::id::{ServiceId, VaultId};
use sortie_proto::matching::Index;
use sortie_proto::service::Service;
use sortie_proto::wire::v1;

use super::fields::{self, Problems};
use super::page::Page;
use super::{
    Context, Draft, check_size, lock_vault, not_found, record_in, require, spec, vault_of,
};
use crate::access::{Authorized, Manage, Read};
use crate::database::services::{self as rows, ServiceRow};
use crate::database::{Reference, Transaction, changes};
use crate::error::{Error, Result};

/// The most services that a vault may have.
const PER_VAULT_MAX: usize = 1_000;

fn view(row: &ServiceRow) -> v1::ServiceView {
    v1::ServiceView {
        id: row.service.id.to_string(),
        name: row.service.name.clone(),
        version: row.service.version,
        spec: Some(spec::show_service(&row.service)),
        created_at: row.created_at.to_string(),
        updated_at: row.updated_at.to_string(),
        warnings: Vec::new(),
    }
}

/// Adds a service, or replaces it.
///
/// # Errors
/// `invalid_argument`, `not_found` for the vault, `ambiguous_service`, `resource_exhausted`, or as the database's.
pub async fn put(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::PutServiceRequest,
) -> Result<v1::ServiceView> {
    let mut problems = Problems::default();
    problems.take("name", fields::name(&request.name));
    let wanted = spec::service(&mut problems, request.spec.unwrap_or_default());
    problems.finish()?;
    let mut wanted = wanted.ok_or_else(|| Error::new(Code::InvalidArgument))?;
    wanted.name = request.name;
    let tx = cx.database.tenant(by.tenant()).await?;
    let vault = lock_vault(&tx, by, &request.vault).await?;
    wanted.vault = vault.id;
    place(&tx, by, &mut wanted).await?;
    let row = rows::put(&tx, by.tenant(), &wanted).await?;
    check_size(&tx, by, vault.id).await?;
    let warnings = require::warnings(&tx, by.tenant(), &wanted, &vault.name).await?;
    let draft = Draft {
        action: "service.put",
        subject: wanted.name.clone(),
        vault: Some(vault.id),
        detail: serde_json::to_value(spec::show_service(&wanted)).map_err(Error::internal)?,
        ..Draft::default()
    };
    let object = Object::Service(Arc::new(wanted));
    changes::publish(&tx, Some(by.tenant()), Some(vault.id), &object).await?;
    record_in(&tx, by, draft).await?;
    cx.settle(tx).await?;
    Ok(v1::ServiceView {
        warnings,
        ..view(&row)
    })
}

/// Finds the place of a service among the others of its vault, which is locked: its id and version, and that no other
/// claims the same requests.
async fn place(tx: &Transaction, by: &Authorized<Manage>, wanted: &mut Service) -> Result<()> {
    let everything = i64::try_from(PER_VAULT_MAX).map_err(Error::internal)?;
    let rows = rows::list(tx, (by.tenant(), wanted.vault), None, everything).await?;
    let mut services = Vec::with_capacity(rows.len() + 1);
    for row in rows {
        if row.service.name == wanted.name {
            wanted.id = row.service.id;
            wanted.version = row.service.version.saturating_add(1);
        } else {
            services.push(Arc::new(row.service));
        }
    }
    if services.len() >= PER_VAULT_MAX {
        return Err(Error::new(Code::ResourceExhausted).because("The vault has 1,000 services."));
    }
    services.push(Arc::new(wanted.clone()));
    Index::new(services)
        .check()
        .map_err(|ambiguous| Error::new(Code::AmbiguousService).caused_by(ambiguous))
}

/// Describes a service.
///
/// # Errors
/// `not_found`, or as the database's.
pub async fn get(
    cx: &Context,
    by: &Authorized<Read>,
    request: v1::GetServiceRequest,
) -> Result<v1::ServiceView> {
    let tx = cx.database.read(by.tenant()).await?;
    let vault = vault_of(&tx, by, &request.vault).await?;
    let reference = Reference::read(&request.service, ServiceId::uuid);
    let row = rows::get(&tx, (by.tenant(), vault.id), reference).await?;
    tx.commit().await?;
    row.as_ref().map(view).ok_or_else(not_found)
}

/// Lists the services of a vault.
///
/// # Errors
/// `invalid_argument`, `not_found` for the vault, or as the database's.
pub async fn list(
    cx: &Context,
    by: &Authorized<Read>,
    request: v1::ListServicesRequest,
) -> Result<v1::ListServicesResponse> {
    let page = Page::read(request.page)?;
    let tx = cx.database.read(by.tenant()).await?;
    let vault: VaultId = vault_of(&tx, by, &request.vault).await?.id;
    let place = (by.tenant(), vault);
    let mut rows = rows::list(&tx, place, page.after.map(Into::into), page.limit()).await?;
    tx.commit().await?;
    let next_page_token = page.cut(&mut rows, |row| row.service.id.uuid());
    Ok(v1::ListServicesResponse {
        services: rows.iter().map(view).collect(),
        next_page_token,
    })
}

/// Deletes a service.
///
/// # Errors
/// `not_found`, or as the database's.
pub async fn delete(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::DeleteServiceRequest,
) -> Result<v1::Deleted> {
    let tx = cx.database.tenant(by.tenant()).await?;
    let vault = lock_vault(&tx, by, &request.vault).await?;
    let reference = Reference::read(&request.service, ServiceId::uuid);
    let row = rows::delete(&tx, (by.tenant(), vault.id), reference)
        .await?
        .ok_or_else(not_found)?;
    let object = Object::Tombstone(Tombstone::Service(vault.id, row.service.id));
    changes::publish(&tx, Some(by.tenant()), Some(vault.id), &object).await?;
    let draft = Draft {
        action: "service.delete",
        subject: row.service.name,
        vault: Some(vault.id),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?.to_string();
    Ok(v1::Deleted { revision })
}
