//! `run --isolate`: from inside, nothing is reached but the gateway.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::relay::surroundings;
use super::support::{Cluster, DEADLINE, Finished, poll};

/// Tries every way out, and prints which of them is open.
pub(super) const PROBE: &str = r#"
import errno, json, os, socket, sys

def tried(family, kind, address, send=None):
    s = socket.socket(family, kind)
    s.settimeout(3)
    try:
        s.connect(address)
        if send is not None:
            s.send(send)
            return "answered" if s.recv(512) else "closed"
        return "connected"
    except OSError as error:
        return "no: " + (errno.errorcode.get(error.errno, "?") if error.errno else str(error))
    finally:
        s.close()

local, udp, other, path, elsewhere, abstract = sys.argv[1:7]
inet, inet6, unix = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
tcp, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
query = bytes.fromhex("123401000001000000000000076578616d706c6503636f6d0000010001")
found = {
    "tcp public": tried(inet, tcp, ("1.1.1.1", 443)),
    "tcp local network": tried(inet, tcp, (local, int(other))),
    "tcp loopback of the host": tried(inet, tcp, ("127.0.0.1", int(other))),
    "tcp loopback of the host, another address": tried(inet, tcp, ("127.0.0.2", int(other))),
    "metadata": tried(inet, tcp, ("169.254.169.254", 80)),
    "udp loopback of the host": tried(inet, datagram, ("127.0.0.1", int(udp)), b"ping"),
    "udp public": tried(inet, datagram, ("1.1.1.1", 53), query),
    "dns, as configured": None,
    "ipv6 public": tried(inet6, tcp, ("2606:4700:4700::1111", 443)),
    "ipv6 loopback of the host": tried(inet6, tcp, ("::1", int(other))),
    "ssh": tried(inet, tcp, ("140.82.121.4", 22)),
    "unix socket in /tmp": tried(unix, tcp, path),
    "unix socket elsewhere": tried(unix, tcp, elsewhere),
    "abstract unix socket": tried(unix, tcp, "\0" + abstract),
}
try:
    socket.getaddrinfo("example.com", 443)
    found["dns, as configured"] = "answered"
except OSError as error:
    found["dns, as configured"] = "no: " + str(error)
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    found["raw packets"] = "opened"
except OSError as error:
    found["raw packets"] = "no: " + str(error)
found["processes of the host"] = "seen" if len([p for p in os.listdir("/proc") if p.isdigit()]) > 6 else "no"
found["the key of sortie"] = "no"
for file in sys.argv[7:]:
    try:
        if open(file).read():
            found["the key of sortie"] = "read"
    except OSError:
        pass
print(json.dumps(found))
"#;

/// Sockets of the host that must not be reached.
pub(super) struct Host {
    tcp: TcpListener,
    tcp6: Option<TcpListener>,
    udp: UdpSocket,
    _path: UnixListener,
    _elsewhere: UnixListener,
    _abstract: UnixListener,
    folder: tempfile::TempDir,
    name: String,
}

