//! The pod of `deploy/kubernetes`, the sidecar of `deploy/compose.agent.yaml` and the jobs of `docs/quickstarts/ci.md`:
//! what they tell containers and runners to execute is executed here, with the variables that those would set.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::support::process::Process;
use super::support::{Cluster, Finished, free_port};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn documents(text: &str) -> Vec<Value> {
    serde_norway::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn words(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap().iter();
    list.map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// Where containers have what the test has elsewhere.
struct Sidecar {
    /// What stands in for a path, an address or a variable.
    here: Vec<(String, String)>,
    folder: PathBuf,
    port: u16,
}

impl Sidecar {
    /// An agent of its own, whose key the relay has.
    async fn new(cluster: &Cluster) -> Self {
        let folder = cluster.path().join("shared");
        let key = cluster.path().join("agent.key");
        fs::write(&key, agent(cluster).await).unwrap();
        let text = |path: &Path| path.display().to_string();
        let pair = |from: &str, to: String| (from.to_owned(), to);
        Self {
            here: vec![
                pair("http://control:7300", cluster.api.base().to_owned()),
                pair(
                    "http://gateway:7380",
                    format!("http://127.0.0.1:{}", cluster.ports.proxy),
                ),
                pair(
                    "$(SORTIE_CONTROL_SERVICE_HOST):7300",
                    format!("127.0.0.1:{}", cluster.ports.api),
                ),
                pair(
                    "$(SORTIE_GATEWAY_SERVICE_HOST):7380",
                    format!("127.0.0.1:{}", cluster.ports.proxy),
                ),
                pair("$(POD_NAME)", "agent".to_owned()),
                pair("/var/run/secrets/sortie/key", text(&key)),
                pair("/run/secrets/agent.key", text(&key)),
                pair("/run/sortie", text(&folder)),
                pair("${VAULT:-default}", "main".to_owned()),
                pair("$$", "$".to_owned()),
            ],
            folder,
            port: free_port(),
        }
    }

    fn fit(&self, text: &str) -> String {
        let text = if text == "default" { "main" } else { text };
        let fit = |text: String, (from, to): &(String, String)| text.replace(from, to);
        self.here.iter().fold(text.to_owned(), fit)
    }

    /// Starts the relay as the image's entry point, with these arguments and this environment and no other.
    async fn start(
        &self,
        cluster: &Cluster,
        arguments: &[String],
        env: &[(String, String)],
    ) -> Process {
        let mut line = vec!["-i".to_owned(), "HOME=/nonexistent".to_owned()];
        line.extend(
            env.iter()
                .map(|(name, value)| format!("{name}={}", self.fit(value))),
        );
        line.extend([env!("CARGO_BIN_EXE_sortie").to_owned(), "relay".to_owned()]);
        line.extend(arguments.iter().map(|word| self.fit(word)));
        // Its usual port may be taken on a machine that others use.
        line.push(format!("--listen=127.0.0.1:{}", self.port));
        let mut process = Process::start(cluster.path(), "relay", "/usr/bin/env", &line, &[]);
        process.wait_for_line("relay of session ").await;
        process
    }

    /// What the engine would ask, at the port of the test's own.
    async fn is_ready(&self, cluster: &Cluster, probe: &[String]) -> bool {
        assert_eq!(probe[0], "/usr/local/bin/ready");
        assert_eq!(probe.last().unwrap(), "7381");
        let script = root().join("deploy/docker/ready").display().to_string();
        let port = self.port.to_string();
        let mut line = vec![script.as_str()];
        line.extend(probe[1..probe.len() - 1].iter().map(String::as_str));
        line.push(&port);
        cluster.run("bash", &line, &[]).await.code == 0
    }

    /// Runs a command as the agent's container does, with no environment but a PATH.
    async fn agent(&self, cluster: &Cluster, entry: &[String], command: &[&str]) -> Finished {
        let path = format!("PATH={}", std::env::var("PATH").unwrap());
        let entry: Vec<String> = entry.iter().map(|word| self.fit(word)).collect();
        let mut line = vec!["-i", &path];
        line.extend(entry.iter().map(String::as_str));
        line.extend(command);
        cluster.run("env", &line, &[]).await
    }

    /// The relay serves, the agent gets through, and at the end nothing is left.
    async fn works(&self, cluster: &Cluster, mut relay: Process, entry: &[String]) {
        let url = cluster.url("/bytes/8");
        let done = self.agent(cluster, entry, &["curl", "-sSf", &url]).await;
        assert_eq!(done.ok(), "xxxxxxxx");
        assert_eq!(cluster.recorded_at("/bytes/8").len(), 1);
        let python = format!("import urllib.request as r; print(r.urlopen({url:?}).status)");
        let done = self
            .agent(cluster, entry, &["python3", "-c", &python])
            .await;
        assert_eq!(done.ok().trim(), "200");
        let shown = self.agent(cluster, entry, &["env"]).await.ok();
        assert!(!shown.contains("sortie_"), "neither key nor token: {shown}");
        for file in ["ca.pem", "bundle.pem", "trust.p12", "environment.sh"] {
            let bytes = fs::read(self.folder.join(file)).unwrap();
            assert!(memchr::memmem::find(&bytes, b"sortie_").is_none(), "{file}");
        }
        relay.stop().await;
        let listed = cluster
            .api
            .get("/v1/tenants/-/sessions?include_ended=true")
            .await;
        let all = listed["sessions"].as_array().unwrap();
        assert!(
            all.len() == 1 && all[0]["revoked_at"].is_string(),
            "{listed}"
        );
    }
}

/// The key of an agent with a role on the vault.
async fn agent(cluster: &Cluster) -> String {
    let made = cluster
        .api
        .post("/v1/tenants/-/agents", json!({"name": "sidecar"}))
        .await;
    let grant = "/v1/tenants/-/vaults/main/grants/sidecar";
    cluster.api.put(grant, json!({"role": "user"})).await;
    made["key"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_with_a_sidecar_runs_as_its_manifest_says() {
    let text = fs::read_to_string(root().join("deploy/kubernetes/agent.yaml")).unwrap();
    let all = documents(&text);
    let [pod, policy] = &all[..] else {
        panic!("a pod and a policy");
    };
    let (relay, agent) = (
        &pod["spec"]["initContainers"][0],
        &pod["spec"]["containers"][0],
    );
    assert_eq!(relay["restartPolicy"], "Always", "it is a sidecar");
    for container in [relay, agent] {
        assert_eq!(
            container["securityContext"]["capabilities"]["drop"],
            json!(["ALL"])
        );
    }
    // The key is the relay's alone, and every mount is of a volume that is there.
    let mounts = |container: &Value| -> BTreeMap<String, String> {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        mounts
            .map(|mount| (text(&mount["name"]), text(&mount["mountPath"])))
            .collect()
    };
    assert_eq!(
        mounts(agent).into_iter().collect::<Vec<_>>(),
        [("sortie".to_owned(), "/run/sortie".to_owned())]
    );
    let volumes: Vec<_> = pod["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["name"].clone())
        .collect();
    assert!(
        mounts(relay)
            .keys()
            .all(|name| volumes.contains(&json!(name))),
        "{volumes:?}"
    );
    // The policy is for this pod, and opens what the relay is told to use and nothing else.
    assert_eq!(
        policy["spec"]["podSelector"]["matchLabels"],
        pod["metadata"]["labels"]
    );
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["spec"]["ingress"], json!([]));
    let egress = policy["spec"]["egress"].as_array().unwrap();
    let open: Vec<_> = egress
        .iter()
        .map(|rule| {
            (
                rule["to"][0]["podSelector"]["matchLabels"]["app"].clone(),
                rule["ports"][0]["port"].clone(),
            )
        })
        .collect();
    assert_eq!(
        open,
        [
            (json!("sortie-gateway"), json!(7380)),
            (json!("sortie-control"), json!(7300))
        ]
    );

    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let sidecar = Sidecar::new(&cluster).await;
    let env: Vec<_> = relay["env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| {
            let value = one["value"].as_str()?;
            Some((one["name"].as_str()?.to_owned(), value.to_owned()))
        })
        .collect();
    let running = sidecar.start(&cluster, &words(&relay["args"]), &env).await;
    let probe = words(&relay["startupProbe"]["exec"]["command"]);
    assert!(sidecar.is_ready(&cluster, &probe).await);
    sidecar
        .works(&cluster, running, &words(&agent["command"]))
        .await;
    assert!(
        !sidecar.is_ready(&cluster, &probe).await,
        "the probe can fail"
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecar_of_the_compose_file_runs_as_it_says() {
    let read = |name: &str| {
        let text = fs::read_to_string(root().join("deploy").join(name)).unwrap();
        documents(&text).remove(0)
    };
    let (compose, around) = (read("compose.agent.yaml"), read("compose.yaml"));
    let (relay, agent) = (&compose["services"]["relay"], &compose["services"]["agent"]);
    assert_eq!(agent["network_mode"], "service:relay");
    assert!(agent["networks"].is_null());
    // The network is one of the cluster's, without a way out of it, in which both servers are.
    let name = compose["networks"]["agents"]["name"].as_str().unwrap();
    assert_eq!(name, format!("{}_agents", around["name"].as_str().unwrap()));
    assert_eq!(around["networks"]["agents"]["internal"], true);
    for server in ["control", "gateway"] {
        let networks = &around["services"][server]["networks"];
        assert!(words(networks).contains(&"agents".to_owned()), "{server}");
    }
    let mounted = words(&agent["volumes"]);
    assert_eq!(
        mounted,
        ["sortie:/run/sortie:ro"],
        "the key is the relay's alone"
    );

    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let sidecar = Sidecar::new(&cluster).await;
    let env = relay["environment"].as_object().unwrap().iter();
    let env: Vec<_> = env
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    let running = sidecar
        .start(&cluster, &words(&relay["command"]), &env)
        .await;
    sidecar
        .works(&cluster, running, &words(&agent["entrypoint"]))
        .await;
    cluster.finish().await;
}

/// The blocks of a kind on a page.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let fence = format!("```{kind}\n");
    text.split(&fence)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap().to_owned())
        .collect()
}

/// A runner: where a job is executed, and what its variables hold.
struct Runner<'a> {
    cluster: &'a Cluster,
    key: String,
    folder: PathBuf,
}

impl Runner<'_> {
    /// A line or script of a job, as the runner's shell executes it.
    async fn execute(&self, script: &str, variables: &BTreeMap<String, String>) -> Finished {
        let mut all = variables.clone();
        all.insert(
            "SORTIE_API_URL".to_owned(),
            self.cluster.api.base().to_owned(),
        );
        all.insert(
            "SORTIE_PROXY".to_owned(),
            format!("http://127.0.0.1:{}", self.cluster.ports.proxy),
        );
        all.insert("SORTIE_VAULT".to_owned(), "main".to_owned());
        all.insert("HOME".to_owned(), self.folder.display().to_string());
        let programs = Path::new(env!("CARGO_BIN_EXE_sortie")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        all.insert("PATH".to_owned(), path);
        let env: Vec<_> = all.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let script = format!("cd {}\n{script}", self.folder.display());
        self.cluster
            .run("bash", &["-eo", "pipefail", "-c", &script], &env)
            .await
    }

    /// The variables of a step. The store of secrets holds one.
    fn variables(&self, step: &Value) -> BTreeMap<String, String> {
        let named = step["env"].as_object().into_iter().flatten();
        let mut all: BTreeMap<_, _> = named
            .map(|(name, value)| {
                let value = value.as_str().unwrap();
                (
                    name.clone(),
                    value.replace("${{ secrets.SORTIE_API_KEY }}", &self.key),
                )
            })
            .collect();
        all.insert("GITHUB_RUN_ID".to_owned(), "42".to_owned());
        all.insert("CI_PIPELINE_ID".to_owned(), "42".to_owned());
        all.insert("RUNNER_TEMP".to_owned(), self.folder.display().to_string());
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_the_page_about_ci_run_and_leave_no_session() {
    let cluster = Cluster::start().await;
    let bearer = format!("Bearer {}", cluster.bearer_service().await);
    let runner = Runner {
        key: agent(&cluster).await,
        folder: cluster.path().join("runner"),
        cluster: &cluster,
    };
    fs::create_dir(&runner.folder).unwrap();
    let script = format!("curl -sSf -o /dev/null {}\n", cluster.url("/json/ci"));
    let program = runner.folder.join("agent.sh");
    fs::write(&program, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

    let mut ran = Vec::new();
    for block in blocks("docs/quickstarts/ci.md", "yaml") {
        let job = &documents(&block)[0];
        let steps = job["jobs"]["agent"]["steps"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for step in steps.iter().filter(|step| step["run"].is_string()) {
            runner
                .execute(step["run"].as_str().unwrap(), &runner.variables(step))
                .await
                .ok();
            ran.push(step["name"].as_str().unwrap().to_owned());
        }
        if job["agent"]["script"].is_array() {
            let mut variables = runner.variables(&Value::Null);
            variables.insert("SORTIE_API_KEY".to_owned(), runner.key.clone());
            for line in words(&job["agent"]["script"]) {
                runner.execute(&line, &variables).await.ok();
                ran.push("GitLab".to_owned());
            }
        }
    }
    assert_eq!(ran.len(), 6, "{ran:?}");
    let seen = cluster.recorded_at("/json/ci");
    assert_eq!(seen.len(), 4);
    assert!(
        seen.iter().all(|seen| seen.to_string().contains(&bearer)),
        "{seen:?}"
    );
    let listed = cluster
        .api
        .get("/v1/tenants/-/sessions?include_ended=true")
        .await;
    let all = listed["sessions"].as_array().unwrap();
    assert!(
        all.len() == 3 && all.iter().all(|one| one["revoked_at"].is_string()),
        "{listed}"
    );
    cluster.finish().await;
}
