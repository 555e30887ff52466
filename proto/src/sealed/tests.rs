use super::*;

fn place(ids: &[Uuid]) -> Place<'_> {
    Place {
        purpose: Purpose::Credential,
        ids,
        version: 1,
    }
}

#[test]
fn what_is_sealed_opens_at_its_place() {
    let key = SealingKey::generate();
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    let sealed = key.seal(place(&ids), b"hunter2");
    assert!(key.open(place(&ids), &sealed).unwrap().same_as(b"hunter2"));
}

#[test]
fn a_row_cannot_be_moved() {
    let key = SealingKey::generate();
    let (a, b) = (Uuid::now_v7(), Uuid::now_v7());
    let sealed = key.seal(place(&[a, b]), b"hunter2");
    assert!(key.open(place(&[b, a]), &sealed).is_err());
    assert!(key.open(place(&[a]), &sealed).is_err());
    assert!(
        key.open(
            Place {
                version: 2,
                ..place(&[a, b])
            },
            &sealed
        )
        .is_err()
    );
    assert!(
        key.open(
            Place {
                purpose: Purpose::DataKey,
                ..place(&[a, b])
            },
            &sealed
        )
        .is_err()
    );
}

#[test]
fn another_key_or_an_altered_byte_does_not_open() {
    let key = SealingKey::generate();
    let mut sealed = key.seal(place(&[]), b"hunter2");
    assert!(SealingKey::generate().open(place(&[]), &sealed).is_err());
    sealed.ciphertext[0] ^= 1;
    assert!(key.open(place(&[]), &sealed).is_err());
}

#[test]
fn a_key_never_prints() {
    let printed = format!("{:?}", SealingKey::generate());
    assert!(printed.starts_with("SealingKey(KeyRef"), "{printed}");
}
