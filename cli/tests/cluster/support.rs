//! Starts a cluster of processes, sets it up over REST, and searches what it left behind for secrets.

pub(crate) mod api;
#[cfg(target_os = "linux")]
pub(crate) mod clock;
pub(crate) mod fleet;
pub(crate) mod leaks;
pub(crate) mod process;
pub(crate) mod tunnel;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

pub(crate) use self::api::{Api, Minted};
use self::process::Process;
pub(crate) use self::process::{Finished, free_port};

/// How long anything here may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A vendor's host that the upstream stands in for, whatever port it is asked at.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) host: &'static str,
    /// As the upstream's `--site` names it.
    pub(crate) kind: &'static str,
    /// The only credential that it takes.
    pub(crate) credential: String,
}

/// What differs between the clusters of the tests.
#[derive(Default)]
pub(crate) struct Setup {
    /// `deny` or `observe`; empty is `deny`.
    pub(crate) mode: &'static str,
    /// More names that lead to the upstream.
    pub(crate) hosts: Vec<String>,
    /// Vendors' hosts with what they hold in `upstream/sites`.
    pub(crate) sites: Vec<Site>,
    /// Names that lead to the upstream at their own port, 443: a vendor's client asks there.
    pub(crate) vendors: Vec<String>,
    /// More options for the upstream.
    pub(crate) upstream: Vec<String>,
    /// Extra lines for the gateway's configuration.
    pub(crate) gateway: String,
    /// Environment of the gateway.
    pub(crate) gateway_env: Vec<(String, String)>,
    /// A command and its arguments that the gateway is run below.
    pub(crate) gateway_under: Vec<String>,
    /// Environment of control.
    pub(crate) control_env: Vec<(String, String)>,
}

impl Setup {
    /// The names that lead to the upstream at their own port.
    fn at_443(&self) -> impl Iterator<Item = &str> {
        let sites = self.sites.iter().map(|site| site.host);
        self.vendors.iter().map(String::as_str).chain(sites)
    }
}

/// A control, a gateway and an upstream, with one tenant, vault and agent.
pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) api: Api,
    pub(crate) control: Process,
    pub(crate) gateway: Process,
    upstreams: [Process; 2],
    pub(crate) ports: Ports,
    /// The only password that the upstream's git takes.
    pub(crate) git_password: String,
    secrets: RefCell<Vec<String>>,
}

/// Where everything listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) api: u16,
    pub(crate) feed: u16,
    pub(crate) control_admin: u16,
    pub(crate) proxy: u16,
    pub(crate) gateway_admin: u16,
    /// HTTPS, HTTP/2 and HTTP/1.1.
    pub(crate) https: u16,
    /// Plain HTTP.
    pub(crate) http: u16,
    /// HTTPS with a certificate that nobody trusts.
    pub(crate) untrusted: u16,
    /// HTTPS whose answers are not HTTP.
    pub(crate) malformed: u16,
}

impl Ports {
    fn free() -> Self {
        Self {
            api: free_port(),
            feed: free_port(),
            control_admin: free_port(),
            proxy: free_port(),
            gateway_admin: free_port(),
            https: free_port(),
            http: free_port(),
            untrusted: free_port(),
            malformed: free_port(),
        }
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// On the heap: what starting holds need not be in the future of every test.
    pub(crate) fn start_with(setup: Setup) -> impl Future<Output = Self> {
        Box::pin(Self::start_all(setup))
    }

    async fn start_all(setup: Setup) -> Self {
        // reqwest has no provider of its own. An error says that another test was first.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dir = tempfile::Builder::new()
            .prefix("sortie-")
            .tempdir()
            .unwrap();
        // An unprivileged PostgreSQL, when this runs as root, has to reach its folder below.

        let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        let ports = Ports::free();
        let git_password = format!("canary-git-{}", uuid::Uuid::new_v4().simple());
        let upstreams = start_upstreams(dir.path(), ports, &git_password, &setup).await;
        let control = start_control(dir.path(), ports, "control", None, &setup.control_env).await;
        let operator = read_key(&dir.path().join("control/operator.key")).await;
        let api = Api::new(ports.api, &operator).await;
        let join = api.join().await;
        let gateway = start_gateway(dir.path(), ports, &setup, &join).await;
        let cluster = Self {
            dir,
            api,
            control,
            gateway,
            upstreams,
            ports,
            secrets: RefCell::new(vec![git_password.clone()]),
            git_password,
        };
        let mode = if setup.mode.is_empty() {
            "deny"
        } else {
            setup.mode
        };
        cluster
            .api
            .post(
                "/v1/tenants/-/vaults",
                json!({"name": "main", "mode": mode}),
            )
            .await;
        cluster
            .api
            .post("/v1/tenants/-/agents", json!({"name": "runner"}))
            .await;
        cluster
            .api
            .put(
                "/v1/tenants/-/vaults/main/grants/runner",
                json!({"role": "user"}),
            )
            .await;
        let authority = cluster.api.get("/v1/tenants/-/authority").await;
        std::fs::write(cluster.ca(), authority["pem"].as_str().unwrap()).unwrap();
        cluster
    }

    /// The file of the tenant's root certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("tenant-ca.pem")
    }

