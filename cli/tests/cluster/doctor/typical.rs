//! The table of typical faults in `docs/doctor.md`: each is planted, and named with what the table says.

use super::super::support::clock::MovableClock;
use super::super::support::{Cluster, Minted, Setup, process};
use super::{Inside, Report, foreign_root, root};

const DOCS: &str = include_str!("../../../../docs/doctor.md");

/// A row of the table, without the marks of code.
struct Row {
    fault: String,
    check: String,
    seen: String,
    fix: String,
}

fn rows() -> Vec<Row> {
    let section = DOCS
        .split("\n## ")
        .find(|it| it.starts_with("Typical faults\n"));
    let table = section.expect("a section of typical faults").lines();
    table
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells: Vec<_> = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect();
            let [fault, check, seen, fix] = cells.try_into().expect("four cells");
            Row {
                fault,
                check,
                seen,
                fix,
            }
        })
        .collect()
}

/// What is planted in the surroundings of a command that all is well with.
struct Planted<'a> {
    cluster: &'a mut Cluster,
    clock: &'a MovableClock,
    session: &'a Minted,
}

impl Planted<'_> {
    /// The report with this fault alone.
    async fn report(&mut self, fault: &str) -> Report {
        let with = async |cluster: &Cluster, change: &str| {
            let inside = Inside::new(cluster, Some(self.session));
            inside.doctor(cluster, &[change], &[]).await
        };
        let bundle = async |cluster: &Cluster, text: &str| {
            let inside = Inside::new(cluster, Some(self.session)).with_bundle(cluster, text);
            inside.doctor(cluster, &[], &[]).await
        };
        let cluster = &*self.cluster;
        let stale = format!("http://127.0.0.1:{}", process::free_port());
        match fault {
            "no proxy is set" => {
                let all = ["HTTPS", "HTTP", "ALL"].map(|name| format!("{name}_PROXY"));
                let lower = all.each_ref().map(|name| name.to_lowercase());
                let names: Vec<_> = all.iter().chain(&lower).map(String::as_str).collect();
                let inside = Inside::new(cluster, Some(self.session));
                inside.doctor(cluster, &names, &[]).await
            }
            "a stale lower-case proxy variable" => {
                with(cluster, &format!("https_proxy={stale}")).await
            }
            "a hole in NO_PROXY" => with(cluster, "NO_PROXY=api.up.test").await,
            "a variable that names other roots" => {
                with(cluster, "GIT_SSL_CAINFO=/etc/hostname").await
            }
            "a damaged bundle" => bundle(cluster, "no certificate\n").await,
            "a bundle of an older authority" => {
                let older = root("Sortie ten_older", "Sortie") + &foreign_root();
                bundle(cluster, &older).await
            }
            "a setting of git that wins" => {
                let file = cluster.path().join("home/.gitconfig");
                std::fs::write(&file, format!("[http]\n\tproxy = {stale}\n")).unwrap();
                let report = with(cluster, "NOTHING=").await;
                std::fs::remove_file(&file).unwrap();
                report
            }
            "a clock that is wrong" => {
                let moved = MovableClock::build();
                moved.advance_wall(7200);
                let moved = moved.environment();
                let changes: Vec<_> = moved.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let changes: Vec<_> = changes.iter().map(String::as_str).collect();
                let inside = Inside::new(cluster, Some(self.session));
                inside.doctor(cluster, &changes, &[]).await
            }
            "a session that has expired" => {
                self.clock.advance_cluster(cluster, 3700).await;
                let report = with(cluster, "NOTHING=").await;
                self.clock.advance_cluster(cluster, 0).await;
                report
            }
            "a gateway that is down" => {
                self.cluster.kill_gateway().await;
                let report = with(self.cluster, "NOTHING=").await;
                self.cluster.restart_gateway().await;
                report
            }
            other => panic!("nobody plants `{other}`, which docs/doctor.md lists"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_typical_fault_is_named_with_its_fix() {
    let rows = rows();
    assert_eq!(rows.len(), 10);
    let clock = MovableClock::build();
    let mut cluster = Cluster::start_with(Setup {
        control_env: clock.environment(),
        ..Setup::default()
    })
    .await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let inside = Inside::new(&cluster, Some(&session));
    inside.doctor(&cluster, &[], &[]).await.is_well();
    let mut planted = Planted {
        cluster: &mut cluster,
        clock: &clock,
        session: &session,
    };
    for row in rows {
        let report = planted.report(&row.fault).await;
        // What the table leaves out is where this cluster is.
        let seen = row.seen.trim_matches('…').trim();
        let fix = row.fix.trim_matches('…').trim();
        report.names(&row.check, seen, fix);
    }
    cluster.finish().await;
}
