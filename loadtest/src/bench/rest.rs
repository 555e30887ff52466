//! The little of an HTTP client that setting up a cluster takes, and measuring control.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// An API and who calls it.
#[derive(Debug, Clone)]
pub struct Api {
    /// Where it listens.
    pub address: SocketAddr,
    /// The key; empty for none.
    pub key: String,
}

impl Api {
    /// Calls it with a JSON body.
    ///
    /// # Errors
    /// When it does not answer, or not with success: what it said is in the message.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let text = self
            .send(method, path, "application/json", body.to_string())
            .await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{path} did not answer JSON"))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn text(&self, path: &str, accept: &str) -> Result<String> {
        self.send(Method::GET, path, accept, String::new()).await
    }

    async fn send(&self, method: Method, path: &str, accept: &str, body: String) -> Result<String> {
        let what = format!("{method} {path}");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(ACCEPT, accept);
        if !self.key.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.key));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let (status, text) = timeout(PATIENCE, exchange(self.address, request)).await??;
        ensure!(
            (200..300).contains(&status),
            "{what} was answered {status}: {text}"
        );
        Ok(text)
    }
}

async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<(u16, String)> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        drop(sender);
        Ok::<_, anyhow::Error>((status, String::from_utf8(body.into())?))
    };
    let (answer, ended) = tokio::join!(answer, connection);
    // What matters is the answer; how the connection ends afterwards does not.
    drop(ended);
    answer
}

/// A connection that is kept, and whose key is shown on it: for calls that are many.
pub struct Kept {
    sender: SendRequest<Full<Bytes>>,
    api: Api,
    _connection: JoinSet<()>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("address", &self.api.address)
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// Opens one.
    ///
    /// # Errors
    /// When nobody takes it.
    pub async fn connect(api: &Api) -> Result<Self> {
        let stream = TcpStream::connect(api.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut task = JoinSet::new();
        // What it ends with, the next call says.
        task.spawn(async move { drop(connection.await) });
        Ok(Self {
            sender,
            api: api.clone(),
            _connection: task,
        })
    }

    /// A call with a JSON body.
    ///
    /// # Errors
    /// When it is not answered, or not with success.
    pub async fn call(&mut self, method: Method, path: &str, body: String) -> Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.api.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.api.key))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "{path} was answered {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}