impl Host {
    pub(super) fn open(cluster: &Cluster) -> Self {
        use std::os::linux::net::SocketAddrExt as _;

        let folder = tempfile::Builder::new()
            .prefix("host-")
            .tempdir_in("/tmp")
            .unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let name = format!("sortie-host-{port}");
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let elsewhere = elsewhere(cluster);
        drop(fs::remove_file(&elsewhere));
        let opened = Self {
            tcp6: TcpListener::bind(("::1", port)).ok(),
            tcp,
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            _path: UnixListener::bind(folder.path().join("socket")).unwrap(),
            _elsewhere: UnixListener::bind(&elsewhere).unwrap(),
            _abstract: UnixListener::bind_addr(&address).unwrap(),
            folder,
            name,
        };
        for socket in [opened.folder.path().join("socket"), elsewhere] {
            fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).unwrap();
        }
        opened
    }

    /// What the probe is told to try.
    pub(super) fn arguments(&self, cluster: &Cluster) -> Vec<String> {
        let port = self.tcp.local_addr().unwrap().port().to_string();
        // The address that this machine has on its network, if any.
        let local = UdpSocket::bind("0.0.0.0:0").unwrap();
        let local = local
            .connect("192.0.2.1:9")
            .and_then(|()| local.local_addr())
            .map_or_else(
                |_alone| "127.0.0.3".to_owned(),
                |found| found.ip().to_string(),
            );
        vec![
            local,
            self.udp.local_addr().unwrap().port().to_string(),
            port,
            self.folder.path().join("socket").display().to_string(),
            elsewhere(cluster).display().to_string(),
            self.name.clone(),
            cluster.path().join("owner.key").display().to_string(),
        ]
    }

    /// Answers datagrams, so that one that comes through is seen.
    pub(super) fn answer(&self) -> std::thread::JoinHandle<()> {
        let udp = self.udp.try_clone().unwrap();
        udp.set_read_timeout(Some(DEADLINE)).unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok((_, from)) = udp.recv_from(&mut bytes) {
                if &bytes[..3] == b"end" {
                    return;
                }
                udp.send_to(b"pong", from).unwrap();
            }
        })
    }

    pub(super) fn stop(&self, answering: std::thread::JoinHandle<()>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .send_to(b"end", self.udp.local_addr().unwrap())
            .unwrap();
        answering.join().unwrap();
    }
}

/// A socket in a folder that is nobody's temporary one.
pub(super) fn elsewhere(cluster: &Cluster) -> std::path::PathBuf {
    let name = cluster.path().file_name().unwrap().to_str().unwrap();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.sock"))
}

/// The ways of isolating that can be tried here, as whoever runs the tests; the others are named.
#[expect(
    clippy::print_stdout,
    reason = "what a run leaves out stands in its log"
)]
pub(super) fn ways() -> Vec<&'static str> {
    let mut ways = vec!["namespaces", "bwrap"];
    ways.retain(|how| {
        let made = match *how {
            "bwrap" => "bwrap --unshare-all --dev-bind / / true",
            _ => "unshare --user --map-root-user --net --mount --pid --ipc --fork true",
        };
        let tried = std::process::Command::new("sh").args(["-c", made]).status();
        let possible = tried.is_ok_and(|status| status.success());
        if !possible {
            println!("skipped: {how}: `{made}` does not succeed on this machine");
        }
        possible
    });
    ways
}

