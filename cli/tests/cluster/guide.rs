//! `http://sortie.internal/`: what the gateway itself tells an agent, and that nobody else is asked.

use serde_json::{Value, json};

use super::support::{Cluster, Setup, poll};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reads_what_it_can_reach() {
    let cluster = Cluster::start_with(Setup {
        mode: "observe",
        ..Setup::default()
    })
    .await;
    let value = cluster.bearer_service().await;
    cluster
        .credential("SEARCH", &cluster.plain_secret("search"))
        .await;
    cluster
        .service(
            "search",
            json!({"path": "/search/**", "methods": ["GET"],
                "placeholders": {"credentials": ["SEARCH"], "surfaces": ["query"]}}),
        )
        .await;
    let session = cluster.session().await;
    let ask = async |arguments: &[&str]| cluster.curl(&session, arguments).await.ok();

    let skill = ask(&["-i", "http://sortie.internal/skill"]).await;
    assert!(skill.starts_with("HTTP/1.1 200 OK"), "{skill}");
    assert!(skill.contains("text/markdown"), "{skill}");
    let port = cluster.ports.https;
    for row in [
        format!("| `api` | `https://api.up.test:{port}` | any | `/**` | put in for you |"),
        format!(
            "| `search` | `https://api.up.test:{port}` | `GET` | `/search/**` | send `__SEARCH__` in query |"
        ),
        "Any other host is reached too, without a credential.".to_owned(),
    ] {
        assert!(skill.contains(&row), "{row}\n{skill}");
    }
    assert!(!skill.contains(&value));
    // Through a tunnel too, in TLS and not, over both versions of HTTP.
    for arguments in [
        &["--http1.1", "https://sortie.internal/services"][..],
        &["--http2", "https://sortie.internal/services"],
        &["--proxytunnel", "http://sortie.internal/services"],
        &["http://sortie.internal:8080/services"],
    ] {
        let services: Value = serde_json::from_str(&ask(arguments).await).unwrap();
        let names: Vec<_> = services["vaults"][0]["services"]
            .as_array()
            .unwrap()
            .iter()
            .map(|service| service["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["api", "search"], "{services:#}");
        assert_eq!(services["session"]["id"], session.id);
    }
    let root = ask(&["http://sortie.internal/ca.pem"]).await;
    assert_eq!(
        root.trim(),
        std::fs::read_to_string(cluster.ca()).unwrap().trim()
    );
    assert!(ask(&["http://sortie.internal/"]).await.contains("/skill"));

    let head = ask(&["--head", "http://sortie.internal/skill"]).await;
    assert!(
        head.contains("HTTP/1.1 200") && !head.contains("# Reaching"),
        "{head}"
    );
    for (arguments, status, code) in [
        (
            &["--data", "x", "http://sortie.internal/skill"][..],
            405,
            "method_not_allowed",
        ),
        (&["http://sortie.internal/other"], 404, "not_found"),
    ] {
        let seen = ask(&[&["-i"], arguments].concat()).await;
        assert!(
            seen.contains(&format!("HTTP/1.1 {status}")) && seen.contains(code),
            "{seen}"
        );
        assert_eq!(seen.contains("Allow: GET, HEAD"), status == 405, "{seen}");
    }
    // Nobody's business who does not say who asks.
    let nobody = format!("http://127.0.0.1:{}", cluster.ports.proxy);
    let refused = cluster
        .curl_through(&nobody, &["-i", "http://sortie.internal/skill"])
        .await;
    assert!(refused.seen().contains("407"), "{}", refused.seen());

    assert!(cluster.recorded().is_empty());
    poll("the entries of the pages", || async {
        let audit = cluster.api.audit().await;
        let answered = audit.iter().filter(|entry| {
            entry["outcome"] == "answered"
                && entry["url"].as_str().unwrap().contains("sortie.internal")
        });
        (answered.count() == 8).then_some(())
    })
    .await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_session_reads_of_what_it_is_narrowed_to() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    cluster.service("other", json!({"path": "/other/**"})).await;
    let session = cluster
        .api
        .mint(json!({"agent": "runner", "vaults": ["main"], "services": ["other"]}))
        .await;
    let skill = cluster
        .curl(&session, &["http://sortie.internal/skill"])
        .await
        .ok();
    assert!(
        skill.contains("| `other` |") && !skill.contains("| `api` |"),
        "{skill}"
    );
    assert!(skill.contains("Any other host is refused."), "{skill}");
    cluster.finish().await;
}
