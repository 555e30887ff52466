//! The canary: searches everything that a cluster and its clients left behind for the secrets of the test, in every
//! encoding. It first proves itself by finding them where they must be, in the upstream's record.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Writes the whole database as SQL beside the other files.
pub(crate) fn dump_database(dir: &Path) {
    let socket = fs::read_to_string(dir.join("control/socket-path")).unwrap();
    let dump = Command::new(postgres(dir, "pg_dumpall"))
        .args(["-h", socket.trim(), "-U", "sortie"])
        .output()
        .unwrap();
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    fs::write(dir.join("database.sql"), dump.stdout).unwrap();
}

/// A program that belongs to the server, which is not in everyone's `PATH`: the server notes how it was started.
pub(super) fn postgres(dir: &Path, program: &str) -> PathBuf {
    let mut files = Vec::new();
    collect(dir, &mut files);
    let notes = files
        .iter()
        .find(|file| file.ends_with("postmaster.opts"))
        .expect("a private PostgreSQL");
    let command = fs::read_to_string(notes).unwrap();
    let server = command.split_whitespace().next().unwrap();
    Path::new(server).with_file_name(program)
}

/// Fails the test if a secret is anywhere but in the upstream's record.
pub(crate) fn search(dir: &Path, secrets: &[String]) {
    let mut files = Vec::new();
    collect(dir, &mut files);
    let record = dir.join("upstream/requests.jsonl");
    let proof = fs::read(&record).unwrap_or_default();
    let mut proven = secrets.is_empty();
    let needles: Vec<(String, Vec<Vec<u8>>)> = secrets
        .iter()
        .map(|secret| (secret.clone(), encodings(secret.as_bytes())))
        .collect();
    for (_, forms) in &needles {
        proven |= forms.iter().any(|form| contains(&proof, form));
    }
    assert!(
        proven || proof.is_empty(),
        "the search finds no secret even where one must be, so it proves nothing"
    );
    let mut hits = Vec::new();
    for file in files
        .iter()
        .filter(|file| !file.starts_with(dir.join("upstream")))
    {
        let Ok(bytes) = fs::read(file) else { continue };
        for (secret, forms) in &needles {
            if forms.iter().any(|form| contains(&bytes, form)) {
                hits.push(format!(
                    "{} in {}",
                    &secret[..14],
                    file.strip_prefix(dir).unwrap().display()
                ));
            }
        }
    }
    assert!(hits.is_empty(), "secrets leaked:\n{}", hits.join("\n"));
}

/// The forms that a secret is searched in: raw, reversed, UTF-16, hexadecimal, percent, JSON, and the part of base64
/// that does not depend on what stands around it, in all three alignments and both alphabets.
fn encodings(secret: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(secret);
    let mut forms = vec![
        secret.to_vec(),
        secret.iter().rev().copied().collect(),
        secret.iter().flat_map(|&byte| [byte, 0]).collect(),
        secret
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into_bytes(),
        secret
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<String>()
            .into_bytes(),
        serde_json::to_string(&text)
            .unwrap()
            .trim_matches('"')
            .as_bytes()
            .to_vec(),
    ];
    let percent: String = secret
        .iter()
        .map(|&byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    forms.push(percent.into_bytes());
    for shift in 0..3 {
        let mut padded = vec![0; shift];
        padded.extend_from_slice(secret);
        for encoded in [STANDARD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            let start = if shift == 0 { 0 } else { 4 };
            let end = padded.len() / 3 * 4;
            forms.push(encoded.as_bytes()[start..end].to_vec());
        }
    }
    forms
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(bytes, needle).is_some()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), files),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
}

#[test]
fn the_search_finds_a_planted_secret_in_every_encoding() {
    let secret = "canary-planted/0123+\"&=<x";
    for form in encodings(secret.as_bytes()) {
        let dir = tempfile::tempdir().unwrap();
        let mut planted = b"before ".to_vec();
        planted.extend_from_slice(&form);
        fs::write(dir.path().join("planted"), planted).unwrap();
        let searched = std::panic::catch_unwind(|| search(dir.path(), &[secret.to_owned()]));
        assert!(
            searched.is_err(),
            "not found: {:?}",
            String::from_utf8_lossy(&form)
        );
    }
    let mut nothing = Vec::new();
    fs::File::open("/dev/null")
        .unwrap()
        .read_to_end(&mut nothing)
        .unwrap();
    assert!(nothing.is_empty());
}
