//! Control without its ports: the router over a database of its own, and callers.

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sortie_control::api::{self, State};
use sortie_control::database::{Database, api_keys};
use sortie_control::feed::sequence::Sequencer;
use sortie_control::fleet::Fleet;
use sortie_control::seal::Keys;
use sortie_proto::id::ApiKeyId;
use sortie_proto::key::{KeyKind, generate};
use tower::ServiceExt;

use crate::postgres;

pub(crate) struct Cluster {
    pub(crate) router: Router,
    pub(crate) database: Database,
    pub(crate) sequencer: Sequencer,
    pub(crate) state: State,
    pub(crate) operator: String,
}

/// A caller: a key, and the router that it is shown to.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) router: Router,
    pub(crate) key: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let database = Database::connect(&postgres::database().await)
            .await
            .unwrap();
        let keys = Keys::stand_in().unwrap();
        let operator = generate(KeyKind::Operator);
        let operator = std::str::from_utf8(operator.expose()).unwrap().to_owned();
        let key = api_keys::NewApiKey {
            id: ApiKeyId::generate(),
            name: "operator",
            role: "operator",
            hash: keys.hash(&operator),
            last_four: "",
        };
        let tx = database.system().await.unwrap();
        api_keys::insert(&tx, None, &key).await.unwrap();
        tx.commit().await.unwrap();
        let sequencer = Sequencer(database.clone());
        let state = State {
            sequencer: sequencer.clone(),
            database: database.clone(),
            keys,
            fleet: Fleet,
            epoch: 1,
        };
        Self {
            router: api::router(state.clone()),
            state,
            database,
            sequencer,
            operator,
        }
    }

    /// How many changes were published.
    pub(crate) async fn published(&self) -> u64 {
        self.sequencer.committed().await.unwrap().n
    }

    pub(crate) fn caller(&self, key: &str) -> Caller {
        Caller {
            router: self.router.clone(),
            key: key.to_owned(),
        }
    }

    pub(crate) fn operator(&self) -> Caller {
        self.caller(&self.operator)
    }

    /// A tenant; answers its owner.
    pub(crate) async fn tenant(&self, name: &str) -> Caller {
        let made = self
            .operator()
            .post("/v1/tenants", json!({ "name": name }))
            .await
            .expect(201);
        self.caller(made["owner_key"].as_str().unwrap())
    }

    /// A tenant with the vault `v`; answers its owner.
    pub(crate) async fn vault(&self, name: &str) -> Caller {
        let owner = self.tenant(name).await;
        owner
            .post("/v1/tenants/-/vaults", json!({ "name": "v" }))
            .await
            .expect(201);
        owner
    }

    /// An agent with a role on the vault `v`.
    pub(crate) async fn agent(&self, owner: &Caller, name: &str) -> Caller {
        let body = json!({ "name": name });
        let made = owner.post("/v1/tenants/-/agents", body).await.expect(201);
        let path = format!("/v1/tenants/-/vaults/v/grants/{name}");
        owner
            .put(&path, json!({ "role": "user" }))
            .await
            .expect(200);
        self.caller(made["key"].as_str().unwrap())
    }
}

impl Caller {
    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<String>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !self.key.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Body::from(body.unwrap_or_default())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        assert!(response.headers().contains_key("x-request-id"));
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, text, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None).await
    }

    pub(crate) async fn call(&self, path: &str) -> Answer {
        self.send("POST", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Some(body.to_string())).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, Some(body.to_string())).await
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.body
    }

    /// A refusal with this code.
    #[track_caller]
    pub(crate) fn refused(&self, code: &str) {
        assert_eq!(self.body["code"], code, "{}", self.text);
        assert_eq!(self.body["status"], self.status.as_u16());
    }

    /// A refusal of exactly these fields.
    #[track_caller]
    pub(crate) fn refused_fields(&self, fields: &[&str]) {
        self.refused("invalid_argument");
        let named: Vec<_> = self.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["field"].as_str().unwrap())
            .collect();
        assert_eq!(named, fields, "{}", self.text);
    }
}
