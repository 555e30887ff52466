//! Sealed keys: tenants', vaults', the signers of tokens, and tenants' authorities.
//!
//! What is sealed stands in the table as the wire's `Sealed`: ciphertext with the identity of the key that opens it.

use prost::Message;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::sealed::{KeyRef, Sealed};
use sortie_proto::token::VerifyingKey;
use sortie_proto::wire::v1;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::database::Transaction;
use crate::error::{Error, Result};

pub(super) fn blob(sealed: &Sealed) -> Vec<u8> {
    v1::Sealed::from(sealed).encode_to_vec()
}

pub(super) fn unblob(bytes: &[u8]) -> Result<Sealed> {
    let wire = v1::Sealed::decode(bytes).map_err(Error::internal)?;
    Ok(wire.try_into()?)
}

/// A key, sealed under the next one up.
#[derive(Debug)]
pub struct SealedKey {
    /// Which key it is.
    pub reference: KeyRef,
    /// Its bytes, sealed.
    pub sealed: Sealed,
}

impl SealedKey {
    /// Reads a key from its columns.
    ///
    /// # Errors
    /// `internal` if they mean nothing.
    pub fn read(id: Uuid, version: i32, sealed: &[u8]) -> Result<Self> {
        Ok(Self {
            reference: KeyRef {
                id: id.into(),
                version: u32::try_from(version).map_err(Error::internal)?,
            },
            sealed: unblob(sealed)?,
        })
    }
}

fn sealed_key(row: &Row) -> Result<SealedKey> {
    SealedKey::read(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)
}

fn version_column(reference: KeyRef) -> Result<i32> {
    i32::try_from(reference.version).map_err(Error::internal)
}

/// Stores a tenant's key.
///
/// # Errors
/// As the database's.
pub async fn insert_tenant(tx: &Transaction, tenant: TenantId, key: &SealedKey) -> Result<()> {
    tx.execute(
        "/* tenant_keys.insert */ INSERT INTO tenant_keys (tenant_id, key_id, version, sealed) VALUES ($1, $2, $3, $4)",
        &[&tenant.uuid(), &key.reference.id.uuid(), &version_column(key.reference)?, &blob(&key.sealed)],
    )
    .await?;
    Ok(())
}

/// A tenant's keys, newest first.
///
/// # Errors
/// As the database's.
pub async fn of_tenant(tx: &Transaction, tenant: TenantId) -> Result<Vec<SealedKey>> {
    let rows = tx
        .query(
            "/* tenant_keys.list */ SELECT key_id, version, sealed FROM tenant_keys WHERE tenant_id = $1 \
             ORDER BY created_at DESC, version DESC",
            &[&tenant.uuid()],
        )
        .await?;
    rows.iter().map(sealed_key).collect()
}

/// Stores a vault's data key.
///
/// # Errors
/// As the database's.
pub async fn insert_vault(
    tx: &Transaction,
    tenant: TenantId,
    vault: VaultId,
    key: &SealedKey,
) -> Result<()> {
    tx.execute(
        "/* data_keys.insert */ INSERT INTO data_keys (tenant_id, vault_id, key_id, version, sealed) \
         VALUES ($1, $2, $3, $4, $5)",
        &[
            &tenant.uuid(),
            &vault.uuid(),
            &key.reference.id.uuid(),
            &version_column(key.reference)?,
            &blob(&key.sealed),
        ],
    )
    .await?;
    Ok(())
}

/// A vault's data keys, newest first.
///
/// # Errors
/// As the database's.
pub async fn of_vault(
    tx: &Transaction,
    tenant: TenantId,
    vault: VaultId,
) -> Result<Vec<SealedKey>> {
    let rows = tx
        .query(
            "/* data_keys.list */ SELECT key_id, version, sealed FROM data_keys \
             WHERE tenant_id = $1 AND vault_id = $2 ORDER BY created_at DESC, version DESC",
            &[&tenant.uuid(), &vault.uuid()],
        )
        .await?;
    rows.iter().map(sealed_key).collect()
}

/// A key that signs tokens.
#[derive(Debug)]
pub struct StoredSigner {
    /// Its public half.
    pub verifying: VerifyingKey,
    /// Its private half, PKCS#8, sealed under the root key.
    pub sealed: Sealed,
}

/// Stores a key that signs tokens.
///
/// # Errors
/// As the database's.
pub async fn insert_signer(tx: &Transaction, signer: &StoredSigner) -> Result<()> {
    tx.execute(
        "/* signing_keys.insert */ INSERT INTO signing_keys (kid, public_key, sealed, not_after) VALUES ($1, $2, $3, $4)",
        &[
            &signer.verifying.kid,
            &signer.verifying.public.as_slice(),
            &blob(&signer.sealed),
            &signer.verifying.not_after,
        ],
    )
    .await?;
    Ok(())
}

/// The keys that sign tokens, newest first.
///
/// # Errors
/// As the database's.
pub async fn signers(tx: &Transaction) -> Result<Vec<StoredSigner>> {
    let rows = tx
        .query(
            "/* signing_keys.list */ SELECT kid, public_key, sealed, not_after FROM signing_keys ORDER BY created_at DESC",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let public: &[u8] = row.try_get(1)?;
            Ok(StoredSigner {
                verifying: VerifyingKey {
                    kid: row.try_get(0)?,
                    public: public.try_into().map_err(Error::internal)?,
                    not_after: row.try_get(3)?,
                },
                sealed: unblob(row.try_get(2)?)?,
            })
        })
        .collect()
}

/// A tenant's certificate authority.
#[derive(Debug)]
pub struct StoredAuthority {
    /// The root, DER.
    pub certificate: Vec<u8>,
    /// Its end, in seconds since the Unix epoch.
    pub not_after: i64,
    /// Its private key, PKCS#8, under the tenant's key.
    pub sealed: Sealed,
}

/// Stores a tenant's authority.
///
/// # Errors
/// `already_exists` if it has one.
pub async fn insert_authority(
    tx: &Transaction,
    tenant: TenantId,
    authority: &StoredAuthority,
) -> Result<()> {
    tx.execute(
        "/* tenant_authorities.insert */ INSERT INTO tenant_authorities (tenant_id, certificate, not_after, sealed) \
         VALUES ($1, $2, $3, $4)",
        &[&tenant.uuid(), &authority.certificate, &authority.not_after, &blob(&authority.sealed)],
    )
    .await?;
    Ok(())
}

/// A tenant's authority.
///
/// # Errors
/// As the database's.
pub async fn authority(tx: &Transaction, tenant: TenantId) -> Result<Option<StoredAuthority>> {
    let row = tx
        .query_opt(
            "/* tenant_authorities.get */ SELECT certificate, not_after, sealed FROM tenant_authorities WHERE tenant_id = $1",
            &[&tenant.uuid()],
        )
        .await?;
    row.map(|row| {
        Ok(StoredAuthority {
            certificate: row.try_get(0)?,
            not_after: row.try_get(1)?,
            sealed: unblob(row.try_get(2)?)?,
        })
    })
    .transpose()
}
