//! The keys that sign session tokens: Ed25519, private halves sealed under the root key.

use rcgen::{KeyPair, PKCS_ED25519};
use sortie_proto::change::Object;
use sortie_proto::code::Code;
use sortie_proto::sealed::{Purpose, SealingKey};
use sortie_proto::secret::Secret;
use sortie_proto::token::{SigningKey, VerifyingKey, VerifyingKeys};
use uuid::Uuid;

use super::envelope::place;
use crate::database::{Transaction, changes, keys};
use crate::error::{Error, Result};

/// How long a signing key is good for. Rotation comes much earlier; this bounds what was forgotten.
const VALID_SECONDS: i64 = 10 * 365 * 86_400;

/// Makes a key, stores it and tells gateways of it.
pub(super) async fn create(tx: &Transaction, root: &SealingKey, cluster: Uuid) -> Result<()> {
    let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(Error::internal)?;
    let private = Secret::new(pair.serialize_der());
    let id = Uuid::now_v7();
    let verifying = VerifyingKey {
        kid: id.simple().to_string(),
        public: pair.public_key_raw().try_into().map_err(Error::internal)?,
        not_after: jiff::Timestamp::now()
            .as_second()
            .saturating_add(VALID_SECONDS),
    };
    let sealed = root.seal(place(Purpose::SigningKey, &[cluster, id]), private.expose());
    let signer = keys::StoredSigner { verifying, sealed };
    keys::insert_signer(tx, &signer).await?;
    changes::publish(tx, None, None, &Object::SigningKey(signer.verifying)).await
}

/// The newest key to sign with, and all to verify with.
pub(super) async fn load(
    tx: &Transaction,
    root: &SealingKey,
    cluster: Uuid,
) -> Result<(SigningKey, VerifyingKeys)> {
    let stored = keys::signers(tx).await?;
    let newest = stored
        .first()
        .ok_or_else(|| Error::new(Code::Internal).because("the database holds no signing key"))?;
    let id = Uuid::try_parse(&newest.verifying.kid).map_err(Error::internal)?;
    let private = root.open(place(Purpose::SigningKey, &[cluster, id]), &newest.sealed)?;
    let signer = SigningKey::from_pkcs8(newest.verifying.kid.clone(), &private);
    let verifying = VerifyingKeys::new(stored.into_iter().map(|signer| signer.verifying));
    Ok((signer, verifying))
}
