use super::*;

#[test]
fn the_text_form_reads_back() {
    let id = VaultId::generate();
    assert_eq!(id.to_string().parse(), Ok(id));
    assert!(id.to_string().starts_with("vlt_"));
}

#[test]
fn the_wire_form_reads_back() {
    let id = SessionId::generate();
    assert_eq!(SessionId::from_bytes(&id.to_bytes()), Ok(id));
    assert_eq!(SessionId::from_bytes(&[1, 2, 3]), Err(InvalidId::Length));
}

#[test]
fn an_id_has_one_spelling() {
    let id = TenantId::generate();
    let hyphenated = format!("ten_{}", id.uuid().hyphenated());
    assert_eq!(
        hyphenated.parse::<TenantId>(),
        Err(InvalidId::Digits("ten"))
    );
    assert_eq!(
        id.to_string().parse::<VaultId>(),
        Err(InvalidId::Prefix("vlt"))
    );
}

#[test]
fn json_holds_the_text_form() {
    let id = AgentId::generate();
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(json, format!("\"{id}\""));
    assert_eq!(serde_json::from_str::<AgentId>(&json).unwrap(), id);
}
