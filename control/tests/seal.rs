//! The key hierarchy across restarts.

use sortie_control::seal::{Keys, NotOpened};
use sortie_proto::id::{TenantId, VaultId};

use crate::support::{Bare, mode};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_root_key_refuses_the_start() {
    let bare = Bare::new().await;
    drop(bare.keys().await);
    assert_eq!(mode(&bare.dir.join("operator.key")), 0o600);
    let path = bare.dir.join("root.key");
    assert_eq!(mode(&path), 0o600);
    let right = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let missing = Keys::open(&bare.database, &bare.dir).await;
    assert!(matches!(missing, Err(NotOpened::RootKey(_))), "{missing:?}");
    drop(sortie_control::seal::key::read_or_create(&path).unwrap());
    let wrong = Keys::open(&bare.database, &bare.dir).await;
    assert!(
        matches!(wrong, Err(NotOpened::WrongRootKey(_))),
        "{wrong:?}"
    );
    std::fs::write(&path, right).unwrap();
    Keys::open(&bare.database, &bare.dir).await.unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let open = Keys::open(&bare.database, &bare.dir).await;
    assert!(matches!(open, Err(NotOpened::RootKey(_))), "{open:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_vault_key_seals_opens_after_a_restart_and_nowhere_else() {
    use sortie_proto::sealed::{Place, Purpose};
    let bare = Bare::new().await;
    let (tenant, vault, other) = (
        TenantId::generate(),
        VaultId::generate(),
        VaultId::generate(),
    );
    let ids = [tenant.uuid(), vault.uuid()];
    let place = Place {
        purpose: Purpose::Credential,
        ids: &ids,
        version: 1,
    };
    let sealed = {
        let keys = bare.keys().await;
        let tx = bare.database.system().await.unwrap();
        let [t, v, o] = [tenant.uuid(), vault.uuid(), other.uuid()];
        tx.batch(&format!(
            "INSERT INTO tenants (id, name) VALUES ('{t}', 't'); \
             INSERT INTO vaults (id, tenant_id, name, mode, staleness_seconds) \
             VALUES ('{v}', '{t}', 'v', 'deny', 30), ('{o}', '{t}', 'o', 'deny', 30)"
        ))
        .await
        .unwrap();
        keys.create_tenant(&tx, tenant).await.unwrap();
        keys.create_vault(&tx, tenant, vault).await.unwrap();
        keys.create_vault(&tx, tenant, other).await.unwrap();
        let sealed = keys
            .vault(&tx, tenant, vault)
            .await
            .unwrap()
            .seal(place, b"value");
        tx.commit().await.unwrap();
        sealed
    };
    let keys = bare.keys().await;
    let tx = bare.database.tenant(tenant).await.unwrap();
    let key = keys.vault(&tx, tenant, vault).await.unwrap();
    assert!(key.open(place, &sealed).unwrap().same_as(b"value"));
    assert!(
        keys.vault(&tx, tenant, other)
            .await
            .unwrap()
            .open(place, &sealed)
            .is_err()
    );
    assert!(keys.vault(&tx, TenantId::generate(), vault).await.is_err());
}
