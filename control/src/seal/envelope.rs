//! Sealing keys under keys, and the making of a cluster's first ones.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{
    CANARY, Error, Hmac, KeyId, KeyInit, KeyRef, Mac, NotOpened, Place, Purpose, Result,
    SealingKey, Secret, Sha256, Transaction, Uuid, cluster, keys, signing,
};
use crate::authority::cluster::ClusterAuthority;

/// The place of something that has no version.
pub(super) const fn place(purpose: Purpose, ids: &[Uuid]) -> Place<'_> {
    Place {
        purpose,
        ids,
        version: 0,
    }
}

/// The place of a key.
pub(super) const fn versioned<'a>(
    purpose: Purpose,
    ids: &'a [Uuid],
    key: &SealingKey,
) -> Place<'a> {
    Place {
        purpose,
        ids,
        version: key.reference().version,
    }
}

pub(super) const fn sealed_key(
    key: &SealingKey,
    sealed: sortie_proto::sealed::Sealed,
) -> keys::SealedKey {
    keys::SealedKey {
        reference: key.reference(),
        sealed,
    }
}

/// Opens a key with the next one up.
pub(super) fn open(
    above: &SealingKey,
    purpose: Purpose,
    ids: &[Uuid],
    stored: &keys::SealedKey,
) -> Result<SealingKey> {
    let place = Place {
        purpose,
        ids,
        version: stored.reference.version,
    };
    let bytes = above.open(place, &stored.sealed)?;
    SealingKey::new(stored.reference, bytes).map_err(Error::internal)
}

/// The root key, under the identity that the cluster gave it.
pub(super) fn root(id: KeyId, bytes: Secret) -> Result<SealingKey> {
    SealingKey::new(KeyRef { id, version: 1 }, bytes).map_err(Error::internal)
}

pub(super) fn keyed_hash(pepper: &Secret, text: &str) -> [u8; 32] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(pepper.expose()).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Makes a cluster: its authority, its pepper, its first signing key and the operators' first key.
///
/// The operators' key is written before the commit: a file without a row is overwritten by the next start, a row
/// without a file would lock everyone out.
pub(super) async fn create_cluster(
    tx: &Transaction,
    data_dir: &Path,
    root_bytes: &Secret,
) -> Result<cluster::Cluster, NotOpened> {
    let id = Uuid::now_v7();
    let root_key = KeyId::generate();
    let root = root(root_key, Secret::new(root_bytes.expose().to_vec()))?;
    let (authority_cert, private) = ClusterAuthority::generate(id).map_err(Error::internal)?;
    let pepper = SealingKey::generate();
    let row = cluster::Cluster {
        id,
        epoch: 1,
        root_key,
        canary: root.seal(place(Purpose::Canary, &[id]), CANARY),
        pepper: root.seal(place(Purpose::Pepper, &[id]), pepper.bytes().expose()),
        authority_cert,
        authority_key: root.seal(place(Purpose::ClusterAuthority, &[id]), private.expose()),
    };
    cluster::insert(tx, &row).await?;
    signing::create(tx, &root, id).await?;
    let operator = sortie_proto::key::generate(sortie_proto::key::KeyKind::Operator);
    let text = std::str::from_utf8(operator.expose()).map_err(Error::internal)?;
    let last_four: String = text.chars().skip(text.len().saturating_sub(4)).collect();
    let hash = keyed_hash(pepper.bytes(), text);
    cluster::insert_operator_key(tx, &hash, &last_four).await?;
    write_operator_key(&data_dir.join("operator.key"), &operator).map_err(Error::internal)?;
    Ok(row)
}

/// Replaces the file as a whole, so that no reader sees half a key.
fn write_operator_key(path: &Path, key: &Secret) -> std::io::Result<()> {
    let fresh = path.with_extension("key.new");
    if fresh.exists() {
        fs::remove_file(&fresh)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(key.expose())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}
