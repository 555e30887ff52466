//! The ways to the proxy: TLS on its port, and tunnels in the streams of one HTTP/2 connection.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use super::support::{Cluster, Minted, Setup, poll, process};

/// A cluster whose proxy has a certificate.
struct Secured {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Secured {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = ["127.0.0.1".to_owned()];
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("proxy-ca.pem"), pair.cert.pem()).unwrap();
        std::fs::write(file("proxy.key"), pair.signing_key.serialize_pem()).unwrap();
        let gateway = format!(
            "[proxy.tls]\ncertificate = {:?}\nkey = {:?}\n",
            file("proxy-ca.pem"),
            file("proxy.key")
        );
        let setup = Setup {
            gateway,
            ..Setup::default()
        };
        let cluster = Cluster::start_with(setup).await;
        Self { cluster, folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("proxy-ca.pem")
    }

    fn proxy(&self, session: &Minted) -> String {
        let port = self.cluster.ports.proxy;
        format!("https://x:{}@127.0.0.1:{port}", session.token)
    }

    /// The tenant's authority and the upstream's own, in one file.
    fn authorities(&self) -> PathBuf {
        let read = |file: PathBuf| std::fs::read_to_string(file).unwrap();
        let upstream = read(self.cluster.path().join("upstream/ca.pem"));
        let file = self.folder.path().join("authorities.pem");
        std::fs::write(&file, read(self.cluster.ca()) + &upstream).unwrap();
        file
    }

    /// A JavaScript program behind `tunnels.js`, and the environment that it needs.
    fn node(&self, code: &str) -> (String, Vec<(&'static str, String)>) {
        let tunnels = include_str!("ways/tunnels.js");
        let program = format!(
            "{tunnels}\n(async () => {{\n{code}\n}})().catch((e) => (console.log(e), process.exit(1)));"
        );
        let ports = self.cluster.ports;
        let env = vec![
            ("PROXY", format!("https://127.0.0.1:{}", ports.proxy)),
            ("PROXY_CA", self.ca().display().to_string()),
            ("CA", self.authorities().display().to_string()),
            ("PORT", ports.https.to_string()),
        ];
        (program, env)
    }

    async fn run_node(&self, code: &str) -> String {
        let (program, env) = self.node(code);
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, &**value)).collect();
        self.cluster.run("node", &["-e", &program], &env).await.ok()
    }

    /// A number of the gateway's.
    async fn metric(&self, name: &str) -> f64 {
        metric(&self.cluster, name).await
    }
}

async fn metric(cluster: &Cluster, name: &str) -> f64 {
    let name = format!("sortie_gateway_{name}");
    let value = process::metric(cluster.ports.gateway_admin, &name).await;
    value.unwrap_or_else(|| panic!("no {name}"))
}

