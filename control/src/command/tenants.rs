//! Tenants: made and changed by operators, described to their own.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde_json::json;
use sortie_proto::change::Object;
use sortie_proto::code::Code;
use sortie_proto::id::TenantId;
use sortie_proto::key::KeyKind;
use sortie_proto::tenant::WEIGHT_MAX;
use sortie_proto::wire::v1;

use super::fields::{self, Problems};
use super::page::Page;
use super::reveal::new_key;
use super::{Context, Draft, not_found, record};
use crate::access::{Authorized, Describe, Operator, Role};
use crate::authority;
use crate::database::api_keys::{self, NewApiKey};
use crate::database::tenants::{self as rows, TenantRow, TenantUpdate};
use crate::database::{Reference, changes};
use crate::error::{Error, Result};

/// The most ranges that a tenant may be allowed.
const PRIVATE_ALLOW_MAX: usize = 64;

fn view(row: TenantRow) -> v1::TenantView {
    let ranges = row.tenant.private_allow.iter();
    v1::TenantView {
        id: row.tenant.id.to_string(),
        name: row.tenant.name,
        enabled: row.tenant.enabled,
        private_allow: ranges.map(ToString::to_string).collect(),
        created_at: row.created_at.to_string(),
        limits: (&row.tenant.limits).into(),
        weight: row.tenant.weight.get(),
    }
}

/// Ranges in canonical form: an address without a length is that address alone.
fn ranges(problems: &mut Problems, texts: &[String]) -> Vec<String> {
    if texts.len() > PRIVATE_ALLOW_MAX {
        problems.add("private_allow", "must be at most 64 ranges");
    }
    let mut ranges = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate().take(PRIVATE_ALLOW_MAX) {
        let net = problems.take(format!("private_allow[{at}]"), fields::network(text));
        ranges.extend(net.map(|net| net.to_string()));
    }
    ranges
}

/// Makes a tenant with its key, its authority and the key of its first owner.
///
/// # Errors
/// `invalid_argument`, `already_exists`, or as the database's.
pub async fn create(
    cx: &Context,
    by: &Operator,
    request: v1::CreateTenantRequest,
) -> Result<v1::CreateTenantResponse> {
    let mut problems = Problems::default();
    problems.take("name", fields::name(&request.name));
    let private_allow = ranges(&mut problems, &request.private_allow);
    problems.finish()?;
    let tx = cx.database.system().await?;
    let tenant = TenantId::generate();
    let row = rows::insert(&tx, tenant, &request.name, &private_allow)
        .await?
        .ok_or_else(|| Error::new(Code::AlreadyExists))?;
    cx.keys.create_tenant(&tx, tenant).await?;
    let key = new_key(&cx.keys, KeyKind::Api)?;
    let owner = NewApiKey {
        id: key.id,
        name: "first owner",
        role: Role::Owner.name(),
        hash: key.hash,
        last_four: &key.last_four,
    };
    api_keys::insert(&tx, Some(tenant), &owner).await?;
    changes::publish(&tx, Some(tenant), None, &Object::Tenant(row.tenant.clone())).await?;
    let draft = Draft {
        action: "tenant.create",
        subject: request.name,
        detail: json!({ "tenant": tenant, "owner_key": key.id }),
        ..Draft::default()
    };
    record(&tx, Some(tenant), by.actor(), draft).await?;
    cx.settle(tx).await?;
    Ok(v1::CreateTenantResponse {
        tenant: Some(view(row)),
        owner_key: key.text,
    })
}

/// Describes a tenant.
///
/// # Errors
/// `not_found`, or as the database's.
pub async fn get(cx: &Context, by: &Authorized<Describe>) -> Result<v1::TenantView> {
    let tx = cx.database.read(by.tenant()).await?;
    let row = rows::get(&tx, Reference::id(by.tenant().uuid())).await?;
    tx.commit().await?;
    row.map(view).ok_or_else(not_found)
}

/// Lists the tenants of the cluster.
///
/// # Errors
/// `invalid_argument`, or as the database's.
pub async fn list(
    cx: &Context,
    _by: &Operator,
    request: v1::ListTenantsRequest,
) -> Result<v1::ListTenantsResponse> {
    let page = Page::read(request.page)?;
    let tx = cx.database.system().await?;
    let mut rows = rows::list(&tx, page.after.map(Into::into), page.limit()).await?;
    tx.commit().await?;
    let next_page_token = page.cut(&mut rows, |row| row.tenant.id.uuid());
    Ok(v1::ListTenantsResponse {
        tenants: rows.into_iter().map(view).collect(),
        next_page_token,
    })
}

fn weight(weight: u32) -> Result<NonZeroU32, &'static str> {
    NonZeroU32::new(weight)
        .filter(|weight| weight.get() <= WEIGHT_MAX)
        .ok_or("must be 1 to 1,000")
}

/// Switches a tenant on or off, and says which private ranges its upstreams may live in, and how much it may use.
///
/// # Errors
/// `invalid_argument`, `not_found`, or as the database's.
pub async fn update(
    cx: &Context,
    by: &Operator,
    request: v1::UpdateTenantRequest,
) -> Result<v1::TenantView> {
    let mut problems = Problems::default();
    let allow = ranges(&mut problems, &request.private_allow);
    if !request.replace_private_allow && !allow.is_empty() {
        problems.add(
            "replace_private_allow",
            "must be true for `private_allow` to take the place of the old ranges",
        );
    }
    let limits = request.limits;
    let update = TenantUpdate {
        enabled: request.enabled,
        private_allow: request.replace_private_allow.then_some(allow),
        limits: limits.map(|spec| fields::limits(&mut problems, "limits", spec)),
        weight: (request.weight).and_then(|of| problems.take("weight", weight(of))),
    };
    problems.finish()?;
    let tx = cx.database.system().await?;
    let reference = Reference::read(&request.tenant, TenantId::uuid);
    let found = rows::get(&tx, reference).await?.ok_or_else(not_found)?;
    let tenant = found.tenant.id;
    let row = rows::update(&tx, tenant, update)
        .await?
        .ok_or_else(not_found)?;
    changes::publish(&tx, Some(tenant), None, &Object::Tenant(row.tenant.clone())).await?;
    let draft = Draft {
        action: "tenant.update",
        subject: row.tenant.name.clone(),
        detail: json!({
            "enabled": row.tenant.enabled,
            "private_allow": row.tenant.private_allow,
            "limits": Option::<v1::LimitsSpec>::from(&row.tenant.limits),
            "weight": row.tenant.weight,
        }),
        ..Draft::default()
    };
    record(&tx, Some(tenant), by.actor(), draft).await?;
    cx.settle(tx).await?;
    Ok(view(row))
}

/// The certificate that a tenant's agents must trust.
///
/// # Errors
/// As the database's.
pub async fn authority(cx: &Context, by: &Authorized<Describe>) -> Result<v1::AuthorityView> {
    let tx = cx.database.read(by.tenant()).await?;
    let root = authority::tenant::root_pem(&tx, by.tenant()).await?;
    tx.commit().await?;
    let not_after = Timestamp::from_second(root.not_after).map_err(Error::internal)?;
    Ok(v1::AuthorityView {
        pem: root.pem,
        fingerprint_sha256: root.fingerprint_sha256,
        not_after: not_after.to_string(),
    })
}