/// `sortie run --isolate=HOW -- CMD`.
async fn run(cluster: &Cluster, how: &str, command: &[&str]) -> Finished {
    let isolate = format!("--isolate={how}");
    let own = ["run", "--agent=runner", &isolate, "--"];
    let arguments = [&own[..], command].concat();
    let env = surroundings(cluster);
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    cluster
        .run(env!("CARGO_BIN_EXE_sortie"), &arguments, &env)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_reached_from_inside_but_the_gateway() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let host = Host::open(&cluster);
    let answering = host.answer();
    let mut probe = vec!["python3".to_owned(), "-c".to_owned(), PROBE.to_owned()];
    drop(surroundings(&cluster));
    probe.extend(host.arguments(&cluster));
    let probe: Vec<&str> = probe.iter().map(String::as_str).collect();

    // The probe finds what is open: without isolation every local way is.
    let arguments: Vec<&str> = probe[1..].to_vec();
    let open = cluster.run("python3", &arguments, &[]).await.ok();
    let open: Value = serde_json::from_str(&open).unwrap();
    for way in [
        "tcp local network",
        "tcp loopback of the host",
        "udp loopback of the host",
        "unix socket in /tmp",
        "unix socket elsewhere",
        "abstract unix socket",
        "processes of the host",
        "the key of sortie",
    ] {
        assert!(
            !open[way].as_str().unwrap().starts_with("no"),
            "{way}: {open:#}"
        );
    }
    if host.tcp6.is_some() {
        assert_eq!(open["ipv6 loopback of the host"], "connected");
    }

    for way in ways() {
        let seen = run(&cluster, way, &probe).await.ok();
        let seen: Value = serde_json::from_str(&seen).unwrap();
        for (what, found) in seen.as_object().unwrap() {
            assert!(
                found.as_str().unwrap().starts_with("no"),
                "{way} {what}: {seen:#}"
            );
        }
        let before = cluster.recorded_at("/bytes/8").len();
        let url = cluster.url("/bytes/8");
        let seen = run(&cluster, way, &["curl", "-sSf", &url]).await;
        assert_eq!(seen.ok(), "xxxxxxxx", "{way}");
        assert_eq!(cluster.recorded_at("/bytes/8").len(), before + 1);
        let refused = run(&cluster, way, &["curl", "-sS", "https://example.com/"]).await;
        assert!(
            refused.seen().contains("host_unmatched"),
            "{}",
            refused.seen()
        );
    }
    host.stop(answering);
    drop(fs::remove_file(elsewhere(&cluster)));
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_beside_the_command_is_no_way_out() {
    const LISTEN: &str = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('./beside.sock'); s.listen(); \
                          print('ready', flush=True); input()";
    const PROBE: &str = r#"
import socket
s = socket.socket(socket.AF_UNIX)
try:
    s.connect("beside.sock")
    print("connected")
except OSError:
    print("closed")
try:
    print("read" if open("token").read() else "covered")
except PermissionError:
    print("covered")
"#;
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    fs::write(cluster.path().join("token"), &session.token).unwrap();
    // Another program, in the same folder: its name in the system's list says of no folder.
    let mut beside = Command::new("python3")
        .args(["-c", LISTEN])
        .current_dir(cluster.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(beside.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));

    let env = surroundings(&cluster);
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let own = ["run", "--session=token", "--", "python3", "-c", PROBE];
    let program = env!("CARGO_BIN_EXE_sortie");
    let open = cluster.run(program, &own, &env).await.ok();
    assert_eq!(open, "connected\nread\n", "the probe finds what is open");
    for way in ways() {
        let isolate = format!("--isolate={way}");
        let line = [&own[..2], &[isolate.as_str()], &own[2..]].concat();
        let seen = cluster.run(program, &line, &env).await.ok();
        assert_eq!(seen, "closed\ncovered\n", "{way}");
    }
    drop(beside);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_command_is_an_ordinary_one_otherwise() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid());
    let me = me.unwrap().unwrap().name;
    for way in ways() {
        let id = run(&cluster, way, &["id", "-un"]).await.ok();
        assert_eq!(id.trim(), me, "{way}");
        let folder = run(&cluster, way, &["pwd"]).await.ok();
        let here = cluster.path().canonicalize().unwrap();
        assert_eq!(folder.trim(), here.display().to_string());
        assert_eq!(
            run(&cluster, way, &["sh", "-c", "exit 7"]).await.code,
            7,
            "{way}"
        );
        let killed = run(&cluster, way, &["sh", "-c", "kill -9 $$"]).await;
        assert_eq!(killed.code, 137, "{way} {}", killed.seen());
        let missing = run(&cluster, way, &["/nowhere/command"]).await;
        assert_eq!(missing.code, 127, "{way} {}", missing.seen());
        // It has no power over what surrounds it.
        let script = "umount /tmp 2>/dev/null && echo open; ip link set lo down 2>/dev/null && echo open; \
                      unshare --user --map-root-user --mount umount /tmp 2>/dev/null && echo open; \
                      grep NoNewPrivs /proc/self/status";
        let seen = run(&cluster, way, &["sh", "-c", script]).await.ok();
        assert_eq!(seen.trim(), "NoNewPrivs:\t1", "{way}");
        let private = run(&cluster, way, &["sh", "-c", "ls /tmp /run"]).await.ok();
        assert!(!private.contains("host-"), "{way} {private}");
        signalled(&cluster, way).await;
        killed_with_it(&cluster, way).await;
    }
    cluster.finish().await;
}

