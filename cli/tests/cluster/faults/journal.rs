//! The journal when its disk fails, or what stands behind it: nothing leaves unrecorded, nothing is lost, and brokering
//! goes on by itself once the cause is gone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::invariants;
use super::load::{Load, Outcome};
use crate::support::process::metric;
use crate::support::{Cluster, Setup, poll, start_control, tunnel};

/// How many ask at once.
const CLIENTS: usize = 8;
/// What each of them rests between two requests where it asks for long: a hundred a second, all in all.
const PACE: Duration = Duration::from_millis(80);
/// What a request is answered with that cannot be recorded.
const REFUSED: &str = "503 journal_full";

/// A small file system for a journal. It goes with the value.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one in memory; `None`, said aloud, where that is not allowed.
    fn mount(path: &Path, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        Self::with(path, &["-t", "tmpfs", "-o", &size, "tmpfs"])
    }

    /// Mounts one on a device that is larger than what is behind it: once that is full, the device fails (EIO).
    fn thin(path: &Path, behind: &Self) -> Option<Self> {
        let image = behind.0.join("image");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(64 << 20).unwrap();
        // Without a journal of its own it goes on after an error, and does not turn read-only for good.
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-O", "^has_journal"])
            .arg(&image)
            .status();
        let Ok(made) = made else {
            eprintln!("SKIPPED: making a file system needs mkfs.ext4 (e2fsprogs)");
            return None;
        };
        assert!(made.success());
        Self::with(path, &["-o", "loop", image.to_str().unwrap()])
    }

    fn with(path: &Path, options: &[&str]) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = mount(options, path);
        if !mounted {
            eprintln!("SKIPPED: mounting a file system needs root");
        }
        mounted.then(|| Self(path.to_owned()))
    }

    fn remount(&self, mode: &str) {
        assert!(mount(&["-o", &format!("remount,{mode}")], &self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ended = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(options: &[&str], path: &Path) -> bool {
    let mount = Command::new("mount").args(options).arg(path).status();
    mount.is_ok_and(|status| status.success())
}

/// Waits until so many requests were refused.
async fn refusals(load: &Load, count: usize) {
    poll("refusals", || async {
        (load.failed(REFUSED) >= count).then_some(())
    })
    .await;
}

/// Each request was answered: served, or refused because it cannot be recorded.
fn nothing_else_failed(outcome: &Outcome) {
    let others: Vec<_> = outcome
        .failures
        .keys()
        .filter(|kind| *kind != REFUSED)
        .collect();
    assert!(others.is_empty(), "failed: {:?}", outcome.failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_a_disk_that_is_read_only_or_full_refuses_what_is_brokered_until_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(&folder.path().join("journal"), "8m") else {
        return;
    };
    let lines = format!(
        "[journal]\npath = {:?}\nsegment_bytes = 1048576\nbytes_max = 67108864\n",
        disk.0
    );
    let cluster = Cluster::start_with(Setup {
        gateway: lines,
        ..Setup::default()
    })
    .await;
    cluster.bearer_service().await;
    let untouched = json!({"host": "other.up.test", "intercept": "never"});
    cluster.service("untouched", untouched).await;
    let session = cluster.session().await;

    disk.remount("ro");
    let load = Load::start(&cluster, &session, cluster.ports.proxy, CLIENTS);
    refusals(&load, 100).await;
    let outcome = load.stop().await;
    nothing_else_failed(&outcome);
    assert_eq!(outcome.served, 0);
    assert!(cluster.recorded().is_empty(), "a request left unrecorded");
    disk.remount("rw");

    // Somebody else's file takes all there is.
    let ballast = disk.0.join("ballast");
    let full = std::fs::write(&ballast, vec![1; 16 << 20]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    let load = Load::start(&cluster, &session, cluster.ports.proxy, CLIENTS);
    refusals(&load, 100).await;
    assert_eq!(load.served(), 0);
    assert!(cluster.recorded().is_empty(), "a request left unrecorded");
    // No credential leaves in an untouched tunnel: it goes on, and is counted.
    let name = "sortie_gateway_journal_unrecorded_tunnels_total";
    let admin = cluster.ports.gateway_admin;
    assert_eq!(metric(admin, name).await, Some(0.0));
    let authority = format!("other.up.test:{}", cluster.ports.https);
    let opened = tunnel::connect(cluster.ports.proxy, &authority, &session.token).await;
    assert_eq!(opened.0, 200);
    assert_eq!(metric(admin, name).await, Some(1.0));

    std::fs::remove_file(&ballast).unwrap();
    load.more(100).await;
    nothing_else_failed(&load.stop().await);
    invariants::hold(cluster, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_a_disk_that_fails_refuses_what_is_brokered_until_it_keeps_data_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(behind) = Disk::mount(&folder.path().join("behind"), "12m") else {
        return;
    };
    let Some(disk) = Disk::thin(&folder.path().join("journal"), &behind) else {
        return;
    };
    let cluster = Cluster::start_with(Setup {
        gateway: format!(
            "[journal]\npath = {:?}\nsegment_bytes = 1048576\nbytes_max = 33554432\n",
            disk.0.join("of-gateway")
        ),
        ..Setup::default()
    })
    .await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let load = Load::start(&cluster, &session, cluster.ports.proxy, CLIENTS);
    load.more(100).await;

    let ballast = behind.0.join("ballast");
    let full = std::fs::write(&ballast, vec![1; 16 << 20]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    refusals(&load, 300).await;
    let admin = cluster.ports.gateway_admin;
    let failed = metric(admin, "sortie_gateway_journal_sync_failures_total").await;
    assert!(failed.is_some_and(|failed| failed > 0.0), "{failed:?}");

    std::fs::remove_file(&ballast).unwrap();
    load.more(100).await;
    nothing_else_failed(&load.stop().await);
    // What was served while the disk failed was shipped from memory.
    invariants::hold(cluster, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_without_control_the_journal_grows_to_its_bound_and_drains_behind_it() {
    without_control(2 << 20, None).await;
}

/// For an hour, or `SORTIE_SOAK_SECONDS`, with the bound that is the default.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "make soak"]
async fn f11_without_control_for_an_hour_nothing_is_lost() {
    let seconds = std::env::vars().find(|(name, _)| name == "SORTIE_SOAK_SECONDS");
    let seconds = seconds.map_or(3_600, |(_, text)| text.parse().unwrap());
    without_control(4 << 30, Some(Duration::from_secs(seconds))).await;
}

/// Control goes away until the journal is full, or for so long, and comes back.
async fn without_control(bytes_max: u64, away: Option<Duration>) {
    // For long, and only what has to be known of each request is written down.
    let level = if away.is_some() { "info" } else { "trace" };
    let log = |program: &str| vec![(format!("SORTIE_{program}__LOG__LEVEL"), level.to_owned())];
    let mut cluster = Cluster::start_with(Setup {
        gateway: format!("[journal]\nsegment_bytes = 1048576\nbytes_max = {bytes_max}\n"),
        gateway_env: log("GATEWAY"),
        ..Setup::default()
    })
    .await;
    cluster.bearer_service().await;
    let day = json!({"staleness_seconds": 86_400});
    drop(cluster.api.patch("/v1/tenants/-/vaults/main", day).await);
    let session = json!({"agent": "runner", "vaults": ["main"], "ttl_seconds": 86_400});
    let session = cluster.api.mint(session).await;
    let warm = cluster.url("/bytes/8");
    cluster.curl(&session, &["-f", &warm]).await.ok();
    cluster.control.stop().await;
    let pause = away.map_or(Duration::ZERO, |_| PACE);
    let load = Load::paced(&cluster, &session, cluster.ports.proxy, (CLIENTS, pause));
    match away {
        None => refusals(&load, 100).await,
        Some(away) => tokio::time::sleep(away).await,
    }
    let taken = metric(cluster.ports.gateway_admin, "sortie_gateway_journal_bytes").await;
    assert!(
        taken.is_some_and(|taken| taken <= bytes_max as f64),
        "{taken:?}"
    );
    let (dir, ports) = (cluster.path(), cluster.ports);
    cluster.control = start_control(dir, ports, "control", None, &log("CONTROL")).await;
    load.more(100).await;
    nothing_else_failed(&load.stop().await);
    let alarms = cluster.api.operate(Method::GET, "/v1/alarms", None).await;
    assert_eq!(alarms["alarms"], json!([]));
    invariants::hold(cluster, &[]).await;
}
