use super::*;

#[test]
fn a_living_boots_folder_is_not_adopted_and_a_dead_ones_is() {
    let parent = tempfile::tempdir().unwrap();
    let living = Folder::create(parent.path(), BootId::generate()).unwrap();
    assert!(Folder::adopt(parent.path()).unwrap().is_empty());
    let boot = living.boot;
    drop(living);
    let adopted = Folder::adopt(parent.path()).unwrap();
    assert_eq!(
        adopted.iter().map(|folder| folder.boot).collect::<Vec<_>>(),
        [boot]
    );
    // And nobody else may have it meanwhile.
    assert!(Folder::adopt(parent.path()).unwrap().is_empty());
}

#[test]
fn what_was_set_aside_is_kept_but_not_adopted() {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), BootId::generate()).unwrap();
    let path = folder.path.clone();
    folder.set_aside().unwrap();
    assert!(path.with_extension("damaged").is_dir());
    assert!(Folder::adopt(parent.path()).unwrap().is_empty());
}
