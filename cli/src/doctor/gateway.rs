//! One request through the gateway, made here step by step, so that each step has a finding of its own: its port, the
//! session, the authority that it shows, the answer.
//!
//! Invariant: the proxy's credentials leave in one header, to the proxy that the environment names, and a certificate
//! is never trusted that the bundle does not vouch for.

mod tunnel;
mod verifier;

use std::time::Duration;

use hyper::StatusCode;
use reqwest::Url;
use serde_json::Value;
use sortie_proto::code::Code;
use sortie_proto::host::HostPattern;

pub(super) use self::tunnel::MARK;
use self::tunnel::{Answer, Broken};
use super::bundle::Bundle;
use super::environment::Named;
use super::finding::{Finding, conceal};
use super::variables::RUN;
use crate::certificate;

/// How long the whole of it may take.
const TIME: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// A row for each step.
    pub(super) findings: Vec<Finding>,
    /// Whether programs can be expected to get an answer.
    pub(super) is_open: bool,
    /// Whether the gateway took the session.
    pub(super) is_accepted: bool,
    /// The `Date` of the answer.
    pub(super) date: Option<String>,
}

/// Asks for the URL. `is_own` says that the gateway itself should answer.
pub(super) async fn probe(named: &Named, bundle: &Bundle, url: &Url, is_own: bool) -> Probe {
    let asked = tokio::time::timeout(TIME, Box::pin(tunnel::ask(named, bundle, url))).await;
    let asked = asked.unwrap_or(Err(Broken::Late));
    let mut probe = Probe::default();
    match asked {
        Ok(answer) => answered(&mut probe, &answer, named, is_own),
        Err(broken) => probe.findings.extend(explain(broken, named)),
    }
    probe
}

/// Patterns of the hosts that the gateway brokers for this session, as its page about it says. None if it has none.
pub(super) async fn brokered(named: &Named, bundle: &Bundle, url: &Url) -> Vec<HostPattern> {
    let asked = tokio::time::timeout(TIME, Box::pin(tunnel::ask(named, bundle, url))).await;
    match asked {
        Ok(Ok(answer)) if answer.status.is_success() => hosts(&answer.body),
        _ => Vec::new(),
    }
}

fn hosts(body: &[u8]) -> Vec<HostPattern> {
    let page: Value = serde_json::from_slice(body).unwrap_or_default();
    let list = |value: &Value, field: &str| -> Vec<Value> {
        value
            .get(field)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    list(&page, "vaults")
        .iter()
        .flat_map(|vault| list(vault, "services"))
        .filter_map(|service| HostPattern::parse(service.get("host")?.as_str()?).ok())
        .collect()
}

fn answered(probe: &mut Probe, answer: &Answer, named: &Named, is_own: bool) {
    let rows = &mut probe.findings;
    rows.push(Finding::ok("gateway", format!("{} answers", named.proxy)));
    probe.date.clone_from(&answer.date);
    if let Some(refused) = answer.code.and_then(session) {
        rows.push(refused);
        return;
    }
    if answer.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        rows.push(foreign(named));
        return;
    }
    probe.is_accepted = answer.is_marked;
    if answer.is_marked {
        rows.push(Finding::ok("session", "the gateway accepts it"));
    }
    if answer.is_encrypted {
        rows.push(Finding::ok(
            "authority",
            "the bundle vouches for the gateway's certificate",
        ));
    }
    probe.is_open = true;
    match answer.code {
        Some(code) if unavailable(code) => {
            probe.is_open = false;
            rows.push(Finding::fault("answer", code.name(), code.text()));
        }
        Some(code) if !is_own => {
            let seen = format!("the gateway says {code} (HTTP {})", answer.status.as_u16());
            rows.push(Finding::warning("answer", seen, code.text()));
        }
        None if is_own && !answer.is_marked => {
            let seen = format!(
                "HTTP {} without the mark of Sortie: another proxy stands at {}",
                answer.status.as_u16(),
                named.proxy
            );
            rows.push(Finding::fault("answer", seen, RUN));
        }
        _ if is_own => rows.push(Finding::ok("answer", "it is the gateway's own")),
        _ => rows.push(Finding::ok(
            "answer",
            format!("HTTP {}", answer.status.as_u16()),
        )),
    }
}