/// The credential of each request under a path.
fn authorizations(cluster: &Cluster, path: &str) -> Vec<String> {
    let value = |seen: &Value| {
        let headers = seen["headers"].as_array().unwrap();
        let named = |name: &str| {
            let mut found = headers.iter().filter(|pair| pair[0] == name);
            found
                .next()
                .map(|pair| pair[1].as_str().unwrap().to_owned())
        };
        assert_eq!(named("proxy-authorization"), None);
        named("authorization").unwrap_or_default()
    };
    cluster.recorded_at(path).iter().map(value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_url_in_tls_needs_no_proxy_and_no_word_about_http_2() {
    let secured = Secured::start().await;
    let cluster = &secured.cluster;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let url = format!(
        "https://127.0.0.1:{}/r/main/api/json/base",
        cluster.ports.proxy
    );
    let (ca, key) = (
        secured.ca().display().to_string(),
        format!("x-api-key: {}", session.token),
    );
    let arguments = [
        "-sS",
        "-f",
        "--noproxy",
        "*",
        "--cacert",
        &ca,
        "-H",
        &key,
        &url,
    ];
    let seen = cluster.run("curl", &arguments, &[]).await.ok();
    assert!(!seen.contains(&session.token), "{seen}");
    let authorized = authorizations(cluster, "/json/base");
    assert_eq!(authorized, [format!("Bearer {value}")]);
    secured.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_httpx_speak_tls_to_the_proxy() {
    let secured = Secured::start().await;
    let cluster = &secured.cluster;
    let value = cluster.bearer_service().await;
    let plain = cluster.plain_secret("plain");
    cluster.credential("PLAIN", &plain).await;
    let more = json!({
        "host": "plain.up.test", "scheme": "http", "port": cluster.ports.http,
        "inject": [{"type": "bearer", "credential": "PLAIN"}],
    });
    cluster.service("plain", more).await;
    let session = cluster.session().await;
    let (proxy, ca) = (secured.proxy(&session), secured.ca().display().to_string());
    let cleartext = format!("http://plain.up.test:{}/json/plain", cluster.ports.http);
    let tunnelled =
        ["--http1.1", "--http2"].map(|flag| (flag, cluster.url(&format!("/json/{flag}")), &value));
    for (flag, url, value) in tunnelled
        .into_iter()
        .chain([("--http1.1", cleartext, &plain)])
    {
        let arguments = [flag, "-f", "--proxy-cacert", &ca, &url];
        let seen = cluster.curl_through(&proxy, &arguments).await;
        assert!(!seen.ok().is_empty());
        let path = url.splitn(4, '/').last().unwrap();
        let path = format!("/{path}");
        assert_eq!(authorizations(cluster, &path), [format!("Bearer {value}")]);
    }

    // Whoever does not speak TLS is served on the same port as before.
    cluster
        .curl(&session, &["-f", &cluster.url("/json/cleartext")])
        .await
        .ok();

    let wrong = cluster.ca().display().to_string();
    let arguments = ["--proxy-cacert", &wrong, &cluster.url("/json/wrong")];
    let seen = cluster.curl_through(&proxy, &arguments).await;
    assert_eq!(seen.code, 60, "{}", seen.seen());
    assert!(authorizations(cluster, "/json/wrong").is_empty());

    let python = std::env::var("SORTIE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let code = format!(
        "import httpx, ssl\n\
         trust = lambda file: ssl.create_default_context(cafile=file)\n\
         proxy = httpx.Proxy({proxy:?}, ssl_context=trust({ca:?}))\n\
         client = httpx.Client(proxy=proxy, verify=trust({wrong:?}))\n\
         print(client.get({:?}).status_code)",
        cluster.url("/json/httpx"),
    );
    let seen = cluster.run(&python, &["-c", &code], &[]).await;
    assert_eq!(seen.ok().trim(), "200");
    assert_eq!(
        authorizations(cluster, "/json/httpx"),
        [format!("Bearer {value}")]
    );
    secured.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_tunnels_and_each_refusal_is_read() {
    let secured = Secured::start().await;
    let cluster = &secured.cluster;
    let value = cluster.bearer_service().await;
    let untouched = json!({"host": "other.up.test", "intercept": "never"});
    cluster.service("untouched", untouched).await;
    let (session, other) = (cluster.session().await, cluster.session().await);
    cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    let before = secured.metric("connections_accepted_total").await;
    let (first, second) = (&session.token, &other.token);
    let code = format!(
        r#"
        const host = "api.up.test", tokens = [{first:?}, {second:?}];
        const many = await Promise.all([...Array(60).keys()].map(async (number) => {{
          const [alpn, over] = number % 3 ? ["http/1.1", over1] : ["h2", over2];
          const opened = await tunnel(tokens[number % 2], host, alpn);
          const [status, body] = await over(opened, host, `/json/many/${{number}}`);
          return status === 200 && body.length > 0;
        }}));
        console.log("many", many.every(Boolean), many.length);
        // More than any window, both ways, beside each other.
        const size = 8_000_000;
        const [[, down], [, up]] = await Promise.all([
          over1(await tunnel(tokens[0], host, "http/1.1"), host, `/bytes/${{size}}`),
          over1(await tunnel(tokens[1], host, "http/1.1"), host, "/upload", Buffer.alloc(size, 7)),
        ]);
        console.log("large", down.length, up.toString().includes(`${{size}}`));
        const passed = await tunnel(tokens[0], "other.up.test", "http/1.1");
        console.log("untouched", (await over1(passed, "other.up.test", "/bytes/3000000?as=is"))[1].length);
        const told = ({{ head, body }}) => [head[":status"], body.code, head["proxy-authenticate"]];
        console.log(...told(await ask({{ ":method": "CONNECT", ":authority": `${{host}}:${{PORT}}` }})));
        console.log(...told(await connect("sortie_ses_forged", host)));
        const plain = {{ ":scheme": "http", ":authority": "plain.up.test", ":path": "/" }};
        console.log(...told(await ask({{ ...plain, "proxy-authorization": basic(tokens[0]) }})));
        const unknown = await tunnel(tokens[0], "nowhere.test", "http/1.1");
        const [status, body] = await over1(unknown, "nowhere.test", "/");
        console.log("inside", status, JSON.parse(body).code);
        proxy.removeAllListeners("close").close();
        "#
    );
    let seen = secured.run_node(&code).await;
    let lines: Vec<&str> = seen.lines().collect();
    let expected = [
        "many true 60",
        "large 8000000 true",
        "untouched 3000000",
        r#"407 token_missing Basic realm="sortie", Bearer realm="sortie""#,
        r#"407 token_malformed Basic realm="sortie", Bearer realm="sortie""#,
        "400 connect_only undefined",
        "inside 403 host_unmatched",
    ];
    assert_eq!(lines, expected, "{seen}");
    let accepted = secured.metric("connections_accepted_total").await - before;
    assert_eq!(accepted, 1.0);
    assert_eq!(authorizations(cluster, "/bytes/3000000?as=is"), [""]);
    let many = authorizations(cluster, "/json/many/");
    assert_eq!(many, vec![format!("Bearer {value}"); 60]);
    secured.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_url_is_served_over_http_2_beside_tunnels() {
    let secured = Secured::start().await;
    let cluster = &secured.cluster;
    let value = cluster.bearer_service().await;
    let (session, other) = (cluster.session().await, cluster.session().await);
    let before = secured.metric("connections_accepted_total").await;
    let (first, second) = (&session.token, &other.token);
    let (secret, hidden) = (&value, "*".repeat(value.len()));
    let code = format!(
        r#"
        const host = "api.up.test", tokens = [{first:?}, {second:?}], secret = {secret:?}, hidden = {hidden:?};
        const opened = await tunnel(tokens[0], host, "h2");
        const many = await Promise.all([...Array(60).keys()].map(async (number) => {{
          const {{ status }} = await base(tokens[number % 2], `api/json/base2/${{number}}`);
          return status === 200;
        }}));
        console.log("many", many.every(Boolean), many.length);
        console.log("beside", (await over2(opened, host, "/json/beside"))[0]);
        // More than any window, both ways, sent as it is made.
        const size = 3_000_000;
        const [down, up] = await Promise.all([
          base(tokens[0], `api/bytes/${{size}}`),
          base(tokens[1], "api/upload", {{ sent: Buffer.alloc(size, 7) }}),
        ]);
        console.log("large", down.body.length, up.body.includes(`${{size}}`));
        for (const path of ["api/echo/json", "api/sse?n=3&interval_ms=5&echo=1"]) {{
          const {{ body }} = await base(tokens[0], path);
          console.log("echo", body.includes(hidden), body.includes(secret), body.includes(tokens[0]));
        }}
        const told = ({{ status, head, body }}) => [status, JSON.parse(body).code, head["www-authenticate"]];
        console.log(...told(await base("sk-mine", "api/json/x")));
        console.log(...told(await base("sortie_ses_forged", "api/json/x")));
        console.log(...told(await base(tokens[0], "nothing/json/x")));
        const key = {{ authorization: "Bearer unused", "x-api-key": tokens[0] }};
        console.log("key", (await base("", "api/json/keyed", key)).status);
        const moved = await base(tokens[0], "api/redirect?to=/json/followed");
        console.log("moved", moved.status, moved.head.location);
        const probe = {{ ":method": "HEAD", ":path": "/r/main/nothing/", "x-api-key": tokens[0] }};
        const bare = proxy.request(probe);
        bare.on("response", (head) => console.log("head", head[":status"])).resume();
        bare.on("end", () => proxy.removeAllListeners("close").close()).end();
        "#
    );
    let seen = secured.run_node(&code).await;
    let lines: Vec<&str> = seen.lines().collect();
    let challenge = r#"Basic realm="sortie", Bearer realm="sortie""#;
    let missing = format!("401 key_missing {challenge}");
    let forged = format!("401 token_malformed {challenge}");
    let expected = [
        "many true 60",
        "beside 200",
        "large 3000000 true",
        "echo true false false",
        "echo true false false",
        &missing,
        &forged,
        "404 service_unknown undefined",
        "key 200",
        "moved 302 /r/main/api/json/followed",
        "head 404",
    ];
    assert_eq!(lines, expected, "{seen}");
    let accepted = secured.metric("connections_accepted_total").await - before;
    assert_eq!(accepted, 1.0);
    let many = authorizations(cluster, "/json/base2/");
    assert_eq!(many, vec![format!("Bearer {value}"); 60]);
    let keyed = cluster.recorded_at("/json/keyed").remove(0);
    assert!(!keyed.to_string().contains(first.as_str()), "{keyed}");
    assert_eq!(
        keyed["host"],
        format!("api.up.test:{}", cluster.ports.https)
    );
    secured.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_loses_its_tunnels_and_its_neighbours_keep_theirs() {
    let secured = Secured::start().await;
    let cluster = &secured.cluster;
    cluster.bearer_service().await;
    let (revoked, spared) = (cluster.session().await, cluster.session().await);
    let code = format!(
        r#"
        const host = "api.up.test", tokens = {{ revoked: {:?}, spared: {:?} }};
        for (const [name, token] of Object.entries(tokens)) {{
          const opened = await tunnel(token, host, "http/1.1");
          opened.stream.on("close", () => console.log(name, "ended", opened.stream.rstCode));
          opened.socket.on("error", () => {{}}).on("data", () => console.log(name, "event"));
          opened.socket.write(`GET /sse?n=0&interval_ms=20 HTTP/1.1\r\nHost: ${{host}}:${{PORT}}\r\n\r\n`);
        }}
        // One that waits, with nothing in it.
        const silent = await connect(tokens.revoked, host);
        silent.stream.on("close", () => console.log("silent", "ended", silent.stream.rstCode));
        // Requests to a base URL on the same connection; the first byte of one never comes.
        for (const [name, token] of Object.entries(tokens)) {{
          for (const path of ["sse?n=0&interval_ms=20", "slow?ms=600000"]) {{
            const word = `${{name}} base ${{path.split("?")[0]}}`;
            const stream = proxy.request({{ ":path": `/r/main/api/${{path}}`, "x-api-key": token }});
            stream.on("error", () => {{}}).on("data", () => console.log(word, "event"));
            stream.on("close", () => console.log(word, "ended", stream.rstCode));
          }}
        }}
        "#,
        revoked.token, spared.token
    );
    let (program, env) = secured.node(&code);
    let output = cluster.path().join("events");
    let mut child = Command::new("node")
        .args(["-e", &program])
        .envs(env)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&output).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let count = |line: &str| {
        let text = std::fs::read_to_string(&output).unwrap();
        text.lines().filter(|found| *found == line).count()
    };
    for line in [
        "revoked event",
        "spared event",
        "revoked base sse event",
        "spared base sse event",
    ] {
        poll("events to flow", || async {
            (count(line) > 0).then_some(())
        })
        .await;
    }

    cluster.api.revoke(&revoked).await;

    // RST_STREAM, CANCEL.
    for line in [
        "revoked ended 8",
        "silent ended 8",
        "revoked base sse ended 8",
        "revoked base slow ended 8",
    ] {
        poll("the tunnels of the revoked session to end", || async {
            (count(line) == 1).then_some(())
        })
        .await;
    }
    for line in ["spared event", "spared base sse event"] {
        let before = count(line);
        poll("the other session's events to go on", || async {
            (count(line) > before).then_some(())
        })
        .await;
    }
    assert_eq!(count("spared base slow ended 8"), 0);
    // Each of the revoked session's has its end in the audit log, and why.
    poll("the requests that were cut in the audit log", || async {
        let entries = cluster.api.audit().await;
        let cut = |path: &str| {
            entries.iter().any(|entry| {
                let url = entry["url"].as_str().unwrap_or_default();
                url.ends_with(path) && entry["code"] == "session_revoked"
            })
        };
        (cut("/slow") && cut("/sse")).then_some(())
    })
    .await;
    assert!(child.try_wait().unwrap().is_none());
    assert_eq!(count("proxy closed") + count("spared ended 0"), 0);
    child.kill().await.unwrap();
    secured.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_the_proxy_ends_tls_at_once() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let proxy = cluster.proxy(&session).replacen("http", "https", 1);
    let seen = cluster
        .curl_through(&proxy, &[&cluster.url("/json/refused")])
        .await;
    // CURLE_SSL_CONNECT_ERROR
    assert_eq!(seen.code, 35, "{}", seen.seen());
    assert!(seen.stderr.contains("alert"), "{}", seen.stderr);
    assert_eq!(metric(&cluster, "tls_refused_total").await, 1.0);
    assert!(authorizations(&cluster, "/json/refused").is_empty());
    cluster.finish().await;
}
