use super::*;

#[test]
fn a_library_is_known_by_all_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let library = folder.join("libc-2.31.so");
    fs::write(&library, "").unwrap();
    fs::write(folder.join("libcrypt.so.1"), "").unwrap();
    std::os::unix::fs::symlink("libc-2.31.so", folder.join("libc.so.6")).unwrap();
    std::os::unix::fs::symlink("libcrypt.so.1", folder.join("libcrypt.so")).unwrap();
    assert_eq!(names(&library), ["libc-2.31.so", "libc.so.6"]);
}

#[test]
fn a_program_is_started_by_its_own_loader_where_it_has_one() {
    let maps = "\
55f0-55f1 r--p 00000000 fe:00 1 /usr/bin/sortie
7f00-7f01 r-xp 00000000 fe:00 2 /nowhere/libc.so.6
7f01-7f02 r--p 00000000 fe:00 2 /nowhere/libc.so.6
7f02-7f03 r-xp 00000000 fe:00 3 /nowhere/ld-linux-x86-64.so.2
7f03-7f04 r--p 00000000 fe:00 4 /usr/lib/locale/C.utf8/LC_CTYPE
7ffd-7ffe rw-p 00000000 00:00 0 [stack]
";
    let found = libraries(maps);
    let own = Own::new("/usr/bin/sortie".into(), &found);
    let start = [
        "/run/sortie/lib/ld-linux-x86-64.so.2",
        "--library-path",
        "/run/sortie/lib",
        "/run/sortie/sortie",
    ];
    assert_eq!(own.start, start);
    let inside: Vec<_> = own
        .files
        .keys()
        .map(|path| path.to_str().unwrap())
        .collect();
    let expect = [
        "/run/sortie/lib/ld-linux-x86-64.so.2",
        "/run/sortie/lib/libc.so.6",
        "/run/sortie/sortie",
    ];
    assert_eq!(inside, expect);

    let alone = Own::new("/usr/bin/sortie".into(), &[]);
    assert_eq!(alone.start, ["/run/sortie/sortie"]);
}

#[test]
fn this_program_is_found_with_what_it_runs_with() {
    let own = Own::find().unwrap();
    assert!(own.files.values().all(|file| file.exists()), "{own:?}");
    assert!(own.files.len() > 1, "{own:?}");
}
