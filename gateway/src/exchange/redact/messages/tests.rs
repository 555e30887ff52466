use proptest::prelude::*;
use sortie_proto::secret::Secret;

use super::super::{Finder, Masks};
use super::*;

const VALUE: &str = "canary-value-1234";

fn redactor() -> Redactor {
    let masks = Masks::new(&Secret::new(VALUE.as_bytes().to_vec()), &[]);
    Redactor::new(Finder::of(&[&masks]))
}

/// A frame of a server.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// Passes the bytes on in pieces; what had left after each.
fn pass<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, BadFrame> {
    let (mut redactor, mut messages) = (redactor(), Messages::new(redactor()));
    pieces
        .into_iter()
        .map(|piece| {
            let piece = Bytes::copy_from_slice(piece);
            let masked = messages.mask(&mut redactor, piece, false)?;
            Ok(masked.to_vec())
        })
        .collect()
}

fn masked() -> String {
    "*".repeat(VALUE.len())
}

#[test]
fn a_value_is_masked_and_frames_stay_as_long_as_they_are() {
    for size in [17, 100, 126, 70_000] {
        let mut text = "x".repeat(size);
        text.replace_range(size - 17.., VALUE);
        let sent = frame(0x81, text.as_bytes());
        let left = pass([&sent[..]]).unwrap().concat();
        assert_eq!(left, frame(0x81, text.replace(VALUE, &masked()).as_bytes()));
    }
}

#[test]
fn nothing_of_a_message_waits_for_the_next_one() {
    // Each ends in what may be the start of a value.
    let frames = [
        frame(0x81, b"ends in can"),
        frame(0x82, b"canary"),
        frame(0x8a, b"c"),
    ];
    let left = pass(frames.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(left, frames);
}

#[test]
fn a_value_is_found_though_headers_and_control_frames_stand_in_it() {
    let (first, second) = VALUE.split_at(6);
    let pieces = [
        frame(0x01, format!("a {first}").as_bytes()),
        frame(0x89, VALUE.as_bytes()),
        frame(0x00, b""),
        frame(0x80, format!("{second} b").as_bytes()),
    ];
    let left = pass(pieces.iter().map(Vec::as_slice)).unwrap();
    // What may be its start is all that waits, and what stands behind it.
    assert_eq!(left[0], &pieces[0][..4]);
    assert!(left[1].is_empty() && left[2].is_empty());
    let expect = [
        frame(0x01, b"a ******"),
        frame(0x89, masked().as_bytes()),
        frame(0x00, b""),
        frame(0x80, b"*********** b"),
    ];
    assert_eq!(left.concat(), expect.concat());
}

#[test]
fn what_waits_is_bounded() {
    let mut pieces = vec![frame(0x01, b"canary")];
    pieces.resize(1_000, frame(0x8a, &[b'x'; 100]));
    let left = pass(pieces.iter().map(Vec::as_slice)).unwrap();
    let mut sent = 0;
    let mut out = 0;
    for (piece, left) in pieces.iter().zip(&left) {
        sent += piece.len();
        out += left.len();
        assert!(sent - out <= WAITING_BYTES_MAX + 128);
    }
    assert_eq!(left.concat(), pieces.concat());
}

#[test]
fn what_could_not_be_searched_ends_the_connection() {
    let bad = [
        // Compressed, masked with a key, an unknown kind of frame.
        frame(0xc1, b"x"),
        vec![0x81, 0x81, 1, 2, 3, 4, 5],
        frame(0x83, b"x"),
        // A continuation of nothing, a control frame in parts, a long one, an impossible length.
        frame(0x80, b"x"),
        frame(0x09, b"x"),
        frame(0x89, &[0; 126]),
        [&[0x82, 127], &[0xff; 8][..]].concat(),
        // A second message inside the first.
        [frame(0x01, b"x"), frame(0x81, b"x")].concat(),
    ];
    for bytes in bad {
        assert_eq!(pass([&bytes[..]]), Err(BadFrame), "{bytes:?}");
    }
}

proptest! {
    /// Messages of parts, with control frames between them, cut anywhere: all that changes is what must.
    #[test]
    fn messages_may_be_cut_anywhere(
        messages in prop::collection::vec(
            (prop::collection::vec("(canary-value-1234|canary-|value-1234|[a-c]){0,3}", 1..5), any::<bool>()),
            1..5,
        ),
        cuts in prop::collection::vec(1_usize..40, 1..40),
    ) {
        let (mut sent, mut expect) = (Vec::new(), Vec::new());
        for (parts, pings) in &messages {
            let whole = parts.concat().replace(VALUE, &masked());
            let mut at = 0;
            for (i, part) in parts.iter().enumerate() {
                let kind = u8::from(i == 0) | if i + 1 == parts.len() { 0x80 } else { 0 };
                sent.extend(frame(kind, part.as_bytes()));
                expect.extend(frame(kind, &whole.as_bytes()[at..at + part.len()]));
                at += part.len();
                if *pings {
                    sent.extend(frame(0x89, b"canary-"));
                    expect.extend(frame(0x89, b"canary-"));
                }
            }
        }
        let mut rest = &sent[..];
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(pass(pieces).unwrap().concat(), expect);
    }
}
