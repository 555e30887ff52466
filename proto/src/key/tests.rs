use super::*;

#[test]
fn a_key_is_recognised_by_its_prefix_and_checksum() {
    for kind in KeyKind::ALL {
        let key = generate(kind);
        let text = std::str::from_utf8(key.expose()).unwrap();
        assert_eq!(recognise(text), Some(kind));
        assert_eq!(
            text.len(),
            kind.prefix().len() + RANDOM_DIGITS + CHECK_DIGITS
        );
    }
}

#[test]
fn a_wrong_digit_is_noticed() {
    let key = generate(KeyKind::Agent);
    let mut text = key.expose().to_vec();
    let last = text.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    assert_eq!(recognise(std::str::from_utf8(&text).unwrap()), None);
    assert_eq!(recognise("sortie_agt_"), None);
    assert_eq!(recognise(""), None);
}
