//! What the gateway answers itself, at `http://sortie.internal/`: what a session can reach, and how to ask for more.
//!
//! It is for agents: they read it, and tell a person what they need. **Invariants.** Everything in it comes from what this
//! node holds for the caller's own vaults: names, never a value. Its host is answered here under any port and scheme, so
//! that it is never looked up and never dialled.

mod text;

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use sortie_proto::agent::VaultRole;
use sortie_proto::code::Code;
use sortie_proto::id::DecisionId;
use sortie_proto::service::Service;

use crate::client::authenticate::Caller;
use crate::client::connect::Target;
use crate::clock;
use crate::decision::matching::Match;
use crate::decision::policy;
use crate::error::Result;
use crate::phases::stages::Stages;
use crate::reply::Answer;
use crate::snapshot::VaultState;

/// The name of the gateway itself. `internal` is reserved: nobody has it in the DNS.
pub const HOST: &str = "sortie.internal";

/// Whether a target is the gateway itself.
#[must_use]
pub fn is_here(target: &Target) -> bool {
    target.host.name() == Some(HOST)
}

/// A vault of the session, and what of it may be used.
struct Reach {
    vault: Arc<VaultState>,
    role: Option<VaultRole>,
    /// In the order of their names.
    services: Vec<Arc<Service>>,
    /// Why services that the session is not narrowed away from are refused all the same.
    refused: Option<Code>,
}

/// Answers a request for the gateway itself.
///
/// # Errors
/// `method_not_allowed`, `not_found`; `vault_unavailable` for the root certificate, if control has never signed anything
/// for this tenant here.
pub(super) async fn answer(
    stages: &Stages,
    caller: &Caller,
    vaults: &[Arc<VaultState>],
    decision: DecisionId,
    (method, path): (&Method, &str),
) -> Result<Answer> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Code::MethodNotAllowed.into());
    }
    let reach = || {
        let vaults = vaults.iter();
        vaults
            .map(|vault| Reach::of(stages, caller, vault, decision))
            .collect::<Vec<_>>()
    };
    let (kind, body) = match path {
        "/" => (MARKDOWN, Bytes::from_static(text::INDEX.as_bytes())),
        "/skill" => (MARKDOWN, text::skill(&reach()).into()),
        "/services" => ("application/json", text::services(caller, &reach()).into()),
        "/ca.pem" => {
            let root = stages.leaves.root_pem(caller).await?;
            ("application/x-pem-file", root.into())
        }
        _ => return Err(Code::NotFound.into()),
    };
    Ok(Answer::page(kind, body))
}

const MARKDOWN: &str = "text/markdown; charset=utf-8";

impl Reach {
    /// What the decision would say of each service: what it allows is what can be reached.
    fn of(stages: &Stages, caller: &Caller, vault: &Arc<VaultState>, decision: DecisionId) -> Self {
        let now = clock::seconds();
        let (mut services, mut refused) = (Vec::new(), None);
        for service in vault.index.iter().filter(|service| service.enabled) {
            let found = Match {
                vault: vault.clone(),
                service: Some(service.clone()),
            };
            match policy::decide(&stages.state, caller, found, decision, now) {
                Ok(_permit) => services.push(service.clone()),
                Err(error) if error.code() == Code::ScopeExcluded => {}
                Err(error) => refused = Some(error.code()),
            }
        }
        services.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            vault: vault.clone(),
            role: vault.role(caller.claims().agent, now),
            services,
            refused,
        }
    }
}

#[cfg(test)]
mod tests;
