//! One entry a request: opened when its head is known, filled as stages pass, closed when it is dropped, whatever
//! happened in between, a panic included.
//!
//! Two events: the *use*, written before the credential leaves or when the request is refused, and the *completion*.
//! Neither ever holds the query, headers or a body.

use std::sync::Arc;

use sortie_proto::code::Code;
use sortie_proto::id::DecisionId;
use sortie_proto::wire::v1::{self, Outcome};
use tokio::time::Instant;

use crate::client::authenticate::Caller;
use crate::client::head::METHOD_BYTES_MAX;
use crate::client::origin::Origin;
use crate::client::tunnels::Lease;
use crate::clock;
use crate::decision::policy::Permit;
use crate::error::Result;
use crate::exchange::inject::Injection;
use crate::journal::{Journal, Pending};

/// The longest path that is recorded, in bytes; the rest is cut off.
const PATH_BYTES_MAX: usize = 1024;

/// The entry of one request.
#[derive(Debug)]
pub struct Entry {
    journal: Arc<Journal>,
    decision: DecisionId,
    started: Instant,
    /// The part of the record that is encoded already.
    origin: Origin,
    /// The rest of it, until it is written.
    record: Option<v1::Use>,
    /// The record, written, while it is not known to be durable.
    pending: Option<Pending>,
    completion: v1::Completion,
    /// Whether its use goes unrecorded: then its end does, too.
    unrecorded: bool,
    /// Whether the end was told; an entry that is dropped untold says that the request broke off.
    told: bool,
    /// Knows why, if its connection was cut.
    lease: Option<Arc<Lease>>,
}

impl Entry {
    /// Opens one for a caller's request.
    #[must_use]
    pub fn open(journal: Arc<Journal>, caller: &Caller, request: Request<'_>) -> Self {
        let decision = DecisionId::generate();
        let vault = caller.vaults().next();
        let record = v1::Use {
            decision_id: decision.to_bytes(),
            at_micros: clock::micros(),
            vault_id: vault
                .map(sortie_proto::id::VaultId::to_bytes)
                .unwrap_or_default(),
            method: shortened(request.method, METHOD_BYTES_MAX),
            path: shortened(request.path, PATH_BYTES_MAX),
            ..v1::Use::default()
        };
        Self {
            journal,
            decision,
            started: Instant::now(),
            completion: v1::Completion {
                decision_id: decision.to_bytes(),
                tenant_id: caller.claims().tenant.to_bytes(),
                ..v1::Completion::default()
            },
            origin: request.origin,
            record: Some(record),
            pending: None,
            unrecorded: false,
            told: false,
            lease: None,
        }
    }

    /// The id of the decision about the request.
    #[must_use]
    pub const fn decision(&self) -> DecisionId {
        self.decision
    }

    /// Takes down on what it runs: if that is cut, the entry says why.
    pub fn runs_on(&mut self, lease: Arc<Lease>) {
        self.lease = Some(lease);
    }

    /// Writes the use of a request that will leave, and waits until it is on the disk if the vault asks for that.
    /// Writing it again, on a retry, does nothing.
    ///
    /// # Errors
    /// `journal_full`: the request must not leave.
    pub async fn leave(&mut self, permit: &Permit, injection: Option<&Injection>) -> Result<()> {
        self.write(permit, injection)?;
        if let Some(pending) = self.pending {
            // Boxed: few vaults are durable, and its place would be in the future of every request.
            Box::pin(self.journal.durable(pending)).await?;
            self.pending = None;
        }
        Ok(())
    }

    /// Writes the use of a tunnel that is passed on untouched. No credential leaves in it: where it cannot be recorded it
    /// goes on all the same, if the configuration says so and the vault is not durable.
    ///
    /// # Errors
    /// `journal_full`: the tunnel must not be opened.
    pub async fn pass(&mut self, permit: &Permit) -> Result<()> {
        match self.leave(permit, None).await {
            Err(error)
                if error.code() == Code::JournalFull
                    && !permit.vault().vault.durable
                    && self.journal.passes_unrecorded() =>
            {
                self.record = None;
                self.unrecorded = true;
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn write(&mut self, permit: &Permit, injection: Option<&Injection>) -> Result<()> {
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        let vault = &permit.vault().vault;
        record.vault_id = vault.id.to_bytes();
        if let Some(service) = permit.service() {
            record.service.clone_from(&service.name);
        }
        record.set_outcome(match (injection, permit.service()) {
            (None, _) => Outcome::Tunnelled,
            (Some(_), Some(_)) => Outcome::Brokered,
            (Some(_), None) => Outcome::Passed,
        });
        record.credentials = injection
            .map(|injection| injection.used.iter())
            .into_iter()
            .flatten()
            .map(|used| v1::CredentialUse {
                name: used.name.clone(),
                version: used.version,
            })
            .collect();
        self.pending = self
            .journal
            .append(self.origin.as_bytes(), record, vault.durable)?;
        self.record = None;
        Ok(())
    }

    /// Writes down that the gateway itself answers: nothing leaves.
    ///
    /// # Errors
    /// `journal_full`: it must not be answered.
    pub fn answer(&mut self) -> Result<()> {
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        record.set_outcome(Outcome::Answered);
        self.pending = self.journal.append(self.origin.as_bytes(), record, false)?;
        self.record = None;
        Ok(())
    }

    /// Takes down why the request was refused, or what went wrong with it. The first reason stands.
    pub fn fail(&mut self, code: Code) {
        if self.completion.code.is_empty() {
            code.name().clone_into(&mut self.completion.code);
        }
    }

    /// Takes down that the first byte of the answer came.
    pub fn answered(&mut self) {
        if self.completion.upstream_micros == 0 {
            self.completion.upstream_micros = self.micros();
        }
    }

    /// Takes down the end.
    pub fn end(&mut self, status: u16, request_bytes: u64, response_bytes: u64) {
        self.completion.status = u32::from(status);
        self.completion.request_bytes = request_bytes;
        self.completion.response_bytes = response_bytes;
        self.told = true;
    }

    /// Takes down how often something was masked.
    pub fn redacted(&mut self, count: u32) {
        self.completion.redactions = count;
    }

    /// How long ago it was opened, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What a request says of itself.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Who calls, and where to, once known.
    pub origin: Origin,
    /// The method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.told {
            let cut = self.lease.as_ref().and_then(|lease| lease.cut());
            self.fail(cut.unwrap_or(Code::Internal));
        }
        if let Some(mut record) = self.record.take() {
            record.set_outcome(Outcome::Refused);
            record.code.clone_from(&self.completion.code);
            // Nothing leaves after a refusal, so that a full journal stops nothing here; the queue of completions
            // still takes the end.
            let _full = self.journal.append(self.origin.as_bytes(), &record, false);
        }
        if self.unrecorded {
            return;
        }
        let mut completion = std::mem::take(&mut self.completion);
        completion.at_micros = clock::micros();
        completion.duration_micros = self.micros();
        self.journal.complete(completion);
    }
}

fn shortened(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
