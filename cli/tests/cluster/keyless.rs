//! A host that has a session's token and the gateway's address, and nothing else: no key, no way to control.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::relay::Certificate;
use super::support::{Cluster, Finished, Minted, Setup, process};

/// The host: its environment, and its session in a file.
struct Host<'a> {
    cluster: &'a Cluster,
    session: Minted,
    proxy: String,
}

impl<'a> Host<'a> {
    async fn new(cluster: &'a Cluster) -> Self {
        let session = cluster.session().await;
        fs::create_dir_all(cluster.path().join("host")).unwrap();
        fs::write(cluster.path().join("host/session"), &session.token).unwrap();
        Self {
            cluster,
            session,
            proxy: format!("http://127.0.0.1:{}", cluster.ports.proxy),
        }
    }

    fn home(&self) -> PathBuf {
        self.cluster.path().join("host")
    }

    fn file(&self) -> String {
        self.home().join("session").display().to_string()
    }

    /// Runs a line of a shell, in which `$URL` is the upstream's.
    async fn shell(&self, line: &str) -> Finished {
        let closed = process::free_port();
        let sortie = PathBuf::from(env!("CARGO_BIN_EXE_sortie"));
        let folder = sortie.parent().unwrap().display();
        let variables = [
            format!("PATH={folder}:{}", std::env::var("PATH").unwrap()),
            format!("HOME={}", self.home().display()),
            format!("TMPDIR={}", self.home().display()),
            format!("SORTIE_PROXY={}", self.proxy),
            // Whoever asks control all the same is found out.
            format!("SORTIE_API_URL=http://127.0.0.1:{closed}"),
            format!("FILE={}", self.file()),
            format!("TOKEN={}", self.session.token),
            format!("URL={}", self.cluster.url("/bytes/8")),
        ];
        let mut arguments = vec!["-i"];
        arguments.extend(variables.iter().map(String::as_str));
        arguments.extend(["sh", "-c", line]);
        self.cluster.run("env", &arguments, &[]).await
    }
}