/// What a refusal says about the session; `None` for one that is about something else.
fn session(code: Code) -> Option<Finding> {
    let is_about = code.is_authentication()
        || matches!(
            code,
            Code::VaultMismatch
                | Code::SourceRefused
                | Code::TenantDisabled
                | Code::VaultDisabled
                | Code::RoleMissing
        );
    let is_over = matches!(
        code,
        Code::TokenExpired | Code::SessionRevoked | Code::TokenInvalid
    );
    let fix = match is_over {
        true => format!("{RUN}   # a new session"),
        false => code.text().to_owned(),
    };
    is_about.then(|| Finding::fault("session", format!("the gateway refuses it: {code}"), fix))
}

/// Codes with which no request gets through.
const fn unavailable(code: Code) -> bool {
    matches!(
        code,
        Code::VaultUnavailable | Code::StaleLease | Code::JournalFull | Code::Overloaded
    )
}

fn foreign(named: &Named) -> Finding {
    let seen = format!(
        "{} is a proxy, but not Sortie's: it wants other credentials",
        named.proxy
    );
    Finding::fault("session", seen, RUN)
}

fn explain(broken: Broken, named: &Named) -> Vec<Finding> {
    let proxy = &named.proxy;
    let fix_port = format!(
        "nc -vz {} {}   # is the gateway running, and is this its port?",
        host(named),
        proxy.port()
    );
    match broken {
        Broken::Connect(error) => {
            let seen = format!("{proxy} cannot be reached: {error}");
            vec![Finding::fault("gateway", seen, fix_port)]
        }
        Broken::Late => {
            let seen = format!("{proxy} did not answer in {} s", TIME.as_secs());
            vec![Finding::fault("gateway", seen, fix_port)]
        }
        Broken::Speech(error) => {
            let seen = format!(
                "{proxy} does not speak as a proxy does: {}",
                conceal(&error)
            );
            vec![Finding::fault("gateway", seen, fix_port)]
        }
        Broken::Refused {
            status,
            code,
            is_marked,
        } => {
            let reached = Finding::ok("gateway", format!("{proxy} answers"));
            let status = status.as_u16();
            let told = match code {
                Some(code) => session(code).unwrap_or_else(|| {
                    Finding::fault("answer", format!("{code} (HTTP {status})"), code.text())
                }),
                None if is_marked => relay(named, status),
                None if status == 407 => foreign(named),
                None => Finding::fault(
                    "gateway",
                    format!("{proxy} refuses to open a tunnel, and is not Sortie: HTTP {status}"),
                    RUN,
                ),
            };
            vec![reached, told]
        }
        Broken::Untrusted { error, shown } => {
            let reached = Finding::ok("gateway", format!("{proxy} answers"));
            let issuer = shown.last().and_then(certificate::issuer);
            vec![reached, untrusted(&error, issuer)]
        }
    }
}

/// What a relay answers by itself: it wants its password, or has no way to the gateway.
fn relay(named: &Named, status: u16) -> Finding {
    let proxy = &named.proxy;
    match status {
        407 => Finding::fault(
            "session",
            format!("{proxy} is a relay, and wants another password"),
            RUN,
        ),
        _ => Finding::fault(
            "gateway",
            format!("{proxy} is a relay that cannot reach the gateway (HTTP {status})"),
            "start the gateway, or give the relay the right one: sortie relay --proxy URL",
        ),
    }
}

fn host(named: &Named) -> String {
    match named.proxy.host() {
        sortie_proto::host::Host::Name(name) => name.to_string(),
        sortie_proto::host::Host::Address(address) => address.to_string(),
    }
}

fn untrusted(error: &str, issuer: Option<(String, bool)>) -> Finding {
    match issuer {
        Some((name, true)) => Finding::fault(
            "authority",
            format!(
                "the gateway shows a certificate under {name}, which the bundle does not vouch for: the bundle is \
                     of another tenant, or older than the authority ({error})"
            ),
            RUN,
        ),
        Some((name, false)) => Finding::fault(
            "authority",
            format!("somebody else answers for the host, with a certificate of {name} ({error})"),
            "a service with `intercept: never` is passed untouched: test with another --url, or add that root to the \
             bundle",
        ),
        None => Finding::fault(
            "authority",
            format!("no certificate was shown: {error}"),
            RUN,
        ),
    }
}

#[cfg(test)]
mod tests;
