//! Masking an answer: one that holds nothing, and making what finds a value.

use bytes::Bytes;
use sortie_gateway::exchange::redact::{Finder, Masks, Redactor};
use sortie_proto::secret::Secret;

fn main() {
    divan::main();
}

fn value() -> Secret {
    Secret::new(b"ghp_16C7e42F292c6912E7710c838347Ae178B4a".to_vec())
}

#[divan::bench]
fn masks() -> Masks {
    Masks::new(&value(), &[])
}

#[divan::bench(args = [1_024, 16_384])]
fn clean_chunk(bencher: divan::Bencher<'_, '_>, size: usize) {
    let masks = Masks::new(&value(), &[]);
    let text = br#"{"id": 17, "name": "an item", "tags": ["a", "b"]}, "#;
    let chunk: Bytes = text.iter().copied().cycle().take(size).collect();
    let mut redactor = Redactor::new(Finder::of(&[&masks]));
    bencher
        .counter(divan::counter::BytesCount::new(size))
        .bench_local(|| redactor.body(chunk.clone(), false));
}