/// A signal to `sortie run` is the command's.
async fn signalled(cluster: &Cluster, how: &str) {
    let script = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let isolate = format!("--isolate={how}");
    let mut child = Command::new(env!("CARGO_BIN_EXE_sortie"))
        .args(["run", "--agent=runner", &isolate, "--", "sh", "-c", script])
        .envs(surroundings(cluster))
        .current_dir(cluster.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("bye"));
    let ended = tokio::time::timeout(DEADLINE, child.wait()).await;
    assert_eq!(ended.expect("it ends").unwrap().code(), Some(9));
}

/// Whoever kills `sortie run` has killed all that is inside.
async fn killed_with_it(cluster: &Cluster, how: &str) {
    let name = format!("inside-{}-{how}", std::process::id());
    let script = format!("echo ready; (exec -a {name} sleep 600) & exec -a {name} sleep 600");
    let isolate = format!("--isolate={how}");
    let mut child = Command::new(env!("CARGO_BIN_EXE_sortie"))
        .args([
            "run",
            "--agent=runner",
            &isolate,
            "--",
            "bash",
            "-c",
            &script,
        ])
        .envs(surroundings(cluster))
        .current_dir(cluster.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    let running = || {
        let started = |id: &fs::DirEntry| {
            let line = fs::read(id.path().join("cmdline")).unwrap_or_default();
            line.starts_with(name.as_bytes())
        };
        let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        all.filter(started).count()
    };
    poll("both to run", || async { (running() == 2).then_some(()) }).await;
    child.kill().await.unwrap();
    poll("both to end", || async { (running() == 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_know_no_proxy_get_through_where_they_are_redirected() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let url = cluster.url("/bytes/8");
    let script = r#"
unset HTTPS_PROXY https_proxy HTTP_PROXY http_proxy ALL_PROXY all_proxy
curl -sS --max-time 20 "$1"; echo
curl -sS --max-time 20 --http2 -w ' %{http_version}' "$1"; echo
python3 -c "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())" "$1"
curl -sS --max-time 20 -o /dev/null -w '%{http_code}' http://sortie.internal/skill; echo
curl -sS --max-time 20 https://other.example/ | grep -q host_unmatched && echo host_unmatched
curl -sS --max-time 20 http://169.254.169.254/latest/meta-data/ | grep -q name_missing && echo name_missing
curl -sS --max-time 20 https://1.1.1.1/ 2>&1 | grep -o 'unrecognized name'
curl -s --max-time 20 http://198.18.0.1:22/; echo "closed $?"
ip route flush table local 2>/dev/null && echo changed
exit 0
"#;
    let expect = "xxxxxxxx\nxxxxxxxx 2\nxxxxxxxx\n200\nhost_unmatched\nname_missing\nunrecognized name\nclosed 7\n";
    for way in ways() {
        let before = cluster.recorded_at("/bytes/8").len();
        let isolate = format!("--isolate={way}");
        let line = [
            "run",
            "--agent=runner",
            "--redirect",
            &isolate,
            "--",
            "sh",
            "-c",
            script,
            "sh",
            &url,
        ];
        let env = surroundings(&cluster);
        let env: Vec<_> = env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let seen = cluster.run(env!("CARGO_BIN_EXE_sortie"), &line, &env).await;
        assert_eq!(seen.text(), expect, "{way} {}", seen.stderr);
        let arrived = cluster.recorded_at("/bytes/8");
        assert_eq!(arrived.len(), before + 3, "{way}");
        for request in arrived {
            assert!(
                request.to_string().contains(&format!("Bearer {value}")),
                "{request}"
            );
        }
    }
    cluster.finish().await;
}
