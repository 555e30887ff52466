use std::os::unix::net::UnixListener;

use super::cover::sockets;
use super::*;

#[test]
fn sockets_that_listen_are_found_and_gone_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (listens, gone) = (folder.path().join("listens"), folder.path().join("gone"));
    let _open = UnixListener::bind(&listens).unwrap();
    let unlinked = UnixListener::bind(&gone).unwrap();
    std::fs::remove_file(&gone).unwrap();
    let found = sockets();
    assert!(found.contains(&listens), "{found:?}");
    assert!(!found.contains(&gone));
    drop(unlinked);
}

#[test]
fn what_is_needed_is_kept_and_keys_are_covered() {
    let folder = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
    let hidden = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let inner = hidden.path().join("inner");
    std::fs::write(&inner, "key").unwrap();
    let own = folder.path().join("own.sock");
    let _own = UnixListener::bind(&own).unwrap();
    let hide = [hidden.path().to_owned(), inner.clone()];
    let view = view(&[folder.path()], &hide).unwrap();
    assert!(view.private.contains(&PathBuf::from("/tmp")));
    assert!(view.keep.contains(&folder.path().to_owned()));
    assert!(view.mask.contains(&hidden.path().to_owned()));
    assert!(!view.mask.contains(&inner), "it is covered with its folder");
    assert!(!view.mask.contains(&own), "it is ours");
}

#[test]
fn bubblewrap_and_we_are_told_the_same() {
    let view = View {
        private: vec!["/tmp".into()],
        keep: vec!["/tmp/kept".into()],
        mask: vec!["/etc".into(), "/etc/passwd".into()],
    };
    let program = Path::new("/usr/bin/sortie");
    let words = |line: Vec<OsString>| {
        let words: Vec<_> = line.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    };
    let line = words(bubblewrap(Path::new("bwrap"), program, (&view, false)).unwrap());
    for part in [
        "--unshare-net",
        "--unshare-user",
        "--cap-drop ALL",
        "--tmpfs /tmp --bind /tmp/kept /tmp/kept",
        "--tmpfs /etc --ro-bind /dev/null /etc/passwd",
        "-- /usr/bin/sortie __inside become",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(
        words(plain(program, &view)),
        "/usr/bin/sortie __inside separate --private /tmp --keep /tmp/kept --mask /etc --mask /etc/passwd"
    );
}

#[test]
fn powers_over_the_network_are_for_our_own_step_alone() {
    let (bwrap, program) = (Path::new("bwrap"), Path::new("/usr/bin/sortie"));
    let told = |redirects| {
        let line = bubblewrap(bwrap, program, (&View::default(), redirects)).unwrap();
        line.join(std::ffi::OsStr::new(" ")).into_string().unwrap()
    };
    let (with, without) = (told(true), told(false));
    assert!(with.contains("--cap-drop ALL --dev-bind") && with.contains("--cap-add CAP_NET_ADMIN"));
    assert!(
        with.ends_with(" -- /usr/bin/sortie __inside become --lower"),
        "{with}"
    );
    assert!(!without.contains("--cap-add"), "{without}");
    assert!(
        without.ends_with(" -- /usr/bin/sortie __inside become"),
        "{without}"
    );
}

#[test]
fn the_ports_of_services_are_redirected_with_those_of_the_web() {
    assert_eq!(ports([].into_iter()), [443, 80]);
    assert_eq!(
        ports([8443, PORT, 443, 8443, 53].into_iter()),
        [443, 80, 53, 8443]
    );
    assert_eq!(ports(1000..2000).len(), PORTS_MAX);
}
