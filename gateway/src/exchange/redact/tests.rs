use proptest::prelude::*;

use super::*;

const VALUE: &str = "ghp_Zq7+/x\"9&v<é";

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn redactor_of(masks: &[&Masks]) -> Redactor {
    Redactor::new(Finder::of(masks))
}

fn redactor(values: &[&str]) -> Redactor {
    let masks: Vec<_> = values
        .iter()
        .map(|value| Masks::new(&secret(value), &[]))
        .collect();
    redactor_of(&masks.iter().collect::<Vec<_>>())
}

fn whole(mut redactor: Redactor, text: &[u8]) -> Vec<u8> {
    redactor.body(Bytes::copy_from_slice(text), true).to_vec()
}

/// What each byte may be covered by, worked out the slow way: every occurrence of every pattern.
fn covered(machine_patterns: &[&Masks], text: &[u8]) -> Vec<bool> {
    let mut covered = vec![false; text.len()];
    for pattern in machine_patterns.iter().flat_map(|masks| &masks.patterns) {
        let bytes = pattern.bytes.expose();
        for start in 0..text.len() {
            if text[start..].starts_with(bytes) {
                covered[start..start + bytes.len()].fill(true);
            }
        }
    }
    covered
}

fn check(text: &str, expect: &str) {
    let masked = whole(redactor(&[VALUE]), text.as_bytes());
    assert_eq!(String::from_utf8_lossy(&masked), expect, "{text}");
}

#[test]
fn every_encoding_is_masked_at_its_length() {
    check(
        &format!("a {VALUE} b"),
        &format!("a {} b", "*".repeat(VALUE.len())),
    );
    check("nothing here", "nothing here");
    let masked_alike = |form: &str, mask: &str| {
        check(
            &format!("[{form}]"),
            &format!("[{}]", mask.repeat(form.len())),
        );
    };
    let hex: String = VALUE.bytes().map(|byte| format!("{byte:02x}")).collect();
    masked_alike(&hex, "0");
    masked_alike(&hex.to_uppercase(), "0");
    masked_alike("ghp_Zq7%2B%2Fx%229%26v%3C%C3%A9", "*");
    masked_alike("ghp_Zq7%2b%2fx%229%26v%3c%c3%a9", "*");
    masked_alike("ghp_Zq7+/x%229&v%3C%C3%A9", "*");
    masked_alike("ghp_Zq7+/x\\\"9&v<é", "*");
    masked_alike("ghp_Zq7+\\/x\\\"9&v<é", "*");
    masked_alike("ghp_Zq7+\\/x\\\"9&v<\\u00e9", "*");
    masked_alike("ghp_Zq7+/x\\\"9\\u0026v\\u003cé", "*");
    masked_alike("ghp_Zq7+/x\\u00229\\u0026v\\u003C\\u00E9", "*");
    masked_alike("ghp_Zq7+/x&quot;9&amp;v&lt;é", "*");
    masked_alike("ghp_Zq7+/x&#34;9&amp;v&lt;é", "*");
}

#[test]
fn base64_is_masked_at_every_alignment() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    let value = "correct-horse?>battery";
    for engine in [&STANDARD, &URL_SAFE] {
        for before in 0..4 {
            for after in 0..4 {
                let inner = format!("{}{value}{}", "k".repeat(before), "v".repeat(after));
                let encoded = engine.encode(&inner);
                let masked = whole(redactor(&[value]), encoded.as_bytes());
                assert_eq!(masked.len(), encoded.len());
                let decoded = engine.decode(&masked).unwrap_or_default();
                let text = String::from_utf8_lossy(&decoded);
                for window in value.as_bytes().windows(3) {
                    let window = std::str::from_utf8(window).unwrap();
                    assert!(!text.contains(window), "{encoded} {text}");
                }
                // The padding stands as it was.
                let padding = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'=').count();
                assert_eq!(padding(&masked), padding(encoded.as_bytes()));
            }
        }
    }
}

