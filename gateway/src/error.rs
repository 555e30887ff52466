//! What a stage returns when a request goes no further.

use std::time::Duration;

use sortie_proto::code::Code;

/// A refusal or a failure: a code, and for our own log only, what lies behind it.
///
/// The cause is never sent to a client and never holds anything from a request's or an answer's content.
#[derive(Debug, thiserror::Error)]
#[error("{code}")]
pub struct Error {
    code: Code,
    exceeded: Option<Exceeded>,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure with a cause for the log.
    pub fn because(code: Code, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            code,
            exceeded: None,
            cause: Some(cause.into()),
        }
    }

    /// What the client, the journal and the metrics are told.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Which limit was reached, if that is why.
    #[must_use]
    pub const fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self {
            code,
            exceeded: None,
            cause: None,
        }
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        let code = match exceeded.unit {
            Unit::Requests | Unit::Bytes => Code::RateLimited,
            Unit::Concurrency => Code::TooMany,
        };
        Self {
            code,
            exceeded: Some(exceeded),
            cause: None,
        }
    }
}

/// A limit that a request found reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Whose it is.
    pub of: Subject,
    /// What of.
    pub unit: Unit,
    /// How long until there is room again, as far as this node can tell.
    pub retry_after: Duration,
}

/// Who has a limit. The more shared one comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The session that asks.
    Session,
    /// Its agent, in all vaults and sessions together.
    Agent,
    /// The service that it asks for.
    Service,
    /// The vault that decides.
    Vault,
    /// The tenant.
    Tenant,
}

impl Subject {
    /// The name in answers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Agent => "agent",
            Self::Service => "service",
            Self::Vault => "vault",
            Self::Tenant => "tenant",
        }
    }
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests in a time.
    Requests,
    /// Bytes of bodies in a time.
    Bytes,
    /// Requests that are open at once.
    Concurrency,
}

impl Unit {
    /// The name in answers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Bytes => "bytes",
            Self::Concurrency => "concurrency",
        }
    }
}

/// The result of a stage.
pub type Result<T> = std::result::Result<T, Error>;
