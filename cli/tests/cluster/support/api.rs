//! The admin API, as a test uses it.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

/// A client with the owner's key of the test's tenant, and the operator's.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    base: String,
    operator: String,
    owner: String,
}

/// A session with its token.
#[derive(Debug, Clone)]
pub(crate) struct Minted {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Minted {
    fn read(value: &Value) -> Self {
        let field = |name: &str| {
            value[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name} in {value}"))
                .to_owned()
        };
        Self {
            id: field("id"),
            token: field("token"),
        }
    }
}

impl Api {
    /// Makes the test's tenant.
    pub(crate) async fn new(port: u16, operator: &str) -> Self {
        let api = Self {
            client: Client::new(),
            base: format!("http://127.0.0.1:{port}"),
            operator: operator.to_owned(),
            owner: String::new(),
        };
        api.tenant("acme").await
    }

    /// Makes a tenant, whose upstreams live on this machine; returns the API with its owner's key.
    pub(crate) async fn tenant(&self, name: &str) -> Self {
        let body = json!({"name": name, "private_allow": ["127.0.0.0/8", "10.231.0.0/16"]});
        let made = self.operate(Method::POST, "/v1/tenants", Some(body)).await;
        Self {
            owner: made["owner_key"].as_str().unwrap().to_owned(),
            ..self.clone()
        }
    }

    /// A call with the operator's key.
    pub(crate) async fn operate(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(method, path, body, &self.operator).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    pub(crate) async fn join(&self) -> String {
        self.join_as("gw1").await
    }

    /// A join string for a gateway of this name.
    pub(crate) async fn join_as(&self, name: &str) -> String {
        let path = "/v1/gateways:join";
        let made = self
            .operate(Method::POST, path, Some(json!({"name": name})))
            .await;
        made["join"].as_str().unwrap().to_owned()
    }

    /// The key of the test's tenant.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Where control is.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The same API at another control.
    pub(crate) fn at(&self, port: u16) -> Self {
        Self {
            base: format!("http://127.0.0.1:{port}"),
            ..self.clone()
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: &str,
    ) -> (StatusCode, Value) {
        self.try_call(method, path, body, key).await.unwrap()
    }

    async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: &str,
    ) -> Result<(StatusCode, Value), reqwest::Error> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        Ok((status, answer.json().await.unwrap_or(Value::Null)))
    }

    async fn must(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(method, path, body, &self.owner).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.must(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.must(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Value {
        self.must(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Value {
        self.must(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Value {
        self.must(Method::DELETE, path, None).await
    }

    /// A change that may fail because control was killed under it.
    pub(crate) async fn try_put(&self, path: &str, body: Value) -> bool {
        let answer = self
            .try_call(Method::PUT, path, Some(body), &self.owner)
            .await;
        answer.is_ok_and(|(status, _)| status.is_success())
    }

    pub(crate) async fn mint(&self, session: Value) -> Minted {
        Minted::read(&self.post("/v1/tenants/-/sessions", session).await)
    }

    pub(crate) async fn mint_batch(&self, sessions: Vec<Value>) -> Vec<Minted> {
        let answer = self
            .post(
                "/v1/tenants/-/sessions:batchMint",
                json!({"sessions": sessions}),
            )
            .await;
        answer["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(Minted::read)
            .collect()
    }

    pub(crate) async fn revoke(&self, session: &Minted) {
        self.post(
            &format!("/v1/tenants/-/sessions/{}:revoke", session.id),
            json!({}),
        )
        .await;
    }

    /// All audit entries of brokered requests, over all pages.
    pub(crate) async fn audit(&self) -> Vec<Value> {
        self.entries("request").await
    }

    /// How often an admin's act is in the audit log.
    pub(crate) async fn acts(&self, action: &str) -> usize {
        let entries = self.entries("admin").await;
        entries
            .iter()
            .filter(|entry| entry["action"] == action)
            .count()
    }

    async fn entries(&self, kind: &str) -> Vec<Value> {
        let mut entries = Vec::new();
        let mut token = String::new();
        loop {
            let path = format!("/v1/tenants/-/audit?kind={kind}&page_size=1000&page_token={token}");
            let page = self.get(&path).await;
            entries.extend(page["entries"].as_array().unwrap().iter().cloned());
            token = page["next_page_token"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if token.is_empty() {
                return entries;
            }
        }
    }
}
