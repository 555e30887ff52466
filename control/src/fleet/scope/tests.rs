use sortie_proto::id::{GatewayId, SessionId};

use super::*;

fn at(n: u64) -> Revision {
    Revision { epoch: 1, n }
}

fn entry(n: u64, tenant: Option<TenantId>, vault: Option<VaultId>) -> Entry {
    Entry {
        revision: at(n),
        tenant,
        vault,
        change: sortie_proto::wire::v1::Change::default(),
    }
}

#[test]
fn a_stream_carries_only_what_it_was_released() {
    let (tenant, vault) = (TenantId::generate(), VaultId::generate());
    let mut scope = Scope::default();
    assert!(scope.admits(&entry(1, None, None)));
    assert!(!scope.admits(&entry(1, Some(tenant), None)));
    scope.serve(tenant, at(5));
    assert!(!scope.admits(&entry(5, Some(tenant), None)));
    assert!(scope.admits(&entry(6, Some(tenant), None)));
    // Serving a tenant says nothing about its vaults.
    assert!(!scope.admits(&entry(6, Some(tenant), Some(vault))));
    let release = Release {
        gateway: GatewayId::generate(),
        tenant,
        vault,
        session: SessionId::generate(),
        until: 100,
    };
    scope.hold(&release, at(7));
    assert!(!scope.admits(&entry(7, Some(tenant), Some(vault))));
    assert!(scope.admits(&entry(8, Some(tenant), Some(vault))));
    assert!(scope.ended(99).is_empty());
    scope.prolong(&Release {
        until: 50,
        ..release
    });
    assert_eq!(scope.ended(100), [vault]);
    assert!(!scope.admits(&entry(9, Some(tenant), Some(vault))));
}
