use super::*;

fn layout(folder: &Path) -> Layout {
    Layout::make(&folder.join("dev"), 20_000).unwrap()
}

fn record() -> Record {
    Record::ours(20_000, false)
}

#[tokio::test]
async fn a_folder_has_one_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let held = Instance::claim(&layout, record()).await.unwrap().unwrap();
    assert!(Instance::claim(&layout, record()).await.unwrap().is_none());
    drop(held);
    assert!(Instance::claim(&layout, record()).await.unwrap().is_some());
}

#[tokio::test]
async fn who_runs_is_told_while_it_runs_only() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    assert_eq!(find(layout.folder()).await.unwrap(), None);
    let mut held = Instance::claim(&layout, record()).await.unwrap().unwrap();
    held.update(|record| record.phase = Phase::Ready).unwrap();
    let found = find(layout.folder()).await.unwrap().unwrap();
    assert_eq!(
        (found.pid, found.phase),
        (Pid::this().as_raw(), Phase::Ready)
    );
    assert!(found.is_same(&record_of(&held)));
    drop(held);
    assert_eq!(find(layout.folder()).await.unwrap(), None);
}

fn record_of(held: &Instance) -> Record {
    held.record.clone()
}

#[tokio::test]
async fn a_record_without_its_lock_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let held = Instance::claim(&layout, record()).await.unwrap().unwrap();
    let left = fs::read(&held.path).unwrap();
    drop(held);
    // As `kill -9` leaves it. The process of its id lives: it is this one.
    fs::write(record_path(layout.folder()), left).unwrap();
    assert_eq!(find(layout.folder()).await.unwrap(), None);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_id_that_was_given_again_is_no_proof() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let mut other = record();
    other.began = Some("1".to_owned());
    let _held = Instance::claim(&layout, other).await.unwrap().unwrap();
    assert!(matches!(
        find(layout.folder()).await,
        Err(Error::Failed { .. })
    ));
}
