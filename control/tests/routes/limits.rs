use serde_json::{Value, json};
use sortie_proto::limits::{Limits, Period, Rate};
use sortie_proto::wire::v1::change::Object;

use crate::support::{Control, Fixture};

const AGENT: &str = "/v1/tenants/-/agents/runner";
const SERVICE: &str = "/v1/tenants/-/vaults/v/services/api";
const VAULT: &str = "/v1/tenants/-/vaults/v";

fn limits() -> Value {
    json!({
        "requests": { "count": 600, "per": "minute", "burst": 50 },
        "bytes": { "count": 1_000_000, "per": "day", "burst": 1_000_000 },
        "concurrency": 8,
    })
}

#[tokio::test]
async fn limits_are_set_shown_and_removed() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    control.agent(&owner, "runner").await;
    let operator = control.operator();
    for (caller, path, field) in [
        (&operator, "/v1/tenants/acme", "limits"),
        (&owner, VAULT, "limits"),
        (&owner, VAULT, "session_limits"),
        (&owner, AGENT, "limits"),
        (&owner, AGENT, "session_limits"),
    ] {
        assert!(caller.get(path).await.expect(200).get(field).is_none());
        let set = caller.patch(path, json!({ field: limits() })).await;
        assert_eq!(set.expect(200)[field], limits(), "{path} {field}");
        // Something else is changed, or nothing: they stay.
        let body = if path == AGENT {
            json!({})
        } else {
            json!({ "enabled": true })
        };
        caller.patch(path, body).await.expect(200);
        assert_eq!(caller.get(path).await.expect(200)[field], limits());
        let removed = caller.patch(path, json!({ field: {} })).await.expect(200);
        assert!(removed.get(field).is_none(), "{removed}");
    }
    let spec = json!({ "host": "a.test", "limits": limits() });
    let set = owner.put(SERVICE, spec).await.expect(200);
    assert_eq!(set["spec"]["limits"], limits());
    for (action, acts) in [
        ("tenant.update", 3),
        ("vault.update", 6),
        ("agent.update", 6),
    ] {
        assert_eq!(control.acts(action).await, acts, "{action}");
    }
}

#[tokio::test]
async fn a_burst_that_is_not_given_is_the_count() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let body = json!({ "limits": { "bytes": { "count": 7, "per": "hour" } } });
    let set = owner.patch(VAULT, body).await.expect(200);
    assert_eq!(set["limits"]["bytes"]["burst"], 7);
}

#[tokio::test]
async fn what_means_nothing_is_refused_by_field() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    control.agent(&owner, "runner").await;
    let wrong = json!({
        "requests": { "count": 0, "per": "minute" },
        "bytes": { "count": 1, "per": "fortnight" },
    });
    let body = json!({ "limits": wrong, "session_limits": wrong });
    let fields = [
        "limits.requests",
        "limits.bytes.per",
        "session_limits.requests",
        "session_limits.bytes.per",
    ];
    for path in [VAULT, AGENT] {
        owner
            .patch(path, body.clone())
            .await
            .refused_fields(&fields);
    }
    let spec = json!({ "host": "a.test", "limits": wrong });
    let refused = owner.put(SERVICE, spec).await;
    refused.refused_fields(&["limits.requests", "limits.bytes.per"]);
    for weight in [0, 1_001] {
        let body = json!({ "weight": weight });
        let refused = control.operator().patch("/v1/tenants/acme", body).await;
        refused.refused_fields(&["weight"]);
    }
    let unknown = json!({ "limits": { "requests": { "count": 1, "per": "day", "speed": 1 } } });
    owner
        .patch(VAULT, unknown)
        .await
        .refused("invalid_argument");
}

#[tokio::test]
async fn nobody_raises_their_own() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    let body = json!({ "limits": {} });
    let refused = owner.patch("/v1/tenants/acme", body.clone()).await;
    refused.refused("permission_denied");
    for path in [AGENT, VAULT] {
        agent
            .patch(path, body.clone())
            .await
            .refused("permission_denied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_get_them_with_the_objects_whose_they_are() {
    let fixture = Fixture::start().await;
    let owner = &fixture.owner;
    owner
        .patch(AGENT, json!({ "limits": limits() }))
        .await
        .expect(200);
    owner
        .patch(VAULT, json!({ "session_limits": limits() }))
        .await
        .expect(200);
    let tenant = json!({ "limits": limits(), "weight": 4 });
    fixture
        .operator()
        .patch("/v1/tenants/acme", tenant)
        .await
        .expect(200);
    let expected = Ok(Limits {
        requests: Rate::new(600, Period::Minute, 50).ok(),
        bytes: Rate::new(1_000_000, Period::Day, 1_000_000).ok(),
        concurrency: std::num::NonZeroU32::new(8),
    });
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = fixture.asks(&mut gateway).await;
    let tenant = stream.tenant().await.tenant.unwrap();
    assert_eq!(Limits::try_from(tenant.limits), expected);
    assert_eq!(tenant.weight, 4);
    let snapshot = stream.vault().await;
    assert_eq!(
        Limits::try_from(snapshot.vault.unwrap().session_limits),
        expected
    );
    let [grant] = snapshot.grants.try_into().unwrap();
    assert_eq!(Limits::try_from(grant.agent_limits), expected);
    // A change of the agent's reaches each vault in which it has a role, as a newer version of that role.
    owner
        .patch(AGENT, json!({ "session_limits": limits() }))
        .await
        .expect(200);
    let Some(Object::Grant(newer)) = stream.change().await.object else {
        panic!("not a grant");
    };
    assert!(newer.version > grant.version);
    assert_eq!(Limits::try_from(newer.agent_limits), expected);
    assert_eq!(Limits::try_from(newer.session_limits), expected);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_says_how_many_gateways_share_them() {
    let fixture = Fixture::start().await;
    let (mut one, mut two) = (fixture.enrol("gw1").await, fixture.enrol("gw2").await);
    let mut first = one.follow(None, &[]).await;
    let mut second = two.follow(None, &[]).await;
    first.welcome().await;
    second.welcome().await;
    for nonce in 1.. {
        first.send(crate::support::beat(nonce)).await;
        let echo = first.echo().await;
        assert!(echo.gateways <= 2, "{echo:?}");
        if echo.gateways == 2 {
            break;
        }
        assert!(nonce < 30, "{echo:?}");
    }
    drop(second);
    fixture.stop().await;
}
