//! `sortie run` and `sortie env` with real clients: what a command finds, what it does not, what is said afterwards.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use super::support::{Cluster, DEADLINE, Finished, Setup};

/// A secret that nobody brokers, of a shape that everybody knows.
const STRAY: &str = "ghp_a1B2c3D4e5a1B2c3D4e5a1B2c3D4e5a1B2c3";

/// What a person's environment says about Sortie, and what stands in its way.
fn surroundings(cluster: &Cluster) -> Vec<(String, String)> {
    let home = cluster.path().join("home");
    std::fs::create_dir_all(&home).unwrap();
    let key = home.join("owner.key");
    std::fs::write(&key, cluster.api.owner()).unwrap();
    let text = |path: &Path| path.display().to_string();
    let api = format!("http://127.0.0.1:{}", cluster.ports.api);
    let proxy = format!("http://127.0.0.1:{}", cluster.ports.proxy);
    [
        ("HOME", text(&home)),
        ("XDG_CONFIG_HOME", text(&home.join("config"))),
        ("XDG_STATE_HOME", text(&home.join("state"))),
        ("TMPDIR", text(&home)),
        ("SORTIE_API_URL", api),
        ("SORTIE_API_KEY_FILE", text(&key)),
        ("SORTIE_PROXY", proxy),
        ("SORTIE_VAULT", "main".to_owned()),
        ("STRAY", STRAY.to_owned()),
        ("SSH_AUTH_SOCK", "/nowhere".to_owned()),
        ("NO_PROXY", "up.test,corp.example".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

async fn sortie_with(cluster: &Cluster, arguments: &[&str], more: &[(&str, &str)]) -> Finished {
    let own = surroundings(cluster);
    let own = own
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let env: Vec<_> = own.chain(more.iter().copied()).collect();
    cluster
        .run(env!("CARGO_BIN_EXE_sortie"), arguments, &env)
        .await
}

async fn sortie(cluster: &Cluster, arguments: &[&str]) -> Finished {
    sortie_with(cluster, arguments, &[]).await
}

/// `sortie run` of a command with arguments in front.
async fn run(cluster: &Cluster, options: &[&str], command: &[&str]) -> Finished {
    let front = ["run", "--agent", "runner"];
    sortie(cluster, &[&front, options, &["--"], command].concat()).await
}

async fn sessions(cluster: &Cluster) -> Vec<Value> {
    let listed = cluster
        .api
        .get("/v1/tenants/-/sessions?include_ended=true")
        .await;
    listed["sessions"].as_array().unwrap().clone()
}

fn authorization(cluster: &Cluster, path: &str) -> Vec<String> {
    let seen = cluster.recorded_at(path);
    let headers = seen
        .iter()
        .flat_map(|seen| seen["headers"].as_array().unwrap());
    headers
        .filter(|pair| {
            pair[0]
                .as_str()
                .unwrap()
                .eq_ignore_ascii_case("authorization")
        })
        .map(|pair| pair[1].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_python_and_node_are_brokered_and_what_happened_is_listed() {
    let cluster = Cluster::start().await;
    let bearer = format!("Bearer {}", cluster.bearer_service().await);
    let url = |path: &str| cluster.url(path);
    let python = format!(
        "import urllib.request as u; print(u.urlopen({:?}).status)",
        url("/json/python")
    );
    let node = format!(
        "const {{fetch, EnvHttpProxyAgent}} = require('undici');\
         fetch({:?}, {{dispatcher: new EnvHttpProxyAgent()}}).then(r => console.log(r.status))",
        url("/json/node")
    );
    let modules = std::env::var("SORTIE_TEST_NODE_MODULES").unwrap_or_default();
    let script = format!(
        r#"set -e
curl -sf -o /dev/null -w '%{{http_code}}\n' {}
python3 -c '{python}'
NODE_PATH={modules} node -e "$CODE"
curl -s https://example.com/ | grep -o '"host_unmatched"'
curl -s https://api.up.test:1/x > /dev/null
echo "stray=$STRAY ssh=$SSH_AUTH_SOCK key=$API_KEY no=$NO_PROXY sortie=$(env | grep -c ^SORTIE_)"
ls -ld "$(dirname "$SSL_CERT_FILE")" | cut -c 1-10
exit 3"#,
        url("/json/curl"),
    );
    let front = ["run", "--agent", "runner", "--", "sh", "-c", &script];
    let done = sortie_with(&cluster, &front, &[("CODE", &node)]).await;
    assert_eq!(done.code, 3, "{}", done.seen());
    let text = done.text();
    let expect = [
        "200",
        "200",
        "200",
        "\"host_unmatched\"",
        "stray= ssh= key=__API_KEY__ no=corp.example,localhost,127.0.0.1,::1 sortie=0",
        "drwx------",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expect, "{}", done.seen());
    for path in ["/json/curl", "/json/python", "/json/node"] {
        assert_eq!(authorization(&cluster, path), [bearer.as_str()], "{path}");
    }

    // What was left out and what happened, for people, without values.
    let said = &done.stderr;
    for part in [
        "sortie: STRAY looks like a GitHub token and is left out; --keep STRAY hands it on",
        "sortie: NO_PROXY without up.test: brokered hosts are reached through the gateway",
        "sortie: 3 brokered, 2 refused (session ses_",
        &format!("  brokered   api.up.test:{}  3 api", cluster.ports.https),
        "  refused    example.com  1 host_unmatched\n             sortie service set example-com --host example.com --method GET\n",
        "sortie service set up-test --host api.up.test --port 1 --method GET\n",
    ] {
        assert!(said.contains(part), "{part}\nis not in\n{said}");
    }
    assert!(
        !said.contains(STRAY) && !said.contains("sortie_ses_"),
        "{said}"
    );
    let all = sessions(&cluster).await;
    assert!(
        all.len() == 1 && all[0]["revoked_at"].is_string(),
        "{all:?}"
    );
    let left = std::fs::read_dir(cluster.path().join("home")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["owner.key"], "the private folder is gone");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_over_ssh_goes_over_https() {
    let cluster = Cluster::start().await;
    cluster.credential("GIT_TOKEN", &cluster.git_password).await;
    let inject = json!([{"type": "basic", "username": "agent", "credential": "GIT_TOKEN"}]);
    let more = json!({"host": "git.up.test", "path": "/git/**", "inject": inject});
    cluster.service("git", more).await;
    let bare = "git init -q --bare -b main upstream/git/repo.git";
    cluster.run("sh", &["-c", bare], &[]).await.ok();
    for (at, url) in [
        "git@git.up.test:git/repo.git",
        "ssh://git@git.up.test/git/repo.git",
    ]
    .into_iter()
    .enumerate()
    {
        let into = format!("work{at}");
        let clone = ["git", "clone", "-q", url, &into];
        run(&cluster, &["--quiet"], &clone).await.ok();
        assert!(cluster.path().join(into).join(".git/config").exists());
    }
    assert!(!cluster.recorded_at("/git/repo.git/info/refs").is_empty());
    cluster.finish().await;
}

const JAVA: &str = r#"
import java.net.*;
import java.net.http.*;

public class Main {
    public static void main(String[] arguments) throws Exception {
        String[] user = URI.create(System.getenv("HTTPS_PROXY")).getUserInfo().split(":");
        Authenticator authenticator = new Authenticator() {
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(user[0], user[1].toCharArray());
            }
        };
        HttpClient client = HttpClient.newBuilder().authenticator(authenticator).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
    }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn java_trusts_the_gateway_and_finds_it() {
    let cluster = Cluster::start().await;
    let bearer = format!("Bearer {}", cluster.bearer_service().await);
    std::fs::write(cluster.path().join("Main.java"), JAVA).unwrap();
    let url = cluster.url("/json/java");
    let own = [("JAVA_TOOL_OPTIONS", "-Dof.the.user=1")];
    let front = ["run", "--agent", "runner", "--quiet", "--"];
    let java = [&front[..], &["java", "Main.java", &url]].concat();
    let done = sortie_with(&cluster, &java, &own).await;
    assert_eq!(done.ok().trim(), "200");
    assert_eq!(authorization(&cluster, "/json/java"), [bearer.as_str()]);
    // The JVM prints its options: the user's own, and no token.
    assert!(
        done.stderr.contains("-Dof.the.user=1 -Dhttp.proxyHost="),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("sortie_ses_"), "{}", done.stderr);

    let list = "keytool -list -v -storepass changeit -keystore \"$(dirname \"$SSL_CERT_FILE\")/trust.p12\"";
    let listed = run(&cluster, &["--quiet"], &["sh", "-c", list]).await.ok();
    let entries = listed.matches("Entry type: trustedCertEntry").count();
    // The system's roots, and one more.
    let bundle = run(
        &cluster,
        &["--quiet"],
        &["sh", "-c", "grep -c BEGIN $SSL_CERT_FILE"],
    )
    .await;
    assert_eq!(entries.to_string(), bundle.ok().trim(), "{listed}");
    assert!(entries > 10, "{listed}");
    cluster.finish().await;
}

/// Starts `sortie run` with pipes, as an agent starts an MCP server.
fn piped(cluster: &Cluster, options: &[&str], command: &[&str]) -> Child {
    let front = ["run", "--agent", "runner"];
    Command::new(env!("CARGO_BIN_EXE_sortie"))
        .args([&front, options, &["--"], command].concat())
        .envs(surroundings(cluster))
        .current_dir(cluster.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Answers each line of JSON with a line of JSON, one of them with what the API says.
const SERVER: &str = r#"
import json, sys, urllib.request
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "fetch":
        result = urllib.request.urlopen(asked["url"]).status
    else:
        result = asked["method"]
    print(json.dumps({"id": asked["id"], "result": result}), flush=True)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_standard_input_and_output_is_left_alone() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let mut child = piped(&cluster, &[], &["python3", "-c", SERVER]);
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let asked = [
        (
            json!({"id": 1, "method": "initialize"}),
            json!("initialize"),
        ),
        (
            json!({"id": 2, "method": "fetch", "url": cluster.url("/json/mcp")}),
            json!(200),
        ),
    ];
    for (ask, expect) in asked {
        stdin
            .write_all(format!("{ask}\n").as_bytes())
            .await
            .unwrap();
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await;
        let answer: Value = serde_json::from_str(&line.unwrap().unwrap().unwrap()).unwrap();
        assert_eq!(answer, json!({"id": ask["id"], "result": expect}));
    }
    drop(stdin);
    // Nothing but the server's own lines ever stood there.
    let rest = tokio::time::timeout(DEADLINE, lines.next_line()).await;
    assert_eq!(rest.unwrap().unwrap(), None);
    let done = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(
        done.status.success() && said.contains("sortie: 1 brokered"),
        "{said}"
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_command_and_then_the_session() {
    let cluster = Cluster::start().await;
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = piped(&cluster, &["--quiet"], &["sh", "-c", script]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "ready");
    let id = i32::try_from(child.id().unwrap()).unwrap();
    let id = nix::unistd::Pid::from_raw(id);
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ended = tokio::time::timeout(DEADLINE, child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(7));
    assert!(sessions(&cluster).await[0]["revoked_at"].is_string());
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passed_is_listed_for_programs_on_standard_error() {
    let setup = Setup {
        mode: "observe",
        ..Setup::default()
    };
    let cluster = Cluster::start_with(setup).await;
    cluster.bearer_service().await;
    let port = cluster.ports.https;
    let other = format!("https://other.up.test:{port}/json/x");
    let front = ["-o", "json", "run", "--agent", "runner", "--"];
    let curl = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        &other,
        &cluster.url("/json/x"),
    ];
    // No service covers that host yet, so the user's own word would count.
    let arguments = [&front[..], &curl].concat();
    let done = sortie_with(&cluster, &arguments, &[("NO_PROXY", "")]).await;
    done.ok();
    let last = done.stderr.lines().last().unwrap();
    let said: Value = serde_json::from_str(last).unwrap();
    assert_eq!(said["complete"], true, "{said}");
    let line = |outcome, host: &str, service: &str, command: Value| {
        let host = format!("{host}:{port}");
        json!({"outcome": outcome, "host": host, "requests": 1, "service": service, "code": "", "command": command})
    };
    let command =
        format!("sortie service set other-up-test --host other.up.test --port {port} --method GET");
    let expect = json!([
        line("brokered", "api.up.test", "api", Value::Null),
        line("passed", "other.up.test", "", json!(command)),
    ]);
    assert_eq!(said["hosts"], expect);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_without_a_session_and_bundles_bring_their_files() {
    let cluster = Cluster::start().await;
    let value = cluster.plain_secret("github");
    let bundle = sortie_proto::catalog::find("github").unwrap();
    let destinations: Vec<_> = bundle
        .services
        .iter()
        .map(|service| json!({"host": service.host.to_string()}))
        .collect();
    let needed = &bundle.credentials[0];
    let body =
        json!({"value": value, "placeholder": needed.placeholder, "destinations": destinations});
    let vault = "/v1/tenants/-/vaults/main";
    cluster
        .api
        .put(&format!("{vault}/credentials/{}", needed.name), body)
        .await;
    for service in &bundle.services {
        let path = format!("{vault}/services/{}", service.name);
        cluster.api.put(&path, service.body()).await;
    }

    let printed = run(&cluster, &["--print"], &["curl", "x"]).await.ok();
    for part in [
        "HTTPS_PROXY=http://x:PASSWORD@127.0.0.1:0\n",
        "curl x\n",
        "  gh/hosts.yml\n",
        "  STRAY: looks like a GitHub token\n",
        "  SSH_AUTH_SOCK: git goes over HTTPS\n",
        "GH_CONFIG_DIR=FOLDER/gh\n",
        "\"vaults\":[\"main\"]",
    ] {
        assert!(printed.contains(part), "{part}\nis not in\n{printed}");
    }
    assert!(
        !printed.contains("sortie_ses_") && !printed.contains(STRAY),
        "{printed}"
    );
    assert!(sessions(&cluster).await.is_empty(), "nothing is minted");

    let script = "cat $GH_CONFIG_DIR/hosts.yml; echo $GITHUB_TOKEN $GH_TOKEN";
    let front = [
        "run", "--agent", "runner", "--quiet", "--", "sh", "-c", script,
    ];
    let done = sortie_with(&cluster, &front, &[("GH_TOKEN", STRAY)]).await;
    let placeholder = &needed.placeholder;
    let text = done.ok();
    assert!(
        text.contains(&format!("oauth_token: {placeholder}\n")),
        "{text}"
    );
    assert!(
        text.ends_with(&format!("{placeholder} {placeholder}\n")),
        "{text}"
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_printed_for_a_shell_and_a_session_can_be_given() {
    let cluster = Cluster::start().await;
    let bearer = format!("Bearer {}", cluster.bearer_service().await);
    let curl = format!(
        "curl -sf -o /dev/null -w '%{{http_code}}' {}",
        cluster.url("/json/env")
    );
    let script = format!(
        "eval \"$({} env --agent runner --ttl 5m)\"; {curl}; printf %s \"$STRAY\"",
        env!("CARGO_BIN_EXE_sortie")
    );
    let own = surroundings(&cluster);
    let env: Vec<_> = own.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let done = cluster.run("sh", &["-c", &script], &env).await;
    assert_eq!(done.ok(), "200", "{}", done.seen());
    assert_eq!(authorization(&cluster, "/json/env"), [bearer.as_str()]);
    assert!(
        done.stderr
            .contains("whoever reads this output is session ses_"),
        "{}",
        done.stderr
    );

    // A file, and the variable; neither ends the session.
    let printed = sortie(&cluster, &["env", "--agent", "runner", "--format", "json"]).await;
    let printed: Value = serde_json::from_str(&printed.ok()).unwrap();
    let bundle = printed["environment"]["SSL_CERT_FILE"].as_str().unwrap();
    assert!(std::fs::exists(bundle).unwrap(), "the folder stays");
    let session = cluster.session().await;
    let file = cluster.path().join("home/token");
    std::fs::write(&file, format!("{}\n", session.token)).unwrap();
    let file = file.display().to_string();
    let command = [
        "curl",
        "-sf",
        "-o",
        "/dev/null",
        &cluster.url("/json/given"),
    ];
    let given = sortie(
        &cluster,
        &[&["run", "--session", &file, "--"], &command[..]].concat(),
    )
    .await;
    given.ok();
    assert!(
        given
            .stderr
            .contains(&format!("1 brokered (session {})", session.id)),
        "{}",
        given.stderr
    );
    let more = [("SORTIE_SESSION", session.token.as_str())];
    let arguments = [&["run", "--quiet", "--"], &command[..]].concat();
    sortie_with(&cluster, &arguments, &more).await.ok();
    assert_eq!(
        authorization(&cluster, "/json/given"),
        [bearer.as_str(), bearer.as_str()]
    );
    let all = sessions(&cluster).await;
    let same = all
        .iter()
        .find(|other| other["id"] == session.id.as_str())
        .unwrap();
    assert!(same["revoked_at"].is_null(), "{same}");
    cluster.finish().await;
}