    /// The folder whose files are searched for secrets at the end.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A new secret that must never be found where it does not belong. Long, unique, and with characters that every
    /// encoding changes.
    pub(crate) fn secret(&self, label: &str) -> String {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let secret = format!("canary-{label}/{unique}+\"&=<{}", &unique[..7]);
        self.secrets.borrow_mut().push(secret.clone());
        secret
    }

    /// A secret that a header can hold and a URL need not encode.
    pub(crate) fn plain_secret(&self, label: &str) -> String {
        let secret = format!("canary-{label}-{}", uuid::Uuid::new_v4().simple());
        self.secrets.borrow_mut().push(secret.clone());
        secret
    }

    /// Adds a secret that was made before there was a cluster to those that are searched for.
    pub(crate) fn keep_secret(&self, secret: &str) {
        self.secrets.borrow_mut().push(secret.to_owned());
    }

    /// Makes a credential for the upstream's names.
    pub(crate) async fn credential(&self, name: &str, value: &str) {
        self.credential_for(
            name,
            value,
            &["api.up.test", "git.up.test", "plain.up.test"],
        )
        .await;
    }

    pub(crate) async fn credential_for(&self, name: &str, value: &str, hosts: &[&str]) {
        let destinations: Vec<Value> = hosts
            .iter()
            .map(|host| json!({"host": host, "cleartext": *host == "plain.up.test"}))
            .collect();
        let body = json!({"value": value, "destinations": destinations});
        self.api
            .put(
                &format!("/v1/tenants/-/vaults/main/credentials/{name}"),
                body,
            )
            .await;
    }

    /// Makes a service for `https://api.up.test` at the upstream's port; `more` adds or replaces fields.
    pub(crate) async fn service(&self, name: &str, more: Value) {
        let mut body = json!({"host": "api.up.test", "port": self.ports.https});
        for (field, value) in more.as_object().unwrap() {
            body[field] = value.clone();
        }
        self.api
            .put(&format!("/v1/tenants/-/vaults/main/services/{name}"), body)
            .await;
    }

    /// A service that injects a bearer token, its credential, and the value.
    pub(crate) async fn bearer_service(&self) -> String {
        let value = self.plain_secret("bearer");
        self.credential("API_KEY", &value).await;
        self.service(
            "api",
            json!({"inject": [{"type": "bearer", "credential": "API_KEY"}]}),
        )
        .await;
        value
    }

    pub(crate) async fn session(&self) -> Minted {
        self.api
            .mint(json!({"agent": "runner", "vaults": ["main"]}))
            .await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://api.up.test:{}{path}", self.ports.https)
    }

    pub(crate) fn proxy(&self, session: &Minted) -> String {
        format!("http://x:{}@127.0.0.1:{}", session.token, self.ports.proxy)
    }

    /// What an HTTP client of the test's own begins with, behind a gateway's proxy port.
    pub(crate) fn client(&self, proxy: u16, session: &Minted) -> reqwest::ClientBuilder {
        let pem = std::fs::read(self.ca()).unwrap();
        let proxy = format!("http://x:{}@127.0.0.1:{proxy}", session.token);
        let client = reqwest::Client::builder().proxy(reqwest::Proxy::all(proxy).unwrap());
        let roots = reqwest::Certificate::from_pem_bundle(&pem).unwrap();
        roots
            .into_iter()
            .fold(client, |client, root| client.add_root_certificate(root))
    }

