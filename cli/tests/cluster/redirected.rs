//! Redirected traffic: clients that know no proxy, in a network whose firewall turns their connections to a relay.
//!
//! The network is a namespace with an interface that leads nowhere, as a pod's would be without its firewall. The
//! gateway is outside; two small programs carry the relay's connections to it over a Unix socket.

use std::fs;
use std::path::Path;

use serde_json::json;
use tokio::net::{TcpStream, UnixListener};
use tokio::process::Command;

use super::support::{Cluster, DEADLINE, Finished, process};

/// What carries connections out of the namespace.
const BRIDGE: &str = r#"
import socket, sys, threading

def pump(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass

listener = socket.create_server(("127.0.0.1", 7380))
while True:
    near, _ = listener.accept()
    far = socket.socket(socket.AF_UNIX)
    far.connect(sys.argv[1])
    for pair in ((near, far), (far, near)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"#;

/// As docs/relay.md has it for a pod, but that here client and relay are one user: what goes to the loopback is left
/// alone, and the gateway is there.
const RULES: &str = "
table inet sortie {
  chain output {
    type nat hook output priority -100; policy accept;
    udp dport 53 redirect to :7353
    ip daddr 127.0.0.0/8 return
    ip6 daddr ::1 return
    meta l4proto tcp redirect to :7382
  }
}
";

/// The same, but that the relay's own connections are redirected with all others.
const RULES_WITH_A_LOOP: &str = "
table inet sortie {
  chain output {
    type nat hook output priority -100; policy accept;
    tcp dport { 7380, 443 } redirect to :7382
  }
}
";

/// A namespace's network, a relay in it, and then the script.
const AROUND: &str = r#"
set -e
ip link set lo up
ip link add eth0 type veth peer name eth1
ip addr add 10.99.0.2/24 dev eth0
ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad
ip link set eth0 up
ip link set eth1 up
ip route add default via 10.99.0.1
ip -6 route add default via 2001:db8:1::1
nft -f rules.nft
python3 bridge.py "$FOLDER/gateway.sock" &
"$SORTIE" relay --session-file session --no-password --listen 127.0.0.1:7381 --proxy http://127.0.0.1:7380 \
  --redirected 127.0.0.1:7382 --redirected '[::1]:7382' --dns 127.0.0.1:7353 > relay.log 2>&1 &
for attempt in $(seq 500); do
  if grep -q '^relay of session' relay.log && (: < /dev/tcp/127.0.0.1/7380) 2>/dev/null; then break; fi
  sleep 0.05
done
set +e
"#;

/// Runs a script where a relay takes what is redirected. The relay's log is what comes second.
async fn inside(cluster: &Cluster, rules: &str, script: &str) -> (Finished, String) {
    let session = cluster.session().await;
    let path = cluster.path();
    let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
    write("session", &session.token);
    write("rules.nft", rules);
    write("bridge.py", BRIDGE);
    write("script.sh", &format!("{AROUND}{script}"));
    let _bridge = Outside::open(&path.join("gateway.sock"), cluster.ports.proxy);
    let mut command = Command::new("unshare");
    // Root needs no user namespace, and may be where there is none.
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let (ca, folder) = (
        cluster.ca().display().to_string(),
        path.display().to_string(),
    );
    let arguments = [
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "bash",
        "script.sh",
    ];
    let path_with_sbin = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let env = [
        ("PATH", path_with_sbin.as_str()),
        ("SORTIE", env!("CARGO_BIN_EXE_sortie")),
        ("FOLDER", folder.as_str()),
        ("CA", ca.as_str()),
    ];
    let done = process::run_within(DEADLINE, path, command, (&arguments, &env)).await;
    let log = fs::read_to_string(path.join("relay.log")).unwrap_or_default();
    (done, log)
}

/// The side of the bridge that is with the gateway.
struct Outside(tokio::task::JoinHandle<()>);

impl Outside {
    fn open(socket: &Path, gateway: u16) -> Self {
        drop(fs::remove_file(socket));
        let listener = UnixListener::bind(socket).unwrap();
        Self(tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let far = TcpStream::connect(("127.0.0.1", gateway)).await;
                    let mut far = far.expect("the gateway runs");
                    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                });
            }
        }))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says why the network cannot be made, where it cannot.
