//! What the request path asks of control, on its cold path only: a vault that is not in memory, and a signature for
//! this node's intermediate of a tenant.

use std::sync::Arc;
use std::time::Duration;

use sortie_proto::code::Code;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::secret::Secret;
use sortie_proto::token::Claims;
use tokio::sync::{mpsc, oneshot};

use super::replica::{Answer, Ticket};
use super::{State, VaultState};
use crate::error::{Error, Result};

/// By how many seconds a token must outlive the latest known one to be remembered: with thousands of sessions a
/// minute, remembering each would only be work.
const OFFER_SLACK: i64 = 60;

/// A tenant's intermediate for a key that this node made.
#[derive(Debug, Clone)]
pub struct SignedIntermediate {
    /// The intermediate, DER.
    pub certificate: Vec<u8>,
    /// The tenant's root, DER.
    pub root: Vec<u8>,
}

/// What a link asks of the follow service.
#[derive(Debug)]
pub(super) enum Request {
    Vault(VaultId, Ticket, Answer),
    Offer(VaultId, Ticket),
    Sign(Signing),
}

/// A signature that is asked for.
#[derive(Debug)]
pub(super) struct Signing {
    pub(super) tenant: TenantId,
    pub(super) token: Secret,
    pub(super) certificate_request: Vec<u8>,
    pub(super) answer: oneshot::Sender<Result<SignedIntermediate>>,
}

/// The way to control. Usable from any runtime; the connection itself lives in the follow service.
#[derive(Debug, Clone)]
pub struct Link {
    state: State,
    requests: mpsc::Sender<Request>,
    timeout: Duration,
}

/// What an agent is told when control refuses what was asked for it: what control said about the caller, and nothing
/// else that it may say.
pub(super) fn refusal(code: &str) -> Code {
    let about_the_caller = |code: &Code| {
        code.is_authentication() || matches!(code, Code::TenantDisabled | Code::VaultDisabled)
    };
    Code::from_name(code)
        .filter(about_the_caller)
        .unwrap_or(Code::VaultUnavailable)
}

impl Link {
    pub(super) const fn new(
        state: State,
        requests: mpsc::Sender<Request>,
        timeout: Duration,
    ) -> Self {
        Self {
            state,
            requests,
            timeout,
        }
    }

    /// A link behind which there is no control, for the tests of later stages.
    #[cfg(test)]
    pub(crate) fn for_test(state: State) -> Self {
        let (requests, _nobody) = mpsc::channel(1);
        Self::new(state, requests, Duration::from_millis(10))
    }

    /// A vault of a session: from memory, or subscribed to with the session's token. Also remembers the token, so that
    /// the release can be prolonged before it ends; that costs no call. `end` is when the session ends, in seconds
    /// since the Unix epoch, and `latest` gives the token that says so: it is asked only where the token is needed.
    ///
    /// # Errors
    /// `vault_unavailable` when control does not answer in time or refuses; `session_revoked` when it says so;
    /// `overloaded` when too many wait already.
    pub async fn vault(
        &self,
        id: VaultId,
        end: i64,
        latest: impl FnOnce() -> (Arc<Claims>, Arc<Secret>),
    ) -> Result<Arc<VaultState>> {
        let ticket = || {
            let (claims, token) = latest();
            Ticket {
                tenant: claims.tenant,
                session: claims.session,
                end: claims.exp,
                token,
            }
        };
        if let Some((state, latest_end)) = self.state.vault_and_latest(id) {
            if end.saturating_sub(latest_end) > OFFER_SLACK
                && self.requests.try_send(Request::Offer(id, ticket())).is_ok()
            {
                self.state.note_latest(id, end);
            }
            return Ok(state);
        }
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Vault(id, ticket(), answer))?;
        Ok(self.answer(answered).await??)
    }

    /// Has this node's intermediate of a tenant signed.
    ///
    /// # Errors
    /// `vault_unavailable` when control does not answer in time or refuses; `overloaded` when too many wait already.
    pub async fn sign_intermediate(
        &self,
        tenant: TenantId,
        token: &Secret,
        certificate_request: Vec<u8>,
    ) -> Result<SignedIntermediate> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Sign(Signing {
            tenant,
            token: Secret::new(token.expose().to_vec()),
            certificate_request,
            answer,
        }))?;
        self.answer(answered).await?
    }

    fn ask(&self, request: Request) -> Result<()> {
        self.requests
            .try_send(request)
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Code::Overloaded.into(),
                mpsc::error::TrySendError::Closed(_) => Code::VaultUnavailable.into(),
            })
    }

    async fn answer<T>(&self, answered: oneshot::Receiver<T>) -> Result<T> {
        let unavailable = |cause: Box<dyn std::error::Error + Send + Sync>| {
            Error::because(Code::VaultUnavailable, cause)
        };
        tokio::time::timeout(self.timeout, answered)
            .await
            .map_err(|late| unavailable(late.into()))?
            .map_err(|gone| unavailable(gone.into()))
    }
}
