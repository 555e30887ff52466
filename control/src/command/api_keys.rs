//! API keys of a tenant.

use serde_json::json;
use sortie_proto::code::Code;
use sortie_proto::id::ApiKeyId;
use sortie_proto::key::KeyKind;
use sortie_proto::wire::v1;

use super::fields::{self, Problems};
use super::page::Page;
use super::reveal::new_key;
use super::{Context, Draft, not_found, record_in};
use crate::access::{Authorized, Keys, Role};
use crate::database::api_keys::{self as rows, ApiKeyRow, NewApiKey};
use crate::error::{Error, Result};

fn view(row: ApiKeyRow) -> v1::ApiKeyView {
    v1::ApiKeyView {
        id: row.id.to_string(),
        name: row.name,
        role: row.role,
        last_four: row.last_four,
        created_at: row.created_at.to_string(),
    }
}

/// An admin who could make or delete owners' keys would be an owner.
fn may_handle(by: &Authorized<Keys>, role: &str) -> Result<()> {
    if role == Role::Owner.name() && by.actor().role() != Role::Owner {
        return Err(Error::new(Code::PermissionDenied));
    }
    Ok(())
}

/// Makes a key. The answer carries it, this once.
///
/// # Errors
/// `invalid_argument`, `permission_denied`, or as the database's.
pub async fn create(
    cx: &Context,
    by: &Authorized<Keys>,
    request: v1::CreateApiKeyRequest,
) -> Result<v1::CreateApiKeyResponse> {
    let mut problems = Problems::default();
    problems.take("name", fields::title(&request.name));
    let roles = [Role::Owner, Role::Admin, Role::Auditor, Role::Member];
    if !roles.iter().any(|role| role.name() == request.role) {
        problems.add("role", "must be `owner`, `admin`, `auditor` or `member`");
    }
    problems.finish()?;
    may_handle(by, &request.role)?;
    let key = new_key(&cx.keys, KeyKind::Api)?;
    let new = NewApiKey {
        id: key.id,
        name: &request.name,
        role: &request.role,
        hash: key.hash,
        last_four: &key.last_four,
    };
    let tx = cx.database.tenant(by.tenant()).await?;
    let row = rows::insert(&tx, Some(by.tenant()), &new).await?;
    let draft = Draft {
        action: "api_key.create",
        subject: key.id.to_string(),
        detail: json!({ "name": request.name, "role": request.role }),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    tx.commit().await?;
    Ok(v1::CreateApiKeyResponse {
        api_key: Some(view(row)),
        key: key.text,
    })
}

/// Lists the keys of a tenant.
///
/// # Errors
/// `invalid_argument`, or as the database's.
pub async fn list(
    cx: &Context,
    by: &Authorized<Keys>,
    request: v1::ListApiKeysRequest,
) -> Result<v1::ListApiKeysResponse> {
    let page = Page::read(request.page)?;
    let tx = cx.database.read(by.tenant()).await?;
    let mut rows = rows::list(&tx, by.tenant(), page.after.map(Into::into), page.limit()).await?;
    tx.commit().await?;
    let next_page_token = page.cut(&mut rows, |row| row.id.uuid());
    Ok(v1::ListApiKeysResponse {
        api_keys: rows.into_iter().map(view).collect(),
        next_page_token,
    })
}

/// Deletes a key. The last owner's key stays: nobody could make another.
///
/// # Errors
/// `not_found`, `permission_denied`, `failed_precondition`, or as the database's.
pub async fn delete(cx: &Context, by: &Authorized<Keys>, key: &str) -> Result<v1::Deleted> {
    let id: ApiKeyId = key.parse().or(Err(not_found()))?;
    let tx = cx.database.tenant(by.tenant()).await?;
    let owners = rows::lock_owners(&tx, by.tenant()).await?;
    let row = rows::lock(&tx, by.tenant(), id)
        .await?
        .ok_or_else(not_found)?;
    may_handle(by, &row.role)?;
    if owners == [id] {
        let why = "It is the last owner's key of the tenant. Make another owner's key first.";
        return Err(Error::new(Code::FailedPrecondition).because(why));
    }
    rows::delete(&tx, by.tenant(), id).await?;
    let draft = Draft {
        action: "api_key.delete",
        subject: id.to_string(),
        detail: json!({ "name": row.name, "role": row.role }),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    tx.commit().await?;
    Ok(v1::Deleted::default())
}