/// A vault with a credential that is put in, one that is replaced, and one that no service uses.
async fn vault(cluster: &Cluster) -> String {
    let value = cluster.bearer_service().await;
    cluster
        .credential("SEARCH", &cluster.plain_secret("search"))
        .await;
    cluster
        .credential("UNUSED", &cluster.plain_secret("unused"))
        .await;
    let search = json!({"path": "/search/**", "placeholders": {"credentials": ["SEARCH"], "surfaces": ["query"]}});
    cluster.service("search", search).await;
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_with_a_session_and_no_key() {
    let cluster = Cluster::start().await;
    let value = vault(&cluster).await;
    let host = Host::new(&cluster).await;

    let inner =
        r#"curl -sSf "$1" && echo " $API_KEY $SEARCH ${UNUSED-none}" && env | grep -c sortie_ses_"#;
    let seen = host
        .shell(&format!(
            "sortie run --session \"$FILE\" -- sh -c '{inner}' sh \"$URL\""
        ))
        .await;
    assert_eq!(seen.code, 1, "grep finds no token: {}", seen.seen());
    assert_eq!(
        seen.text(),
        "xxxxxxxx __API_KEY__ __SEARCH__ none\n0\n",
        "{}",
        seen.seen()
    );
    assert!(
        !seen.stderr.contains("plain HTTP"),
        "it is this machine: {}",
        seen.stderr
    );
    let arrived = cluster.recorded_at("/bytes/8");
    assert!(arrived[0].to_string().contains(&format!("Bearer {value}")));

    // A line of standard input is the token; the rest is the command's.
    let line = r#"printf '%s\nthe rest' "$TOKEN" | sortie run --session - -- sh -c 'curl -sSf "$1"; cat' sh "$URL""#;
    assert_eq!(host.shell(line).await.ok(), "xxxxxxxxthe rest");

    let line = r#"SORTIE_SESSION=$TOKEN sortie env --format json"#;
    let printed: Value = serde_json::from_str(&host.shell(line).await.ok()).unwrap();
    assert_eq!(printed["session"], host.session.id);
    assert_eq!(printed["environment"]["SEARCH"], "__SEARCH__");
    let bundle = printed["environment"]["SSL_CERT_FILE"].as_str().unwrap();
    let authority = fs::read_to_string(cluster.ca()).unwrap();
    assert!(
        fs::read_to_string(bundle)
            .unwrap()
            .contains(authority.trim())
    );
    let line = r#"eval "$(SORTIE_SESSION=$TOKEN sortie env)" && curl -sSf "$URL""#;
    assert_eq!(host.shell(line).await.ok(), "xxxxxxxx");

    // What was named is believed, and nothing else.
    fs::copy(cluster.ca(), host.home().join("known.pem")).unwrap();
    let pair = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap();
    fs::write(host.home().join("other.pem"), pair.cert.pem()).unwrap();
    let with = |file: &str| {
        let file = host.home().join(file).display().to_string();
        format!(
            "sortie run --session \"$FILE\" --proxy \"$SORTIE_PROXY\" --authority {file} -- curl -sS \"$URL\""
        )
    };
    assert_eq!(host.shell(&with("known.pem")).await.ok(), "xxxxxxxx");
    let seen = host.shell(&with("other.pem")).await;
    assert_eq!(
        seen.code,
        60,
        "the certificate is not trusted: {}",
        seen.seen()
    );

    // Nothing else is to be had without a key, and nothing is revoked.
    let seen = host.shell("sortie run -- true").await;
    assert_eq!(seen.code, 64);
    assert!(
        seen.stderr.contains("there is no API key"),
        "{}",
        seen.stderr
    );
    let seen = host
        .shell("SORTIE_SESSION=$TOKEN sortie service list")
        .await;
    assert!(
        seen.stderr.contains("there is no API key"),
        "{}",
        seen.stderr
    );
    assert_eq!(cluster.api.acts("session.revoke").await, 0);

    let path = format!("/v1/tenants/-/sessions/{}:revoke", host.session.id);
    cluster.api.post(&path, json!({})).await;
    super::support::poll("the revocation to be known", || async {
        let seen = host.shell("sortie run --session \"$FILE\" -- true").await;
        let is_told = seen.code == 77 && seen.stderr.contains("session_revoked");
        is_told.then_some(())
    })
    .await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_in_tls_is_asked_in_tls_and_the_doctor_needs_no_key() {
    let certificate = Certificate::make();
    let cluster = Cluster::start_with(Setup {
        gateway: certificate.config(),
        ..Setup::default()
    })
    .await;
    vault(&cluster).await;
    let mut host = Host::new(&cluster).await;
    // Few programs, so that it is over soon.
    let programs = host.home().join("programs");
    fs::create_dir_all(&programs).unwrap();
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|folder| folder.join("curl"))
        .find(|path| path.is_file());
    std::os::unix::fs::symlink(found.unwrap(), programs.join("curl")).unwrap();
    let doctor = format!(
        "SORTIE=$(command -v sortie); PATH={} exec $SORTIE doctor --output json --session \"$FILE\"",
        programs.display()
    );
    let seen = host.shell(&doctor).await.ok();
    let report: Value = serde_json::from_str(&seen).unwrap();
    let state = |check: &str| {
        let rows = report["findings"].as_array().unwrap();
        let row = rows.iter().find(|row| row["check"] == check);
        row.map(|row| row["state"].as_str().unwrap().to_owned())
    };
    for check in ["key", "bundle", "gateway", "session", "authority", "curl"] {
        assert_eq!(state(check).as_deref(), Some("ok"), "{check} {report:#}");
    }
    assert_eq!(state("control"), None);

    host.proxy = format!("https://127.0.0.1:{}", cluster.ports.proxy);
    let ca = certificate.file().display().to_string();
    let run = "sortie run --session \"$FILE\" -- curl -sSf \"$URL\"";
    let seen = host.shell(&format!("SORTIE_GATEWAY_CA={ca} {run}")).await;
    assert_eq!(seen.ok(), "xxxxxxxx");
    let seen = host.shell(run).await;
    assert_eq!(seen.code, 1);
    assert!(seen.stderr.contains("--gateway-ca FILE"), "{}", seen.stderr);
    cluster.finish().await;
}
