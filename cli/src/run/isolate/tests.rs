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
fn names_of_sockets_are_read_as_they_were_bound() {
    let line = |name: &[u8]| {
        let mut line = b"0000000000000000: 00000002 00000000 00010000 0001 01    17".to_vec();
        line.extend(name);
        line
    };
    for (bound, read) in [
        (&b" /run/a b"[..], Some(&b"/run/a b"[..])),
        (b" ./beside.sock", Some(b"./beside.sock")),
        (b" beside.sock", Some(b"beside.sock")),
        (b" /run/\xff", Some(b"/run/\xff")),
        (b"", None),
    ] {
        let line = line(bound);
        let found = cover::name(&line).map(|path| path.as_os_str().as_encoded_bytes());
        assert_eq!(found, read);
    }
}

#[test]
fn a_socket_whose_name_is_no_text_hides_no_other() {
    use std::os::linux::net::SocketAddrExt as _;

    let folder = tempfile::tempdir().unwrap();
    let listens = folder.path().canonicalize().unwrap().join("listens");
    let _open = UnixListener::bind(&listens).unwrap();
    let name = [
        b"sortie-\xff-".as_slice(),
        &std::process::id().to_ne_bytes(),
    ]
    .concat();
    let odd = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let _odd = UnixListener::bind_addr(&odd).unwrap();
    assert!(sockets().contains(&listens));
}

#[test]
fn what_is_to_be_hidden_has_to_be_there_and_a_session_is_hidden_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let token = folder.join("token");
    std::fs::write(&token, "t").unwrap();
    let typo = folder.join("typo");
    let refused = cover::hidden(std::slice::from_ref(&typo), None).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("cannot hide {}", typo.display())
    );
    let hidden = cover::hidden(std::slice::from_ref(&folder), Some(&token)).unwrap();
    assert_eq!(hidden, [folder, token]);
    assert!(
        cover::hidden(&[], Some(Path::new("-"))).unwrap().is_empty(),
        "standard input is no file"
    );
}

/// What `sortie run` is told.
#[derive(Debug, clap::Parser)]
struct Told {
    #[arg(long)]
    no_relay: bool,
    #[command(flatten)]
    options: Options,
}

#[tokio::test]
async fn what_is_a_containers_is_refused_without_one() {
    for words in [
        ["--isolate", "--image=image"],
        ["--isolate=namespaces", "--engine=podman"],
        ["--isolate=bwrap", "--share=/usr/bin"],
    ] {
        let told: Told = clap::Parser::parse_from(["run"].iter().chain(&words));
        let refused = told.options.prepare(None).await.unwrap_err().to_string();
        assert!(
            refused.contains("--isolate=container"),
            "{words:?}: {refused}"
        );
        let alone: std::result::Result<Told, _> = clap::Parser::try_parse_from(["run", words[1]]);
        assert!(alone.is_err(), "{words:?}");
    }
    let plain: Told = clap::Parser::parse_from(["run", "--isolate"]);
    assert!(plain.options.prepare(None).await.unwrap().is_some());
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