#[expect(
    clippy::print_stdout,
    reason = "what a run leaves out stands in its log"
)]
fn is_possible() -> bool {
    let user = match nix::unistd::geteuid().is_root() {
        true => "",
        false => "--user --map-root-user",
    };
    let made = format!("unshare {user} --net --pid --fork true");
    let tried = std::process::Command::new("sh")
        .args(["-c", &made])
        .status();
    let is_possible = tried.is_ok_and(|status| status.success());
    if !is_possible {
        println!("skipped: `{made}` does not succeed on this machine");
    }
    is_possible
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_know_no_proxy_get_their_credential_and_their_refusals() {
    if !is_possible() {
        return;
    }
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    cluster
        .service(
            "plain",
            json!({
                "host": "plain.up.test", "scheme": "http", "port": cluster.ports.http,
                "inject": [{"type": "bearer", "credential": "API_KEY"}],
            }),
        )
        .await;
    let (https, http) = (cluster.ports.https, cluster.ports.http);
    let script = format!(
        r#"
api=https://api.up.test:{https}
direct="curl -sS --max-time 20 --noproxy * --cacert $CA"
set -f
run() {{ name=$1; shift; printf '%s: ' "$name"; "$@" 2>&1 | tr -d '\r' | tr '\n' ' '; echo; }}
run http1 $direct --http1.1 $api/bytes/8
run http2 $direct --http2 -w ' %{{http_version}}' $api/bytes/8
run python env SSL_CERT_FILE=$CA python3 -c "import urllib.request as r; print(r.urlopen('$api/bytes/8').read())"
run ipv6 $direct --resolve api.up.test:{https}:[2001:db8::7] -w ' %{{remote_ip}}' $api/bytes/8
run plain $direct http://plain.up.test:{http}/bytes/8
run guide $direct http://sortie.internal/ca.pem -o fetched.pem
run other $direct -o /dev/null -w '%{{http_code}} %header{{x-sortie-code}}' https://other.up.test/
run nameless $direct -k https://203.0.113.7/
run closed $direct http://203.0.113.8/
run direct $direct -k https://127.0.0.1:7382/
run direct6 $direct -k https://[::1]:7382/
run names python3 -c "import socket; print(socket.gethostbyname('anything.example'))"
run unanswered bash -c 'exec 3<>/dev/tcp/203.0.113.9/25; echo HELO >&3; cat <&3' || true
"#
    );
    let (done, log) = inside(&cluster, RULES, &script).await;
    let seen = done.seen();
    let line = |name: &str| {
        let start = format!("{name}: ");
        let found = seen.lines().find_map(|line| line.strip_prefix(&start));
        found
            .unwrap_or_else(|| panic!("{name} in {seen}\n{log}"))
            .trim()
    };
    assert_eq!(line("http1"), "xxxxxxxx", "{log}");
    assert_eq!(line("http2"), "xxxxxxxx 2");
    assert_eq!(line("python"), "b'xxxxxxxx'");
    assert_eq!(line("ipv6"), "xxxxxxxx 2001:db8::7");
    assert_eq!(line("plain"), "xxxxxxxx");
    let arrived = cluster.recorded_at("/bytes/8");
    assert_eq!(arrived.len(), 5, "{arrived:#?}");
    for request in arrived {
        assert!(
            request.to_string().contains(&format!("Bearer {value}")),
            "{request}"
        );
    }
    assert_eq!(line("guide"), "");
    let read = |path: &Path| fs::read_to_string(path).unwrap().trim().to_owned();
    assert_eq!(
        read(&cluster.path().join("fetched.pem")),
        read(&cluster.ca())
    );
    assert_eq!(line("other"), "403 host_unmatched");
    assert_eq!(line("names"), "198.18.0.1");

    assert!(
        line("nameless").contains("unrecognized name"),
        "{}",
        line("nameless")
    );
    assert!(
        line("closed").contains("\"code\":\"name_missing\""),
        "{}",
        line("closed")
    );
    for (at, code) in [
        ("203.0.113.7:443", "name_missing, 1 so far"),
        ("127.0.0.1:7382", "redirect_missing, 1 so far"),
        ("203.0.113.9:25", "opening_unknown, 1 so far"),
    ] {
        let told = log
            .lines()
            .any(|line| line.contains(at) && line.contains(code));
        assert!(told, "{code}: {log}");
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_own_way_is_redirected_says_so_and_makes_no_loop() {
    if !is_possible() {
        return;
    }
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    // The relay counts a connection once it is closed: the client may be gone before.
    let script = "curl -sS --max-time 60 --noproxy '*' --cacert $CA --resolve api.up.test:443:203.0.113.7 \
                  https://api.up.test/; code=$?; for attempt in $(seq 200); do \
                  if grep -q gateway_unreachable relay.log; then break; fi; sleep 0.05; done; exit $code";
    let (done, log) = inside(&cluster, RULES_WITH_A_LOOP, script).await;
    assert_ne!(done.code, 0, "{}", done.seen());
    assert!(log.contains("redirect_loop, 1 so far"), "{log}");
    assert!(log.contains("gateway_unreachable, 1 so far"), "{log}");
    assert!(cluster.recorded().is_empty());
    cluster.finish().await;
}

/// The rules that docs/relay.md shows: one user's traffic goes to the relay, and nothing else of that user leaves.
#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_the_documentation_hold_for_one_user_and_for_no_other() {
    if !is_possible() {
        return;
    }
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/relay.md");
    let page = fs::read_to_string(page).unwrap();
    let rules = page
        .split("```nft\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let rules = rules.expect("docs/relay.md shows rules");
    // An ordinary user's namespace has one user, so that the rules are loaded there and meet nobody.
    if !nix::unistd::geteuid().is_root() {
        let (done, log) = inside(&cluster, rules, "nft list ruleset").await;
        assert!(done.ok().contains("meta skuid != 1500 return"), "{log}");
        cluster.finish().await;
        return;
    }
    let script = format!(
        r#"
as="setpriv --reuid 1500 --regid 1500 --clear-groups"
curl="curl -sS --max-time 20 --noproxy * --cacert $CA"
set -f
$as $curl https://api.up.test:{}/bytes/8; echo
$as $curl http://127.0.0.1:7381/healthz | grep -o name_missing
$as bash -c 'echo x > /dev/udp/10.99.0.1/443' 2>&1 | grep -q 'not permitted' && echo udp refused
$curl -o /dev/null -w '%{{http_code}}\n' http://127.0.0.1:7381/healthz
"#,
        cluster.ports.https
    );
    let (done, log) = inside(&cluster, rules, &script).await;
    assert_eq!(
        done.text(),
        "xxxxxxxx\nname_missing\nudp refused\n200\n",
        "{}\n{log}",
        done.stderr
    );
    cluster.finish().await;
}
