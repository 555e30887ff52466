use futures_util::FutureExt as _;

use super::*;

const WELL: io::Result<()> = Ok(());

fn fails() -> io::Result<()> {
    Err(io::ErrorKind::Other.into())
}

#[test]
fn a_round_that_had_begun_before_the_record_does_not_count() {
    let commits = Commits::new();
    let mut pending = None;
    commits
        .round(|| {
            pending = Some(commits.pending(commits.before()));
            WELL
        })
        .unwrap();
    let pending = pending.unwrap();
    assert!(waits(&commits, pending));
    commits.round(|| WELL).unwrap();
    assert!(!waits(&commits, pending));
}

fn waits(commits: &Commits, pending: Pending) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    commits.wait(pending).now_or_never().is_none()
}

#[tokio::test]
async fn a_failed_round_refuses_all_that_it_may_have_covered_and_no_others() {
    let commits = Commits::new();
    let early = commits.before();
    let mut between = None;
    commits
        .round(|| {
            // Appended while the round runs: it may be in it, or in the next.
            between = Some(commits.pending(commits.before()));
            fails()
        })
        .unwrap_err();
    let late = commits.pending(commits.before());
    commits.round(|| WELL).unwrap();
    let early = commits.wait(commits_until(early, 1)).await;
    assert!(matches!(early, Err(NotDurable::Failed)));
    let between = commits.wait(between.unwrap()).await;
    assert!(matches!(between, Err(NotDurable::Failed)));
    commits.wait(late).await.unwrap();
}

fn commits_until(before: Before, until: u64) -> Pending {
    Pending {
        behind: before.0,
        until,
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_refuses_in_time() {
    let commits = Commits::new();
    let pending = commits.pending(commits.before());
    let waited = commits.wait(pending).await;
    assert!(matches!(waited, Err(NotDurable::Late)));
}
