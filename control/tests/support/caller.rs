//! Callers of the API: a key each, and what they are answered.

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::Value;
use sortie_control::api::{self, State};
use tower::ServiceExt;

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

impl Caller {
    /// One that calls a control plane through its router.
    pub(crate) fn of(state: &State, key: &str) -> Self {
        Self {
            router: api::router(state.clone()),
            key: key.trim().to_owned(),
        }
    }

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
