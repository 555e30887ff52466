//! The base-URL form: `/r/<vault>/<service>/…` in origin form, for clients that cannot use a proxy or trust another root.
//! Over HTTP/1 here, on a stream of HTTP/2 in `stream`; what is asked of both stands in `open`.
//!
//! The client takes this port for the API: a base URL and a "key" are all that it needs. The key is its session's token,
//! wherever the API's own would stand. What follows the service is the path at the service's host; from there on it is a
//! request like any other.
//!
//! **Invariants.** The token goes no further than here. In the clear it is taken from this machine only, unless the
//! operator says otherwise. Only the service that was named may take the request, whatever its path.

pub(super) mod stream;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pingora_core::protocols::Ssl as _;
use pingora_core::server::ShutdownWatch;
use pingora_http::RequestHeader;
use sortie_proto::code::Code;
use sortie_proto::id::ServiceId;
use sortie_proto::token;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::accept::Next;
use super::authenticate::{self, Caller};
use super::connect::Target;
use super::head::Head;
use super::transport::Tunnel;
use super::transport::framing::Framing;
use super::transport::line::Line;
use super::tunnels::Registered;
use super::{Behind, Frontend, Inbound, Refusal, requests};
use crate::clock;
use crate::error::Result;
use crate::reply::{Answer, Connection, Place};

/// What every request in this form starts with.
pub const PREFIX: &str = "/r/";
/// Where the keys of APIs stand.
const KEY_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];
/// How long, and for how many bytes, a refused client may go on sending before its connection is closed under it: a
/// reset would take the answer away.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 * 1024;

/// The service that a request names, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The service.
    pub service: ServiceId,
    /// Its host.
    pub target: Target,
}

/// What rides on a request in this form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The service that has to take it.
    pub service: ServiceId,
    /// What stands in front of the path here: `/r/<vault>/<service>`.
    pub prefix: String,
}

/// The parts of a target in this form.
#[derive(Debug, PartialEq, Eq)]
struct Form<'t> {
    prefix: &'t str,
    vault: &'t str,
    service: &'t str,
    /// At the service's host, with the query.
    path: Cow<'t, str>,
}

impl<'t> Form<'t> {
    /// Reads `/r/<vault>/<service>[/path][?query]`. Names are not decoded: they are letters, digits and hyphens.
    fn read(target: &'t str) -> Option<Self> {
        let (vault, rest) = target.strip_prefix(PREFIX)?.split_once('/')?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (service, path) = rest.split_at_checked(end)?;
        let prefix = target.get(..target.len() - path.len())?;
        let path = if path.starts_with('/') {
            Cow::Borrowed(path)
        } else {
            Cow::Owned(format!("/{path}"))
        };
        (!vault.is_empty() && !vault.contains('?') && !service.is_empty()).then_some(Self {
            prefix,
            vault,
            service,
            path,
        })
    }
}

/// Serves a request in this form.
pub(super) async fn request<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    mut tunnel: Box<Tunnel>,
    source: IpAddr,
    head: &Head,
    shutdown: &ShutdownWatch,
) -> Next {
    let asked = Asked {
        target: head.target(),
        keys: KEY_HEADERS
            .into_iter()
            .flat_map(|name| head.values(name))
            .collect(),
        source,
        sealed: tunnel.get_ssl_digest().is_some(),
    };
    let opened = match open(frontend, &asked, tunnel.line()).await {
        Ok(opened) => opened,
        Err(refused) => return refuse(frontend, tunnel, head, refused).await,
    };
    let authority = opened.named.target.authority();
    let bytes = head.origin_form(&authority, &opened.form.path, is_token);
    let caller = opened.caller.clone();
    let (inbound, _registered) = opened.enter();
    tunnel.attach(inbound);
    match requests::hand_on(frontend, &caller, tunnel, (head, bytes), shutdown).await {
        Some(tunnel) => Next::Keep(tunnel),
        None => Next::Close,
    }
}

/// Whether a request over HTTP/2 is one in this form.
pub(super) fn is_asked(head: &RequestHeader) -> bool {
    head.method != http::Method::CONNECT && head.raw_path().starts_with(PREFIX.as_bytes())
}

