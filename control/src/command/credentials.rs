//! Credentials: values go in, sealed with where they may be sent, and never come out.

use serde_json::json;
use sortie_proto::agent::{Revocation, RevokedSubject};
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::code::Code;
use sortie_proto::credential::{Credential, OpenedCredential, VALUE_MAX, VALUE_MIN};
use sortie_proto::id::CredentialId;
use sortie_proto::sealed::{Sealed, SealingKey};
use sortie_proto::secret::Secret;
use sortie_proto::service::is_name;
use sortie_proto::vault::Vault;
use sortie_proto::wire::v1;

use super::fields::{self, Problems};
use super::page::Page;
use super::{
    Context, Draft, Wait, check_size, last_token_ends, lock_vault, not_found, record_in, reveal,
    spec, vault_of,
};
use crate::access::{Authorized, Manage, Read};
use crate::database::credentials::{self as rows, CredentialRow};
use crate::database::{Reference, Transaction, changes};
use crate::error::{Error, Result};

/// The most credentials that a vault may have.
const PER_VAULT_MAX: i64 = 1_000;

fn view(row: CredentialRow) -> v1::CredentialView {
    v1::CredentialView {
        id: row.credential.id.to_string(),
        name: row.credential.name,
        placeholder: row.credential.placeholder,
        version: row.credential.version,
        destinations: row.destinations,
        created_at: row.created_at.to_string(),
        updated_at: row.updated_at.to_string(),
        revoked_at: fields::show(row.revoked_at),
    }
}

/// What has the form of an id cannot be a name: a path could mean either.
fn check_name(problems: &mut Problems, name: &str) {
    if !is_name(name) || name.parse::<CredentialId>().is_ok() {
        let message =
            "must be a letter or _, then at most 63 letters, digits and _, and not look like an id";
        problems.add("name", message);
    }
}

fn check_value(problems: &mut Problems, value: &Secret) {
    if !(VALUE_MIN..=VALUE_MAX).contains(&value.len()) {
        let message = format!("must have {VALUE_MIN} to {VALUE_MAX} bytes");
        problems.add("value", message);
    }
}

/// Adds a credential, or a new version of it.
///
/// # Errors
/// `invalid_argument`, `not_found` for the vault, `resource_exhausted`, or as the database's.
pub async fn put(
    cx: &Context,
    by: &Authorized<Manage>,
    mut request: v1::PutCredentialRequest,
) -> Result<v1::CredentialView> {
    let value = Secret::new(std::mem::take(&mut request.value));
    let mut problems = Problems::default();
    check_name(&mut problems, &request.name);
    check_value(&mut problems, &value);
    let destinations = spec::destinations(&mut problems, &request.destinations);
    if !request.placeholder.is_empty() {
        let checked = fields::placeholder(&request.placeholder);
        problems.take("placeholder", checked);
    }
    problems.finish()?;
    let opened = OpenedCredential {
        value,
        destinations,
    };
    let tx = cx.database.tenant(by.tenant()).await?;
    let vault = lock_vault(&tx, by, &request.vault).await?;
    let (mut credential, is_new) = next_version(&tx, by, &vault, &request).await?;
    let key = cx.keys.vault(&tx, by.tenant(), vault.id).await?;
    let sealed = seal(by, &key, &credential, &opened);
    let shown: Vec<_> = opened.destinations.iter().map(spec::show).collect();
    let row = rows::put(&tx, by.tenant(), (&credential, &sealed), &shown).await?;
    credential.sealed = Some(sealed);
    check_size(&tx, by, vault.id).await?;
    let draft = Draft {
        action: "credential.put",
        subject: credential.name.clone(),
        vault: Some(vault.id),
        detail: json!({ "version": credential.version, "new": is_new, "destinations": shown }),
        ..Draft::default()
    };
    let object = Object::Credential(credential);
    changes::publish(&tx, Some(by.tenant()), Some(vault.id), &object).await?;
    record_in(&tx, by, draft).await?;
    cx.settle(tx).await?;
    Ok(view(row))
}

/// The credential as it is to be kept, but for its ciphertext. The vault is locked: nobody else makes the same version.
async fn next_version(
    tx: &Transaction,
    by: &Authorized<Manage>,
    vault: &Vault,
    request: &v1::PutCredentialRequest,
) -> Result<(Credential, bool)> {
    let place = (by.tenant(), vault.id);
    let reference = Reference {
        id: None,
        name: Some(&request.name),
    };
    let old = rows::get(tx, place, reference)
        .await?
        .map(|row| row.credential);
    if old.is_none() && rows::count(tx, place).await? >= PER_VAULT_MAX {
        return Err(Error::new(Code::ResourceExhausted).because("The vault has 1,000 credentials."));
    }
    let placeholder = match (request.placeholder.as_str(), &old) {
        ("", Some(old)) => old.placeholder.clone(),
        ("", None) => format!("__{}__", request.name),
        (asked, _) => asked.to_owned(),
    };
    if rows::placeholder_taken(tx, place, &placeholder, &request.name).await? {
        let message = "is the placeholder of another credential of the vault";
        return Err(Error::invalid("placeholder", message));
    }
    let version = old.as_ref().map_or(0, |old| old.version);
    let credential = Credential {
        id: old
            .as_ref()
            .map_or_else(CredentialId::generate, |old| old.id),
        vault: vault.id,
        name: request.name.clone(),
        placeholder,
        version: version
            .checked_add(1)
            .ok_or_else(|| Error::new(Code::ResourceExhausted))?,
        sealed: None,
    };
    Ok((credential, old.is_none()))
}