    /// Runs the system's curl behind the gateway and keeps what it printed.
    pub(crate) async fn curl(&self, session: &Minted, arguments: &[&str]) -> Finished {
        let proxy = self.proxy(session);
        self.curl_through(&proxy, arguments).await
    }

    pub(crate) async fn curl_through(&self, proxy: &str, arguments: &[&str]) -> Finished {
        let ca = self.ca().display().to_string();
        let mut all = vec![
            "--silent",
            "--show-error",
            "--max-time",
            "50",
            "--proxy",
            proxy,
            "--cacert",
            &ca,
        ];
        all.extend_from_slice(arguments);
        self.run("curl", &all, &[]).await
    }

    /// Runs a command to its end. What it printed becomes part of what is searched.
    pub(crate) async fn run(
        &self,
        program: &str,
        arguments: &[&str],
        env: &[(&str, &str)],
    ) -> Finished {
        process::run(self.path(), program, arguments, env).await
    }

    /// What reached the upstream so far.
    pub(crate) fn recorded(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path().join("upstream/requests.jsonl"))
            .unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The requests whose path starts so.
    pub(crate) fn recorded_at(&self, path: &str) -> Vec<Value> {
        self.recorded()
            .into_iter()
            .filter(|seen| {
                seen["target"]
                    .as_str()
                    .is_some_and(|at| at.starts_with(path))
            })
            .collect()
    }

    /// Runs SQL as the owner of the private database.
    pub(crate) fn sql(&self, statement: &str) -> String {
        let socket = std::fs::read_to_string(self.path().join("control/socket-path")).unwrap();
        let answer = std::process::Command::new(leaks::postgres(self.path(), "psql"))
            .args([
                "-h",
                socket.trim(),
                "-U",
                "sortie",
                "-At",
                "-c",
                statement,
                "sortie",
            ])
            .output()
            .unwrap();
        assert!(answer.status.success(), "{answer:?}");
        String::from_utf8(answer.stdout).unwrap()
    }

    /// Stops the gateway as the kernel would.
    pub(crate) async fn kill_gateway(&mut self) {
        self.gateway.kill().await;
    }

    pub(crate) async fn restart_gateway(&mut self) {
        self.gateway = start_gateway(self.dir.path(), self.ports, &Setup::default(), "").await;
    }

    pub(crate) async fn restart_control(&mut self) {
        self.control = start_control(self.dir.path(), self.ports, "control", None, &[]).await;
    }

    /// Stops everything and searches what it left behind.
    pub(crate) async fn finish(mut self) {
        let control_metrics = process::get(self.ports.control_admin, "/metrics")
            .await
            .unwrap_or_default();
        let gateway_metrics = process::get(self.ports.gateway_admin, "/metrics")
            .await
            .unwrap_or_default();
        std::fs::write(
            self.path().join("metrics.txt"),
            control_metrics + &gateway_metrics,
        )
        .unwrap();
        leaks::dump_database(self.path());
        self.gateway.stop().await;
        self.control.stop().await;
        for upstream in &mut self.upstreams {
            upstream.stop().await;
        }
        leaks::search(self.path(), &self.secrets.borrow());
    }
}

async fn start_upstreams(
    dir: &Path,
    ports: Ports,
    git_password: &str,
    setup: &Setup,
) -> [Process; 2] {
    let folder = dir.join("upstream");
    std::fs::create_dir_all(folder.join("git")).unwrap();
    let common = |port: u16, folder: &Path| {
        vec![
            "upstream".to_owned(),
            format!("--dir={}", folder.display()),
            format!("--port={port}"),
        ]
    };
    let mut arguments = common(ports.https, &folder);
    arguments.extend(["api", "git", "other", "plain"].map(|name| format!("--name={name}.up.test")));
    let hosts = setup.hosts.iter().map(String::as_str);
    let more = hosts.chain(setup.at_443());
    arguments.extend(more.map(|name| format!("--name={name}")));
    for site in &setup.sites {
        let Site {
            host,
            kind,
            credential,
        } = site;
        arguments.push(format!("--site={host}={kind}:{credential}"));
    }
    arguments.push(format!("--site-root={}", folder.join("sites").display()));
    arguments.extend_from_slice(&setup.upstream);
    arguments.extend([
        format!("--plain-port={}", ports.http),
        format!("--raw-port={}", ports.malformed),
        format!("--record={}", folder.join("requests.jsonl").display()),
        format!("--git-root={}", folder.join("git").display()),
        format!("--git-password={git_password}"),
    ]);
    let mut untrusted = common(ports.untrusted, &folder.join("untrusted"));
    untrusted.extend(["--untrusted".to_owned(), "--name=api.up.test".to_owned()]);
    std::fs::create_dir_all(folder.join("untrusted")).unwrap();
    let mut started = [
        Process::start(dir, "upstream/main", "sortie-loadtest", &arguments, &[]),
        Process::start(
            dir,
            "upstream/untrusted",
            "sortie-loadtest",
            &untrusted,
            &[],
        ),
    ];
    for process in &mut started {
        process.wait_for_line("ready").await;
    }
    started
}

