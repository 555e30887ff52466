//! Vendors' hosts: what the vendor's own client finds there, for whoever has the credential.
//!
//! A site answers every path of its host, and unlike the rest of the upstream it checks: without the one credential
//! that it was started with there is a 401 (where GitHub says 404, a 404) and nothing of what it holds. A stream stops
//! in its middle until the test opens the gate, which it does once the client has shown the first half: whatever
//! buffers between the two never gets to the end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::answer::typed;
use super::body::{self, Body, Received};
use super::git::Repositories;
use super::{chat, github, registry};

/// Where a test opens the gate for one stream.
pub const GATE: &str = "/gate";

/// A host, as an argument: `HOST=KIND:CREDENTIAL`.
#[derive(Debug, Clone)]
pub struct Wanted {
    host: String,
    kind: Kind,
    credential: String,
}

/// What stands at a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Bare repositories over HTTP, for a user name and a token.
    Git,
    /// GitHub's REST API.
    Github,
    /// A registry of npm.
    Npm,
    /// An index of Python packages.
    Pypi,
    /// Responses and chat completions.
    Openai,
    /// Messages.
    Anthropic,
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let split = text.split_once('=').and_then(|(host, rest)| {
            let (kind, credential) = rest.split_once(':')?;
            Some((host, kind, credential))
        });
        let (host, kind, credential) = split.context("write HOST=KIND:CREDENTIAL")?;
        let kind = match kind {
            "git" => Kind::Git,
            "github" => Kind::Github,
            "npm" => Kind::Npm,
            "pypi" => Kind::Pypi,
            "openai" => Kind::Openai,
            "anthropic" => Kind::Anthropic,
            _ => bail!("there is no site of the kind {kind}"),
        };
        Ok(Self {
            host: host.to_owned(),
            kind,
            credential: credential.to_owned(),
        })
    }
}

/// All sites, and the gate that their streams share.
#[derive(Debug)]
pub struct Sites {
    by_host: HashMap<String, Site>,
    gate: Arc<Semaphore>,
}

/// A host with what it holds.
#[derive(Debug)]
pub struct Site {
    host: String,
    folder: PathBuf,
    kind: Kind,
    credential: String,
    gate: Arc<Semaphore>,
}

impl Sites {
    /// Each site has its content in a folder of its name below the root.
    ///
    /// # Errors
    /// If there are sites and no root.
    pub fn new(wanted: &[Wanted], root: Option<&Path>) -> Result<Self> {
        let gate = Arc::new(Semaphore::new(0));
        let site = |wanted: &Wanted| {
            let root = root.ok_or_else(|| anyhow!("sites need --site-root"))?;
            let site = Site {
                host: wanted.host.clone(),
                folder: root.join(&wanted.host),
                kind: wanted.kind,
                credential: wanted.credential.clone(),
                gate: Arc::clone(&gate),
            };
            Ok((wanted.host.clone(), site))
        };
        Ok(Self {
            by_host: wanted.iter().map(site).collect::<Result<_>>()?,
            gate,
        })
    }

    /// The site that a request is for.
    #[must_use]
    pub fn of(&self, head: &Parts) -> Option<&Site> {
        let header = head.headers.get("host").and_then(|host| host.to_str().ok());
        let authority = head.uri.authority().map(|authority| authority.as_str());
        let host = authority.or(header)?;
        let name = host.split_once(':').map_or(host, |(name, _)| name);
        self.by_host.get(name)
    }

    /// Lets one stream go on, or the next one that comes.
    pub fn open_gate(&self) {
        self.gate.add_permits(1);
    }
}

impl Site {
    /// Answers a request.
    ///
    /// # Errors
    /// When what it holds cannot be read.
    pub async fn answer(&self, head: &Parts, received: &Received) -> Result<Response<Body>> {
        match self.kind {
            Kind::Git => {
                let git = Repositories::new(self.folder.clone(), self.credential.clone());
                git.answer(head, head.uri.path(), received).await
            }
            Kind::Github => github::answer(self, head),
            Kind::Npm => registry::npm(self, head),
            Kind::Pypi => registry::pypi(self, head),
            Kind::Openai => chat::openai(self, head, received),
            Kind::Anthropic => chat::anthropic(self, head, received),
        }
    }

    /// Its name, as clients write it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where its content is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a request shows in `Authorization` behind one of these schemes, if it is the credential.
    #[must_use]
    pub fn is_authorized(&self, headers: &HeaderMap, schemes: &[&str]) -> bool {
        let shown = authorization(headers).unwrap_or_default();
        schemes.iter().any(|scheme| {
            let rest = shown.strip_prefix(scheme);
            rest.and_then(|rest| rest.strip_prefix(' ')) == Some(&self.credential)
        })
    }

    /// Whether the password of `Authorization: Basic` is the credential.
    #[must_use]
    pub fn is_password(&self, headers: &HeaderMap) -> bool {
        let pair = authorization(headers)
            .and_then(|shown| shown.strip_prefix("Basic "))
            .and_then(|basic| STANDARD.decode(basic).ok())
            .and_then(|pair| String::from_utf8(pair).ok());
        let password = pair.as_deref().and_then(|pair| pair.split_once(':'));
        password.is_some_and(|(_, password)| password == self.credential)
    }

    /// Whether a header is the credential as it stands.
    #[must_use]
    pub fn is_key(&self, headers: &HeaderMap, name: &str) -> bool {
        let shown = headers.get(name).and_then(|value| value.to_str().ok());
        shown == Some(&self.credential)
    }

    /// What a stream waits at.
    #[must_use]
    pub fn gate(&self) -> Arc<Semaphore> {
        Arc::clone(&self.gate)
    }
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}

/// An answer in JSON.
#[must_use]
pub fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut answer = typed("application/json", body::full(value.to_string()));
    *answer.status_mut() = status;
    answer
}
