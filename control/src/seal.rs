//! A stand-in for the key hierarchy: data keys lie open in the database.

use std::sync::Arc;

use rcgen::KeyPair;
use sha2::{Digest, Sha256};
use sortie_proto::id::{KeyId, TenantId, VaultId};
use sortie_proto::sealed::{KeyRef, SealingKey};
use sortie_proto::secret::Secret;
use sortie_proto::token::SigningKey;

use crate::database::Transaction;
use crate::error::{Error, Result};

/// The keys.
#[derive(Debug, Clone)]
pub struct Keys(Arc<SigningKey>);

impl Keys {
    /// Makes a signing key.
    ///
    /// # Errors
    /// `internal` if no key can be made.
    pub fn stand_in() -> Result<Self> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(Error::internal)?;
        let pkcs8 = Secret::new(pair.serialize_der());
        Ok(Self(Arc::new(SigningKey::from_pkcs8(
            "stand-in".to_owned(),
            &pkcs8,
        ))))
    }

    /// Makes a tenant's key and authority.
    ///
    /// # Errors
    /// As the database's.
    pub async fn create_tenant(&self, tx: &Transaction, tenant: TenantId) -> Result<()> {
        tx.execute("SELECT $1::uuid", &[&tenant.uuid()]).await?;
        Ok(())
    }

    /// Makes a vault's data key.
    ///
    /// # Errors
    /// As the database's.
    pub async fn create_vault(
        &self,
        tx: &Transaction,
        tenant: TenantId,
        vault: VaultId,
    ) -> Result<()> {
        let key = SealingKey::generate();
        tx.execute(
            "INSERT INTO data_keys VALUES ($1, $2, $3, $4)",
            &[
                &tenant.uuid(),
                &vault.uuid(),
                &key.reference().id.uuid(),
                &key.bytes().expose(),
            ],
        )
        .await?;
        Ok(())
    }

    /// A vault's data key.
    ///
    /// # Errors
    /// As the database's.
    pub async fn vault(
        &self,
        tx: &Transaction,
        tenant: TenantId,
        vault: VaultId,
    ) -> Result<Arc<SealingKey>> {
        let row = tx
            .query_one(
                "SELECT key_id, bytes FROM data_keys WHERE tenant_id = $1 AND vault_id = $2",
                &[&tenant.uuid(), &vault.uuid()],
            )
            .await?;
        let id = KeyId::from(row.try_get::<_, uuid::Uuid>(0)?);
        let key = SealingKey::new(KeyRef { id, version: 1 }, Secret::new(row.try_get(1)?))
            .map_err(Error::internal)?;
        Ok(Arc::new(key))
    }

    /// The hash under which a key is kept.
    #[must_use]
    pub fn hash(&self, key_text: &str) -> [u8; 32] {
        Sha256::digest(key_text).into()
    }

    /// What signs session tokens.
    ///
    /// # Errors
    /// Never.
    #[expect(clippy::unused_async, reason = "a stand-in")]
    pub async fn signer(&self) -> Result<Arc<SigningKey>> {
        Ok(Arc::clone(&self.0))
    }
}
