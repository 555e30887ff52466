use super::*;

#[test]
fn what_a_vault_holds_is_not_printed() {
    let kept = Kept::new(
        TenantId::generate(),
        Revision { epoch: 1, n: 7 },
        (3, Bytes::from_static(b"key")),
    );
    for printed in [format!("{kept:?}"), format!("{:?}", encoded(&kept))] {
        assert!(printed.contains("revision"), "{printed}");
        assert!(!printed.contains("key"), "{printed}");
    }
}
