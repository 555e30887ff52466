use super::*;
use crate::certificate::tests::authority;

#[test]
fn names_carry_tenant_and_fingerprint() {
    let pem = authority("Sortie ten_01ab", "Sortie");
    let named = Named::read(&format!("a comment\n{pem}and more"), None).unwrap();
    assert!(named.name.starts_with("sortie-ten_01ab-"), "{}", named.name);
    assert!(is_ours(&named.name));
    assert!(named.pem.starts_with("-----BEGIN") && named.pem.ends_with("CERTIFICATE-----\n"));
    let odd = Named::read(&authority("Sortie ../x y", "Sortie"), None).unwrap();
    assert!(odd.name.starts_with("sortie----x-y-"), "{}", odd.name);
}

#[test]
fn nothing_else_is_put_into_stores() {
    for text in [
        authority("Sortie ten_1", "Other"),
        "x".to_owned(),
        String::new(),
    ] {
        assert!(Named::read(&text, None).is_err());
    }
}

#[test]
fn only_our_names_are_ours() {
    for (name, ours) in [
        ("sortie-ten_1-0123456789abcdef", true),
        ("sortie-ten_1-0123456789abcde", false),
        ("sortie--0123456789abcdef", false),
        ("sortie-0123456789abcdef", false),
        ("other-ten_1-0123456789abcdef", false),
        ("sortie-ten_1-0123456789abcdeg", false),
    ] {
        assert_eq!(is_ours(name), ours, "{name}");
    }
}