/// Starts a control. A second one on the same database is given its address.
pub(crate) async fn start_control(
    dir: &Path,
    ports: Ports,
    name: &str,
    database_url: Option<&str>,
    env: &[(String, String)],
) -> Process {
    let database = database_url.map_or_else(String::new, |url| format!("database_url = {url:?}\n"));
    let Ports {
        api,
        feed,
        control_admin,
        proxy,
        ..
    } = ports;
    let folder = dir.join(name).display().to_string();
    let config = format!(
        "data_dir = {folder:?}\nproxy_url = \"http://127.0.0.1:{proxy}\"\n{database}[api]\nlisten = \"127.0.0.1:{api}\"\n[feed]\nlisten = \"127.0.0.1:{feed}\"\n\
         advertise = \"127.0.0.1:{feed}\"\n[admin]\nlisten = \"127.0.0.1:{control_admin}\"\n[log]\nlevel = \"trace\"\n",
    );
    let file = dir.join(format!("{name}.toml"));
    std::fs::write(&file, config).unwrap();
    let mut process = Process::start(
        dir,
        name,
        "sortie-control",
        &["--config".to_owned(), file.display().to_string()],
        env,
    );
    process.wait_until_ready(ports.control_admin).await;
    process
}

async fn start_gateway(dir: &Path, ports: Ports, setup: &Setup, join: &str) -> Process {
    let file = dir.join("gateway.toml");
    // A restarted gateway keeps the configuration of its first start.
    if !join.is_empty() {
        let hosts = setup.hosts.iter().map(String::as_str);
        let own = hosts.map(|name| (name, String::new()));
        let https = format!(":{}", ports.https);
        let at_443 = setup.at_443().map(|name| (name, https.clone()));
        let more: String = own
            .chain(at_443)
            .map(|(name, port)| format!("{name:?} = [\"127.0.0.1{port}\"]\n"))
            .collect();
        let config = format!(
            "data_dir = {:?}\njoin = {join:?}\nname = \"gw1\"\n[proxy]\nlisten = [\"127.0.0.1:{}\"]\n[admin]\n\
             listen = \"127.0.0.1:{}\"\n[upstream]\nextra_roots = [{:?}]\n[upstream.hosts]\n\
             \"api.up.test\" = [\"127.0.0.1\"]\n\"git.up.test\" = [\"127.0.0.1\"]\n\
             \"plain.up.test\" = [\"127.0.0.1\"]\n\"other.up.test\" = [\"127.0.0.2\", \"127.0.0.1\"]\n\
             \"private.up.test\" = [\"10.0.0.1\"]\n{more}[log]\nlevel = \"trace\"\n{}",
            dir.join("gateway").display().to_string(),
            ports.proxy,
            ports.gateway_admin,
            dir.join("upstream/ca.pem").display().to_string(),
            setup.gateway,
        );
        std::fs::write(&file, config).unwrap();
    }
    let command = gateway_command(setup, &file);
    let mut process = Process::start_command(dir, "gateway", command);
    process.wait_until_ready(ports.gateway_admin).await;
    process
}

fn gateway_command(setup: &Setup, config: &Path) -> Command {
    let program = process::program("sortie-gateway");
    let mut command = match setup.gateway_under.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command
        .arg("--config")
        .arg(config)
        .envs(setup.gateway_env.iter().cloned());
    command
}

async fn read_key(file: &Path) -> String {
    poll("the operator's key", || async {
        std::fs::read_to_string(file)
            .ok()
            .filter(|key| !key.trim().is_empty())
    })
    .await
    .trim()
    .to_owned()
}

/// Asks until there is an answer, or fails the test with what was waited for.
pub(crate) async fn poll<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "waited too long for {what}"
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
