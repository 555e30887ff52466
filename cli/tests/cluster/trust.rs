//! `sortie trust`, with the programs that stores really belong to.

use std::path::{Path, PathBuf};

use super::support::{Finished, process};

const SORTIE: &str = env!("CARGO_BIN_EXE_sortie");

/// A tenant's authority in a file.
fn authority(dir: &Path) -> PathBuf {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Sortie ten_0123");
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "Sortie");
    let key = rcgen::KeyPair::generate().unwrap();
    let file = dir.join("ca.pem");
    std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
    file
}

/// Runs `sortie trust` on one store; the state of each row that it told.
async fn trust(dir: &Path, act: &[&str], store: &[&str]) -> Vec<String> {
    let arguments = [&["trust"], act, store, &["--output", "json"]].concat();
    let done = process::run(dir, SORTIE, &arguments, &[]).await;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&done.ok()).unwrap();
    rows.iter()
        .map(|row| row["state"].as_str().unwrap().to_owned())
        .collect()
}

/// In, in again, out, out again; `list` says what the store's own program shows.
async fn goes_in_and_out<L: AsyncFn() -> Finished>(dir: &Path, store: &[&str], list: L) {
    let file = authority(dir).display().to_string();
    let install = ["install", "--yes", "--authority", &file];
    let remove = ["remove", "--yes", "--authority", &file];
    let before = list().await.ok();
    assert_eq!(trust(dir, &["status"], store).await, ["none"]);
    assert_eq!(trust(dir, &install, store).await, ["installed"]);
    assert!(list().await.ok().contains("sortie-ten_0123-"));
    assert_eq!(trust(dir, &install, store).await, ["was there already"]);
    assert_eq!(trust(dir, &["status"], store).await, ["installed"]);
    assert_eq!(trust(dir, &remove, store).await, ["removed"]);
    assert_eq!(trust(dir, &remove, store).await, ["was not there"]);
    assert_eq!(list().await.ok(), before);
    assert_eq!(trust(dir, &install, store).await, ["installed"]);
    assert_eq!(
        trust(dir, &["remove", "--all", "--yes"], store).await,
        ["removed"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn javas_store_takes_the_authority_and_gives_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("java");
    let store = home.join("lib/security/cacerts");
    std::fs::create_dir_all(store.parent().unwrap()).unwrap();
    let store = store.display().to_string();
    // A store with another authority in it.
    let made = [
        "-genkeypair",
        "-alias",
        "other",
        "-keyalg",
        "EC",
        "-dname",
        "CN=Other",
        "-keystore",
        &store,
        "-storepass",
        "changeit",
    ];
    process::run(dir.path(), "keytool", &made, &[]).await.ok();
    let home = home.display().to_string();
    let list = async || {
        let arguments = ["-list", "-keystore", &store, "-storepass", "changeit"];
        process::run(dir.path(), "keytool", &arguments, &[("LC_ALL", "C")]).await
    };
    goes_in_and_out(dir.path(), &["--store", "java", "--java-home", &home], list).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_nss_takes_the_authority_and_gives_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("db");
    std::fs::create_dir(&database).unwrap();
    let database = database.display().to_string();
    let store = ["--store", "nss", "--nss-db", &database];
    let sql = format!("sql:{database}");
    let path = std::env::var_os("PATH").unwrap();
    if !std::env::split_paths(&path).any(|folder| folder.join("certutil").is_file()) {
        // The package is named to whoever has none.
        let file = authority(dir.path()).display().to_string();
        let arguments = [
            &["trust", "install", "--yes", "--authority", &file],
            &store[..],
        ]
        .concat();
        let done = process::run(dir.path(), SORTIE, &arguments, &[]).await;
        assert_eq!(done.code, 1);
        assert!(done.stderr.contains("libnss3-tools"), "{}", done.stderr);
        return;
    }
    let made = ["-N", "-d", &sql, "--empty-password"];
    process::run(dir.path(), "certutil", &made, &[]).await.ok();
    let list = async || process::run(dir.path(), "certutil", &["-L", "-d", &sql], &[]).await;
    goes_in_and_out(dir.path(), &store, list).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_authority_of_a_tenant_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().display().to_string();
    for text in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let file = dir.path().join("other.pem");
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let arguments = [
            "trust",
            "install",
            "--yes",
            "--store",
            "system",
            "--system-dir",
            &store,
            "--authority",
            &file,
        ];
        let done = process::run(dir.path(), SORTIE, &arguments, &[]).await;
        assert_eq!(done.code, 1, "{}", done.seen());
        assert!(
            done.stderr.contains("no tenant's authority"),
            "{}",
            done.stderr
        );
    }
    let file = authority(dir.path()).display().to_string();
    let unsure = [
        "trust",
        "install",
        "--authority",
        &file,
        "--system-dir",
        &store,
    ];
    let done = process::run(dir.path(), SORTIE, &unsure, &[]).await;
    assert_eq!(done.code, 2, "nobody was asked: {}", done.seen());
    assert!(done.stderr.contains("will trust it"), "{}", done.stderr);
}