#[test]
fn a_joined_pair_is_masked_whole() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let masks = Masks::new(&secret("s3cr3t-pass"), &[secret("user:s3cr3t-pass")]);
    let token = STANDARD.encode("user:s3cr3t-pass");
    let stripped = token.trim_end_matches('=');
    for form in [
        token.clone(),
        STANDARD.encode(&token),
        format!("Basic {token}"),
    ] {
        let masked = whole(redactor_of(&[&masks]), form.as_bytes());
        let masked = String::from_utf8(masked).unwrap();
        assert!(
            masked.contains(&"x".repeat(stripped.len())),
            "{form} {masked}"
        );
    }
}

/// All that holds whatever the chunks are.
fn check_chunks(values: &[&str], text: &[u8], sizes: &[usize]) {
    let masks: Vec<_> = values
        .iter()
        .map(|value| Masks::new(&secret(value), &[]))
        .collect();
    let masks: Vec<_> = masks.iter().collect();
    let mut redactor = redactor_of(&masks);
    let expect = whole(redactor_of(&masks), text);
    let mut masked = Vec::new();
    let mut rest = text;
    for &size in sizes.iter().cycle().take(text.len() + 1) {
        let (chunk, behind) = rest.split_at(size.clamp(1, rest.len().max(1)).min(rest.len()));
        rest = behind;
        masked.extend_from_slice(&redactor.body(Bytes::copy_from_slice(chunk), false));
        assert_eq!(masked.len() + redactor.pending(), text.len() - rest.len());
        assert_minimal(&masks, &redactor, &text[..text.len() - rest.len()]);
    }
    masked.extend_from_slice(&redactor.flush());
    assert_eq!(redactor.pending(), 0);
    let covered = covered(&masks, text);
    for (i, &hidden) in covered.iter().enumerate() {
        let same = masked[i] == text[i];
        assert!(
            if hidden {
                b"*x0".contains(&masked[i])
            } else {
                same
            },
            "{i} of {text:?}"
        );
    }
    assert_eq!(masked.len(), expect.len());
}

/// What is held back is the longest end that is a proper prefix of a pattern, and nothing more.
fn assert_minimal(masks: &[&Masks], redactor: &Redactor, so_far: &[u8]) {
    let longest = masks
        .iter()
        .flat_map(|masks| &masks.patterns)
        .flat_map(|pattern| {
            let bytes = pattern.bytes.expose();
            (1..bytes.len()).filter(|&n| so_far.ends_with(&bytes[..n]))
        })
        .max();
    assert_eq!(redactor.pending(), longest.unwrap_or(0), "{so_far:?}");
}

#[test]
fn chunks_may_be_cut_anywhere() {
    let masks = Masks::new(&secret(VALUE), &[]);
    for pattern in &masks.patterns {
        let mut text = b"<".to_vec();
        text.extend_from_slice(pattern.bytes.expose());
        text.push(b'>');
        check_chunks(&[VALUE], &text, &[1]);
        for at in 1..text.len() {
            check_chunks(&[VALUE], &text, &[at, text.len()]);
        }
    }
}

#[test]
fn occurrences_that_overlap_are_masked_whole() {
    for text in [
        "aaaaaaaaaaaa",
        "aaaaaaaabaaaaaaaaa",
        "baaaaaaaaaaaaaaaaaaaaab",
    ] {
        for size in 1..text.len() {
            check_chunks(&["aaaaaaaa"], text.as_bytes(), &[size]);
        }
    }
    for size in 1..20 {
        check_chunks(&["abcabcabc"], b"xabcabcabcabcabcabx", &[size]);
        check_chunks(&["abcdefgh", "efghijklmn"], b"abcdefghijklmn", &[size]);
        check_chunks(
            &["abcdefgh", "abcdefghijklmnop"],
            b"abcdefghijklmnoX",
            &[size],
        );
        check_chunks(
            &["cdefghij", "abcdefghijklmnop"],
            b"abcdefghijklmnoX",
            &[size],
        );
    }
    let value = "one-value-twice";
    check_chunks(&[value], format!("{value}{value}").as_bytes(), &[4, 7]);
}