/// What a request says, in either version of HTTP.
struct Asked<'a, 'k> {
    target: &'a str,
    /// What stands where keys of APIs do.
    keys: Vec<&'k [u8]>,
    source: IpAddr,
    /// Whether it came in TLS.
    sealed: bool,
}

/// A request that goes on.
struct Opened<'a> {
    caller: Caller,
    form: Form<'a>,
    named: Named,
    registered: Registered,
}

/// A request that does not.
struct Refused {
    /// Who asked, once known.
    caller: Option<Caller>,
    code: Code,
}

/// Finds out who asks, and for which service.
async fn open<'a, B: Behind>(
    frontend: &Frontend<B>,
    asked: &Asked<'a, '_>,
    line: &Line,
) -> std::result::Result<Opened<'a>, Refused> {
    let form = Form::read(asked.target);
    let caller = if asked.sealed || frontend.cleartext_base_url || asked.source.is_loopback() {
        let vault = form.as_ref().map_or("", |form| form.vault);
        let keys = asked.keys.iter().copied();
        let authenticator = &frontend.authenticator;
        authenticator.authenticate_key(keys, vault, asked.source, clock::seconds())
    } else {
        Err(Code::CleartextRefused.into())
    };
    let caller = caller.map_err(|error| Refused {
        caller: None,
        code: error.code(),
    })?;
    let opened = async {
        let form = form.ok_or(Code::TargetInvalid)?;
        if let Some(code) = caller.wrong() {
            return Err(code.into());
        }
        let registered = frontend.tunnels.register(&caller, line)?;
        let named = frontend.behind.named(&caller, form.service).await?;
        Ok((form, registered, named))
    };
    let opened: Result<_> = opened.await;
    match opened {
        Ok((form, registered, named)) => Ok(Opened {
            caller,
            form,
            named,
            registered,
        }),
        Err(error) => Err(Refused {
            caller: Some(caller),
            code: error.code(),
        }),
    }
}

impl Opened<'_> {
    /// What rides on the request, and what holds its place among the session's connections.
    fn enter(self) -> (Arc<Inbound>, Registered) {
        let inbound = Inbound {
            caller: self.caller,
            target: self.named.target,
            tunnelled: false,
            agreed: true,
            known: true,
            refused: None,
            lease: self.registered.lease().clone(),
            base: Some(Base {
                service: self.named.service,
                prefix: self.form.prefix.to_owned(),
            }),
            origin: OnceLock::new(),
        };
        (Arc::new(inbound), self.registered)
    }
}

/// Whether a header holds a session's token: where an API's key would stand, or anywhere as it is.
fn is_token(name: &[u8], value: &[u8]) -> bool {
    let for_keys = KEY_HEADERS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    for_keys && authenticate::holds_token(value)
        || memchr::memmem::find(value, token::PREFIX.as_bytes()).is_some()
}

impl Refused {
    /// Takes it down, and says so.
    fn answer<B: Behind>(&self, frontend: &Frontend<B>, method: &str) -> Answer {
        let decision = frontend.behind.refused(Refusal {
            caller: self.caller.as_ref(),
            target: None,
            method,
            code: self.code,
        });
        Answer::new(self.code, Some(decision), Place::Base)
    }
}

/// Answers, and closes.
async fn refuse<B: Behind>(
    frontend: &Frontend<B>,
    mut tunnel: Box<Tunnel>,
    head: &Head,
    refused: Refused,
) -> Next {
    let answer = refused.answer(frontend, head.method());
    let wire = answer.to_wire(Connection::Close, head.method());
    if requests::send(&mut tunnel, &wire, frontend.limits.head_deadline).await
        && !head.body().is_empty()
    {
        linger(&mut tunnel).await;
    }
    Next::Close
}

async fn linger(tunnel: &mut Tunnel) {
    tunnel.frame(Framing::Open);
    let reading = async {
        tunnel.shutdown().await?;
        let mut rest = tunnel.take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // However it ends, the connection is closed behind it.
    drop(tokio::time::timeout(LINGER, reading).await);
}

#[cfg(test)]
mod tests;
