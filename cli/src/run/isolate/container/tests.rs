use super::engine::Kind;
use super::*;

fn container(here: &Path, hide: Vec<PathBuf>) -> Container {
    Container {
        engine: Engine {
            program: "/usr/bin/podman".into(),
            kind: Kind::Podman,
            rootless: true,
        },
        image: "image:1".to_owned(),
        shared: vec![Shared {
            path: here.to_owned(),
            writable: true,
        }],
        hide,
        here: here.to_owned(),
    }
}

#[test]
fn the_engine_is_told_to_give_no_way_out() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let here = folder.path().canonicalize().unwrap();
    let socket = here.join("beside.sock");
    let _beside = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let command = [OsString::from("agent"), OsString::from("--flag")];
    let line = container(&here, Vec::new())
        .shown("/private", &command)
        .unwrap();
    let line: Vec<_> = line.iter().map(|word| word.to_string_lossy()).collect();
    let line = line.join(" ");
    let here = here.display();
    for part in [
        "/usr/bin/podman run --rm --interactive --network=none --cap-drop=ALL --security-opt=no-new-privileges",
        "--log-driver=none --pull=never --http-proxy=false ",
        &format!("--workdir={here} --mount type=bind,source={here},target={here} "),
        &format!("source=/dev/null,target={here}/beside.sock,readonly"),
        "source=/private,target=/private,readonly --mount type=bind,source=/private/home,target=/private/home ",
        "target=/run/sortie/sortie,readonly --entrypoint=/run/sortie/",
        "image:1 ",
        "__inside contain --handover HANDOVER/handover --environment /private/environment -- agent --flag",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(
        !line.contains("--env ") && !line.contains("--env="),
        "no value stands in a list of processes: {line}"
    );
}

#[test]
fn folders_of_the_system_and_paths_that_engines_misread_are_refused() {
    for path in ["/", "/usr", "/tmp", "/with,comma"] {
        assert!(usable(Path::new(path)).is_err(), "{path}");
    }
    usable(Path::new("/srv/agent")).unwrap();
    assert!(shared("/nowhere/at/all").is_err());
    assert_eq!(
        shared("/usr/bin:ro"),
        Ok(Shared {
            path: Path::new("/usr/bin").canonicalize().unwrap(),
            writable: false
        })
    );
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _open = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let refused = shared(socket.to_str().unwrap()).unwrap_err();
    assert!(refused.contains("past the gateway"), "{refused}");
}

#[test]
fn a_path_is_shared_once_and_the_last_word_counts() {
    let one = |path: &str, writable| Shared {
        path: path.into(),
        writable,
    };
    let here = Path::new("/srv/agent");
    let named = [
        one("/srv/agent", false),
        one("/srv/agent/in", true),
        one("/srv", false),
    ];
    assert_eq!(
        every(here, &named),
        [
            one("/srv", false),
            one("/srv/agent", false),
            one("/srv/agent/in", true)
        ]
    );
    assert_eq!(every(here, &[]), [one("/srv/agent", true)]);
}

#[test]
fn containers_have_names_of_their_own() {
    assert_eq!(suffix("sortie-in-aB3xyZ"), "aB3xyZ");
}