#[test]
fn occurrences_are_counted_once_whatever_the_chunks() {
    let text = format!("{VALUE} {VALUE}{VALUE} ");
    for size in 1..text.len() {
        let mut redactor = redactor(&[VALUE]);
        for chunk in text.as_bytes().chunks(size) {
            drop(redactor.body(Bytes::copy_from_slice(chunk), false));
        }
        drop(redactor.flush());
        assert_eq!(redactor.count(), 3, "{size}");
    }
}

#[test]
fn a_chunk_without_a_value_is_not_copied() {
    let mut redactor = redactor(&["ghp_0123456789"]);
    let chunk = Bytes::from("{\"data\": [1, 2, 3]}\n\n".repeat(100));
    let at = chunk.as_ptr();
    let out = redactor.body(chunk.clone(), false);
    assert_eq!((out.as_ptr(), out.len()), (at, chunk.len()));
    assert_eq!(redactor.pending(), 0);
}

#[test]
fn an_occurrence_in_one_piece_is_masked_in_place() {
    let mut redactor = redactor(&["ghp_0123456789"]);
    let chunk = Bytes::from(b"x ghp_0123456789 y".to_vec());
    let at = chunk.as_ptr();
    let out = redactor.body(chunk, false);
    assert_eq!(out.as_ptr(), at);
    assert_eq!(out, "x ************** y");
}

#[test]
fn header_values_stay_header_values() {
    let mut redactor = redactor(&["ghp_0123456789"]);
    let value = HeaderValue::from_static("token=ghp_0123456789; Path=/");
    assert_eq!(
        redactor.header(&value).unwrap(),
        "token=**************; Path=/"
    );
    assert_eq!(
        redactor.header(&HeaderValue::from_static("text/plain")),
        None
    );
    assert_eq!(redactor.count(), 1);
    // Names are in lower case, whatever the upstream wrote.
    for (name, hidden) in [
        ("x-ghp_0123456789", true),
        ("X-GHP_0123456789-X", true),
        ("x-6768705f30313233343536373839", true),
        ("x-z2hwxzaxmjm0nty3odk", true),
        ("content-type", false),
    ] {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        assert_eq!(redactor.hides_name(&name), hidden, "{name}");
    }
}

#[test]
fn nothing_prints_a_value() {
    let masks = Masks::new(&secret(VALUE), &[]);
    let redactor = redactor(&[VALUE]);
    assert!(!format!("{masks:?} {redactor:?}").contains("ghp"));
}

proptest! {
    #[test]
    fn masking_is_exact_for_any_values_and_chunks(
        values in prop::collection::vec("[ab]{8,12}", 1..3),
        text in "[abc]{0,60}",
        sizes in prop::collection::vec(1_usize..9, 1..6),
    ) {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        check_chunks(&values, text.as_bytes(), &sizes);
    }

    #[test]
    fn values_of_any_bytes_are_found_in_any_text(
        value in prop::collection::vec(any::<u8>(), 8..40),
        before in prop::collection::vec(any::<u8>(), 0..20),
        size in 1_usize..30,
    ) {
        let masks = Masks::new(&Secret::new(value.clone()), &[]);
        let mut redactor = redactor_of(&[&masks]);
        let text = [&before[..], &value, &before].concat();
        let mut masked = Vec::new();
        for chunk in text.chunks(size) {
            masked.extend_from_slice(&redactor.body(Bytes::copy_from_slice(chunk), false));
        }
        masked.extend_from_slice(&redactor.flush());
        prop_assert_eq!(masked.len(), text.len());
        prop_assert!(masked[before.len()..before.len() + value.len()].iter().all(|byte| b"*x0".contains(byte)));
    }
}
