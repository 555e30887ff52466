use super::*;

fn read(text: &[u8]) -> Vec<u8> {
    bounded(text, 8).unwrap().expose().to_vec()
}

#[test]
fn one_line_end_is_no_part_of_a_secret() {
    for text in ["secret", "secret\n", "secret\r\n"] {
        assert_eq!(read(text.as_bytes()), b"secret", "{text:?}");
    }
    assert_eq!(read(b"secret\n\n"), b"secret\n");
    assert_eq!(read(b" a\r b "), b" a\r b ");
    assert!(read(b"").is_empty());
}

#[test]
fn what_is_too_long_shows_that_it_is() {
    assert_eq!(read(b"12345678\r\n").len(), 8);
    assert!(read(b"123456789").len() > 8);
    assert!(read(&[b'x'; 1000]).len() > 8);
    assert!(read(&[b"123456789".as_slice(), &[b'\n'; 100]].concat()).len() > 8);
}