fn seal(
    by: &Authorized<Manage>,
    key: &SealingKey,
    credential: &Credential,
    opened: &OpenedCredential,
) -> Sealed {
    let plain = opened.to_plain();
    credential.at_place(by.tenant(), |place| reveal::seal(key, place, &plain))
}

/// Describes a credential, without its value.
///
/// # Errors
/// `not_found`, or as the database's.
pub async fn get(
    cx: &Context,
    by: &Authorized<Read>,
    request: v1::GetCredentialRequest,
) -> Result<v1::CredentialView> {
    let tx = cx.database.read(by.tenant()).await?;
    let vault = vault_of(&tx, by, &request.vault).await?;
    let reference = Reference::read(&request.credential, CredentialId::uuid);
    let row = rows::get(&tx, (by.tenant(), vault.id), reference).await?;
    tx.commit().await?;
    row.map(view).ok_or_else(not_found)
}

/// Lists the credentials of a vault, without their values.
///
/// # Errors
/// `invalid_argument`, `not_found` for the vault, or as the database's.
pub async fn list(
    cx: &Context,
    by: &Authorized<Read>,
    request: v1::ListCredentialsRequest,
) -> Result<v1::ListCredentialsResponse> {
    let page = Page::read(request.page)?;
    let tx = cx.database.read(by.tenant()).await?;
    let vault = vault_of(&tx, by, &request.vault).await?;
    let place = (by.tenant(), vault.id);
    let mut rows = rows::list(&tx, place, page.after.map(Into::into), page.limit()).await?;
    tx.commit().await?;
    let next_page_token = page.cut(&mut rows, |row| row.credential.id.uuid());
    Ok(v1::ListCredentialsResponse {
        credentials: rows.into_iter().map(view).collect(),
        next_page_token,
    })
}

/// Deletes a credential with all its versions.
///
/// # Errors
/// `not_found`, or as the database's.
pub async fn delete(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::DeleteCredentialRequest,
) -> Result<v1::Deleted> {
    let tx = cx.database.tenant(by.tenant()).await?;
    let vault = lock_vault(&tx, by, &request.vault).await?;
    let reference = Reference::read(&request.credential, CredentialId::uuid);
    let row = rows::delete(&tx, (by.tenant(), vault.id), reference)
        .await?
        .ok_or_else(not_found)?;
    let object = Object::Tombstone(Tombstone::Credential(vault.id, row.credential.id));
    changes::publish(&tx, Some(by.tenant()), Some(vault.id), &object).await?;
    let draft = Draft {
        action: "credential.delete",
        subject: row.credential.name,
        vault: Some(vault.id),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?.to_string();
    Ok(v1::Deleted { revision })
}

/// Ends the use of a credential: its values so far are erased, gateways refuse what needs it until it is put again, and
/// what it was put into and is still open is cut.
///
/// # Errors
/// `invalid_argument`, `not_found`, or as the database's.
pub async fn revoke(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::RevokeCredentialRequest,
) -> Result<v1::Revoked> {
    let wait = Wait::read(request.wait_seconds)?;
    let tenant = by.tenant();
    let tx = cx.database.tenant(tenant).await?;
    let vault = lock_vault(&tx, by, &request.vault).await?;
    let reference = Reference::read(&request.credential, CredentialId::uuid);
    let row = rows::erase(&tx, (tenant, vault.id), reference)
        .await?
        .ok_or_else(not_found)?;
    let credential = row.credential;
    let draft = Draft {
        action: "credential.revoke",
        subject: credential.name.clone(),
        vault: Some(vault.id),
        detail: json!({ "version": credential.version }),
        ..Draft::default()
    };
    // It goes to gateways that have the vault, the revocation to all that serve the tenant: one that has dropped the
    // vault may still have open what it was put into. First what is used from now on, then what is cut.
    let revocation = Revocation {
        tenant,
        subject: RevokedSubject::Credential(credential.id, credential.version),
        expires_at: last_token_ends(),
    };
    let object = Object::Credential(credential);
    changes::publish(&tx, Some(tenant), Some(vault.id), &object).await?;
    changes::revoke(&tx, &revocation).await?;
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?;
    Ok(wait.answer(cx, (tenant, None), revision).await)
}
