//! A relay beside the agent: the session outlives its tokens, and clients that cannot authenticate to a proxy get
//! through.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::support::process::{self, Process};
use super::support::{Cluster, DEADLINE, Finished, Setup, free_port, poll};

/// What `sortie` finds in its environment: the test's control and gateway, and the owner's key in a file.
pub(super) fn surroundings(cluster: &Cluster) -> Vec<(String, String)> {
    let key = cluster.path().join("owner.key");
    fs::write(&key, cluster.api.owner()).unwrap();
    let home = cluster.path().join("home");
    fs::create_dir_all(&home).unwrap();
    let text = |path: &Path| path.display().to_string();
    [
        (
            "SORTIE_API_URL",
            format!("http://127.0.0.1:{}", cluster.ports.api),
        ),
        (
            "SORTIE_PROXY",
            format!("http://127.0.0.1:{}", cluster.ports.proxy),
        ),
        ("SORTIE_API_KEY_FILE", text(&key)),
        ("SORTIE_VAULT", "main".to_owned()),
        ("HOME", text(&home)),
        ("XDG_CONFIG_HOME", text(&home)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// A relay that listens on a port, and the URL that its agent has.
pub(super) struct Relay {
    process: Process,
    pub(super) url: String,
    session: String,
    port: u16,
}

impl Relay {
    pub(super) async fn start(cluster: &Cluster, more: &[&str], env: &[(String, String)]) -> Self {
        let port = free_port();
        let mut arguments = vec!["relay".to_owned(), format!("--listen=127.0.0.1:{port}")];
        arguments.extend(more.iter().map(ToString::to_string));
        if !more
            .iter()
            .any(|option| option.starts_with("--session-file"))
        {
            arguments.extend(["--agent=runner", "--vault=main"].map(str::to_owned));
        }
        let mut all = surroundings(cluster);
        all.extend_from_slice(env);
        let name = format!("relay-{port}");
        let mut process = Process::start(cluster.path(), &name, "sortie", &arguments, &all);
        process.wait_for_line("relay of session ").await;
        let output = process.output();
        let line = output
            .lines()
            .find(|line| line.starts_with("relay of"))
            .unwrap();
        let session = line.split([' ', ':']).nth(3).unwrap().to_owned();
        let password = more
            .iter()
            .find_map(|option| option.strip_prefix("--password-file="))
            .map(|file| format!("x:{}@", fs::read_to_string(file).unwrap()));
        let url = format!("http://{}127.0.0.1:{port}", password.unwrap_or_default());
        Self {
            process,
            url,
            session,
            port,
        }
    }

    pub(super) async fn stop(mut self) {
        self.process.stop().await;
    }

    async fn curl(&self, cluster: &Cluster, arguments: &[&str]) -> Finished {
        cluster.curl_through(&self.url, arguments).await
    }
}

/// The gateway's own certificate, for a port that speaks TLS beside plain HTTP.
pub(super) struct Certificate(tempfile::TempDir);

impl Certificate {
    pub(super) fn make() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(made.file(), pair.cert.pem()).unwrap();
        fs::write(made.key(), pair.signing_key.serialize_pem()).unwrap();
        made
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.path().join("gateway.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("gateway.key")
    }

    pub(super) fn config(&self) -> String {
        format!(
            "[proxy.tls]\ncertificate = {:?}\nkey = {:?}\n",
            self.file(),
            self.key()
        )
    }

    /// What a relay is told, so that it speaks TLS.
    fn options(&self, cluster: &Cluster) -> [String; 2] {
        [
            format!("--proxy=https://127.0.0.1:{}", cluster.ports.proxy),
            format!("--gateway-ca={}", self.file().display()),
        ]
    }
}

/// A curl that writes an endless event stream to a file.
fn events(cluster: &Cluster, proxy: &str, file: &str) -> Child {
    Command::new("curl")
        .args([
            "--silent",
            "--no-buffer",
            "--http1.1",
            "--proxy",
            proxy,
            "--cacert",
        ])
        .arg(cluster.ca())
        .arg("-o")
        .arg(cluster.path().join(file))
        .arg(cluster.url("/sse?n=0&interval_ms=50"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn size(cluster: &Cluster, file: &str) -> u64 {
    fs::metadata(cluster.path().join(file)).map_or(0, |found| found.len())
}

async fn grows(cluster: &Cluster, file: &str) {
    let before = size(cluster, file);
    poll("the stream to flow", || async {
        (size(cluster, file) > before).then_some(())
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn streams_stay_open_for_three_lives_of_a_token_and_every_renewal_is_in_the_audit_log() {
    let clock = super::support::clock::MovableClock::build();
    let certificate = Certificate::make();
    let setup = Setup {
        gateway: certificate.config(),
        gateway_env: clock.environment(),
        control_env: clock.environment(),
        ..Setup::default()
    };
    let cluster = Cluster::start_with(setup).await;
    cluster.bearer_service().await;
    let password = cluster.path().join("relay.password");
    let file = format!("--password-file={}", password.display());
    let plain = Relay::start(&cluster, &[&file, "--ttl=1h"], &clock.environment()).await;
    let [proxy, ca] = certificate.options(&cluster);
    let options = ["--no-password", &proxy, &ca];
    let secure = Relay::start(&cluster, &options, &clock.environment()).await;
    let mut streams = [&plain, &secure].map(|relay| {
        let file = format!("stream-{}", relay.port);
        (events(&cluster, &relay.url, &file), relay, file)
    });
    // And in the process of a run.
    let url = cluster.url("/sse?n=0&interval_ms=50");
    let mut run = Command::new(env!("CARGO_BIN_EXE_sortie"))
        .args([
            "run",
            "--agent=runner",
            "--ttl=1h",
            "--",
            "curl",
            "-sN",
            "-o",
            "run",
            &url,
        ])
        .envs(surroundings(&cluster))
        .envs(clock.environment())
        .current_dir(cluster.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(cluster.path().join("run.err")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    grows(&cluster, "run").await;
    // The same without a relay: its session is nobody's to renew.
    let bare = cluster.session().await;
    let mut unrenewed = events(&cluster, &cluster.proxy(&bare), "unrenewed");
    grows(&cluster, "unrenewed").await;
    for (_, _, file) in &streams {
        grows(&cluster, file).await;
    }

    // Five times two thirds of an hour are three lives and more.
    for renewals in 1..=5_u32 {
        clock.advance_wall(renewals * 2400);
        poll("the renewals", || async {
            let acts = cluster.api.acts("session.renew").await;
            (acts >= 3 * usize::try_from(renewals).unwrap()).then_some(())
        })
        .await;
        grows(&cluster, "run").await;
        for (_, relay, file) in &streams {
            grows(&cluster, file).await;
            let seen = relay
                .curl(&cluster, &["-f", &cluster.url("/bytes/8")])
                .await;
            seen.ok();
        }
    }
    let ended = tokio::time::timeout(DEADLINE, unrenewed.wait()).await;
    assert!(
        !ended
            .expect("a session that is not renewed ends")
            .unwrap()
            .success()
    );
    for (stream, relay, _) in &mut streams {
        assert!(stream.try_wait().unwrap().is_none(), "a stream was cut");
        let complaints = relay.process.output();
        assert!(!complaints.contains("sortie:"), "{complaints}");
        stream.kill().await.unwrap();
    }
    let id = nix::unistd::Pid::from_raw(i32::try_from(run.id().unwrap()).unwrap());
    assert!(run.try_wait().unwrap().is_none(), "the run was cut");
    let said = fs::read_to_string(cluster.path().join("run.err")).unwrap();
    assert_eq!(said, "", "no error of a renewal, and none of curl");
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ended = tokio::time::timeout(DEADLINE, run.wait()).await;
    assert_eq!(ended.expect("it ends").unwrap().code(), Some(128 + 15));
    assert_eq!(
        cluster.api.acts("session.revoke").await,
        1,
        "the run's own session"
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_one_connection_carries_many_tunnels_and_a_revocation_cuts_them() {
    let certificate = Certificate::make();
    let setup = Setup {
        gateway: certificate.config(),
        ..Setup::default()
    };
    let cluster = Cluster::start_with(setup).await;
    cluster.bearer_service().await;
    let [proxy, ca] = certificate.options(&cluster);
    let mut relay = Relay::start(&cluster, &["--no-password", &proxy, &ca], &[]).await;
    let mut streams: Vec<_> = (0..24)
        .map(|number| events(&cluster, &relay.url, &format!("stream-{number}")))
        .collect();
    for number in 0..24 {
        grows(&cluster, &format!("stream-{number}")).await;
    }
    let metrics = process::get(cluster.ports.gateway_admin, "/metrics").await;
    let metrics = metrics.unwrap();
    assert!(
        metrics.contains("\nsortie_gateway_connections 1\n"),
        "{metrics}"
    );
    // A plain request is not for such a connection, and finds its way too.
    let plain = format!("http://plain.up.test:{}/bytes/8", cluster.ports.http);
    let seen = relay.curl(&cluster, &["-i", &plain]).await.ok();
    assert!(seen.contains("host_unmatched"), "{seen}");

    let path = format!("/v1/tenants/-/sessions/{}:revoke", relay.session);
    cluster.api.post(&path, serde_json::json!({})).await;
    for stream in &mut streams {
        let ended = tokio::time::timeout(DEADLINE, stream.wait()).await;
        assert!(!ended.expect("the tunnel ends").unwrap().success());
    }
    let seen = relay
        .curl(&cluster, &[&cluster.url("/bytes/8")])
        .await
        .seen();
    assert!(seen.contains("403"), "{seen}");
    relay.process.stop().await;

    // Without its authority the gateway is not believed.
    let relay = Relay::start(&cluster, &["--no-password", &proxy], &[]).await;
    let seen = relay.curl(&cluster, &["-i", &plain]).await.ok();
    assert!(seen.contains("gateway_untrusted"), "{seen}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_ends_tunnels_and_a_restarted_one_is_used_again() {
    let certificate = Certificate::make();
    let mut cluster = Cluster::start_with(Setup {
        gateway: certificate.config(),
        ..Setup::default()
    })
    .await;
    cluster.bearer_service().await;
    let [proxy, ca] = certificate.options(&cluster);
    let plain = Relay::start(&cluster, &["--no-password"], &[]).await;
    let secure = Relay::start(&cluster, &["--no-password", &proxy, &ca], &[]).await;
    let relays = [&plain, &secure];
    let mut streams = relays.map(|relay| {
        let file = format!("cut-{}", relay.port);
        (events(&cluster, &relay.url, &file), file)
    });
    for (_, file) in &streams {
        grows(&cluster, file).await;
    }
    cluster.kill_gateway().await;
    for (stream, _) in &mut streams {
        let ended = tokio::time::timeout(DEADLINE, stream.wait()).await;
        assert!(!ended.expect("the tunnel ends").unwrap().success());
    }
    let url = cluster.url("/bytes/8").replace("https:", "http:");
    for relay in relays {
        let seen = relay.curl(&cluster, &["-i", &url]).await.ok();
        assert!(seen.starts_with("HTTP/1.1 502"), "{seen}");
        assert!(seen.contains("\"code\":\"gateway_unreachable\""), "{seen}");
    }
    cluster.restart_gateway().await;
    for relay in relays {
        let seen = relay
            .curl(&cluster, &["-f", &cluster.url("/bytes/8")])
            .await;
        assert_eq!(seen.ok(), "xxxxxxxx");
    }
    assert_eq!(
        cluster.api.acts("session.revoke").await,
        0,
        "the sessions are the same"
    );
    cluster.finish().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_is_told_so_and_not_renewed() {
    let clock = super::support::clock::MovableClock::build();
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let mut relay = Relay::start(&cluster, &["--no-password"], &clock.environment()).await;
    let mut stream = events(&cluster, &relay.url, "revoked");
    grows(&cluster, "revoked").await;
    let path = format!("/v1/tenants/-/sessions/{}:revoke", relay.session);
    cluster.api.post(&path, serde_json::json!({})).await;
    let ended = tokio::time::timeout(DEADLINE, stream.wait()).await;
    assert!(!ended.expect("the tunnel ends").unwrap().success());
    let plain = format!("http://plain.up.test:{}/bytes/8", cluster.ports.http);
    poll("the agent to be told", || async {
        let seen = relay.curl(&cluster, &["-i", &plain]).await.seen();
        let told =
            seen.starts_with("HTTP/1.1 403") && seen.contains("\"code\":\"session_revoked\"");
        told.then_some(())
    })
    .await;
    let seen = relay
        .curl(&cluster, &[&cluster.url("/bytes/8")])
        .await
        .seen();
    assert!(seen.contains("403"), "{seen}");
    let health = process::get(relay.port, "/healthz").await;
    assert_eq!(health, None, "a session that is over is not healthy");
    // By its clock it is time to renew, and nothing is left that would.
    clock.advance_wall(2400);
    let seen = relay
        .curl(&cluster, &[&cluster.url("/bytes/8")])
        .await
        .seen();
    assert!(seen.contains("403"), "{seen}");
    relay.process.stop().await;
    assert_eq!(cluster.api.acts("session.renew").await, 0);
    let output = relay.process.output();
    assert_eq!(output.matches("session_revoked").count(), 1, "{output}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_asks_for_its_password_and_revokes_its_session_at_the_end() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let password = cluster.path().join("relay.password");
    let file = format!("--password-file={}", password.display());
    let mut relay = Relay::start(&cluster, &[&file], &[]).await;
    relay
        .curl(&cluster, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    let bare = format!("http://127.0.0.1:{}", relay.port);
    for wrong in [bare.clone(), bare.replace("//", "//x:guess@")] {
        let seen = cluster
            .curl_through(&wrong, &[&cluster.url("/bytes/8")])
            .await;
        assert!(seen.seen().contains("407"), "{}", seen.seen());
    }
    let told = fs::read_to_string(&password).unwrap();
    assert!(!relay.process.output().contains(&told));
    relay.process.stop().await;
    assert_eq!(cluster.api.acts("session.revoke").await, 1);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_file_and_a_unix_socket_need_no_key_and_no_password() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let file = cluster.path().join("session");
    fs::write(&file, &session.token).unwrap();
    let socket = cluster.path().join("relay.sock");
    let arguments = [
        "relay".to_owned(),
        format!("--listen=unix:{}", socket.display()),
        format!("--session-file={}", file.display()),
        format!("--proxy=http://127.0.0.1:{}", cluster.ports.proxy),
    ];
    let mut relay = Process::start(cluster.path(), "relay", "sortie", &arguments, &[]);
    relay.wait_for_line("relay of session ").await;
    let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let plain = format!("plain.up.test:{}", cluster.ports.http);
    let request = format!(
        "GET http://{plain}/bytes/8 HTTP/1.1\r\nHost: {plain}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    // No service covers it: the gateway knows who asks, and says no.
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("host_unmatched"), "{answer}");
    relay.stop().await;
    assert!(!socket.exists());
    assert_eq!(
        cluster.api.acts("session.revoke").await,
        0,
        "somebody else's session"
    );
    cluster.finish().await;
}

const JAVA: &str = r#"
import java.io.FileInputStream;
import java.net.*;
import java.net.http.*;
import java.security.KeyStore;
import java.security.cert.*;
import javax.net.ssl.*;

public class Main {
    public static void main(String[] args) throws Exception {
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        try (FileInputStream in = new FileInputStream(args[2])) {
            trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trusted);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, managers.getTrustManagers(), null);
        HttpClient client = HttpClient.newBuilder()
            .proxy(ProxySelector.of(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0]))))
            .sslContext(tls)
            .build();
        for (HttpClient.Version version : HttpClient.Version.values()) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(args[1])).version(version).build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.version() + " " + answer.statusCode() + " " + answer.body());
        }
    }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_holds_what_an_agent_beside_it_reads_and_no_token() {
    let cluster = Cluster::start().await;
    let secret = cluster.bearer_service().await;
    let folder = cluster.path().join("beside");
    let named = folder.display().to_string();
    let relay = Relay::start(&cluster, &["--no-password", "--folder", &named], &[]).await;
    let script = format!(
        ". {named}/environment.sh && curl --silent --show-error --fail {}",
        cluster.url("/echo/header")
    );
    let done = cluster.run("sh", &["-c", &script], &[]).await;
    assert!(!done.ok().contains(&secret));
    let seen = cluster.recorded_at("/echo/header");
    assert_eq!(seen.len(), 1, "it was brokered");
    for entry in fs::read_dir(&folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let found = bytes.windows(11).any(|part| part == b"sortie_ses_");
        assert!(!found, "the token is in none of it");
    }
    relay.stop().await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_java_client_without_an_authenticator_gets_through() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let relay = Relay::start(&cluster, &["--no-password"], &[]).await;
    fs::write(cluster.path().join("Main.java"), JAVA).unwrap();
    let (port, ca) = (relay.port.to_string(), cluster.ca().display().to_string());
    let url = cluster.url("/bytes/8");
    let seen = cluster
        .run("java", &["Main.java", &port, &url, &ca], &[])
        .await;
    assert_eq!(seen.ok(), "HTTP_1_1 200 xxxxxxxx\nHTTP_2 200 xxxxxxxx\n");
    for seen in cluster.recorded_at("/bytes/8") {
        assert!(
            seen.to_string().contains(&format!("Bearer {value}")),
            "{seen}"
        );
    }
    cluster.finish().await;
}

/// Chromium sends no credentials to a proxy that its command line names.
#[tokio::test(flavor = "multi_thread")]
async fn chromium_gets_through_where_it_is_installed() {
    let found = ["/usr/bin/chromium", "/usr/bin/google-chrome"].map(PathBuf::from);
    let Some(chromium) = found.iter().find(|path| path.exists()) else {
        println!("skipped: there is no Chromium on this machine");
        return;
    };
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let relay = Relay::start(&cluster, &["--no-password"], &[]).await;
    let profile = tempfile::tempdir().unwrap();
    let seen = cluster
        .run(
            chromium.to_str().unwrap(),
            &[
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                // Its trust is in a database that needs a tool of its own; who is let through is what is asked here.
                "--ignore-certificate-errors",
                &format!("--user-data-dir={}", profile.path().display()),
                &format!("--proxy-server={}", relay.url),
                "--dump-dom",
                &cluster.url("/json"),
            ],
            &[],
        )
        .await;
    assert!(seen.text().contains("/json"), "{}", seen.seen());
    let arrived = cluster.recorded_at("/json");
    assert!(
        arrived.iter().any(|seen| seen.to_string().contains(&value)),
        "{arrived:#?}"
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_holds_no_token_and_its_session_ends_with_it() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let env = surroundings(&cluster);
    let env: Vec<(&str, &str)> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let sortie = env!("CARGO_BIN_EXE_sortie");
    let script = format!("curl -sf {} && env", cluster.url("/bytes/8"));
    let seen = cluster
        .run(
            sortie,
            &["run", "--agent=runner", "--", "sh", "-c", &script],
            &env,
        )
        .await;
    let text = seen.ok();
    assert!(text.starts_with("xxxxxxxx"), "{text}");
    assert!(!text.contains("sortie_ses_"), "{text}");
    assert!(text.contains("HTTPS_PROXY=http://x:"), "{text}");
    assert_eq!(cluster.api.acts("session.revoke").await, 1);
    let direct = [
        "run",
        "--agent=runner",
        "--no-relay",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let seen = cluster.run(sortie, &direct, &env).await;
    assert!(seen.ok().contains("HTTPS_PROXY=http://x:sortie_ses_"));
    cluster.finish().await;
}
