//! The one error of the command layer and below: a [`Code`] for the caller, and a cause for the log.
//!
//! What a client reads comes from the code's table and from constant texts about its own fields. The cause is logged
//! where the error is answered and never leaves the process.

use std::error::Error as Cause;
use std::fmt;

use deadpool_postgres::PoolError;
use sortie_proto::code::Code;
use tokio_postgres::error::SqlState;

/// A result of the command layer and below.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command failed.
#[derive(Debug)]
pub struct Error {
    code: Code,
    detail: Option<&'static str>,
    fields: Vec<(String, String)>,
    cause: Option<Box<dyn Cause + Send + Sync>>,
}

impl Error {
    /// An error that says what its code says.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self {
            code,
            detail: None,
            fields: Vec::new(),
            cause: None,
        }
    }

    /// One field of the request that cannot be accepted.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(vec![(field.into(), message.into())])
    }

    /// All fields of the request that cannot be accepted.
    #[must_use]
    pub const fn fields(fields: Vec<(String, String)>) -> Self {
        Self {
            code: Code::InvalidArgument,
            detail: None,
            fields,
            cause: None,
        }
    }

    /// Says the same for a code that is not about the form of a field.
    #[must_use]
    pub const fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// A defect of ours, with what caused it.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn Cause + Send + Sync>>) -> Self {
        Self::new(Code::Internal).caused_by(cause)
    }

    /// Says more than the code does. Constant: nothing of a request gets into it.
    #[must_use]
    pub const fn because(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Keeps what caused it, for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Cause + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What went wrong, in the one table.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What the client reads.
    #[must_use]
    pub const fn detail(&self) -> &'static str {
        match self.detail {
            Some(detail) => detail,
            None => self.code.text(),
        }
    }

    /// The fields that cannot be accepted, each with a message.
    #[must_use]
    pub fn field_errors(&self) -> &[(String, String)] {
        &self.fields
    }

    /// Logs it, if it is something that we should hear of. Called once, where it is answered.
    pub fn log(&self, what: &'static str) {
        let (code, error) = (self.code.name(), Chain(self));
        if self.code == Code::Internal {
            tracing::error!(code, %error, "{what} failed");
        } else if self.code == Code::Unavailable {
            tracing::warn!(code, %error, "{what} failed");
        } else {
            tracing::debug!(code, %error, "{what} refused");
        }
    }

    /// As the status of a gRPC answer: the code's name rides in the metadata `sortie-code`.
    #[must_use]
    pub fn to_status(&self) -> tonic::Status {
        let mut status = tonic::Status::new(self.code.grpc(), self.detail());
        if let Ok(name) = self.code.name().parse() {
            status.metadata_mut().insert("sortie-code", name);
        }
        status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.name())?;
        match self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl Cause for Error {
    fn source(&self) -> Option<&(dyn Cause + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}

/// Displays an error and everything under it, on one line.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Cause);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let code = match error.code() {
            None => Code::Unavailable,
            Some(state) if *state == SqlState::UNIQUE_VIOLATION => Code::AlreadyExists,
            Some(state) if *state == SqlState::FOREIGN_KEY_VIOLATION => Code::FailedPrecondition,
            Some(state) if is_outage(state) => Code::Unavailable,
            Some(_) => Code::Internal,
        };
        Self::new(code).caused_by(error)
    }
}

/// Whether a later try of the same may succeed: classes 08 (connection), 40 (rolled back), 53 (resources) and 57
/// (operator intervention, a statement that took too long) of the PostgreSQL error codes, a lock that was waited for too
/// long, a transaction that idled too long, and a primary that became read-only.
fn is_outage(state: &SqlState) -> bool {
    *state == SqlState::READ_ONLY_SQL_TRANSACTION
        || *state == SqlState::LOCK_NOT_AVAILABLE
        || state.code() == "25P03"
        || ["08", "40", "53", "57"]
            .iter()
            .any(|class| state.code().starts_with(class))
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => Self::new(Code::Unavailable).caused_by(error),
        }
    }
}

impl From<sortie_proto::wire::Invalid> for Error {
    fn from(invalid: sortie_proto::wire::Invalid) -> Self {
        Self::internal(invalid)
    }
}

impl From<sortie_proto::sealed::DoesNotOpen> for Error {
    fn from(error: sortie_proto::sealed::DoesNotOpen) -> Self {
        Self::internal(error)
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        error.to_status()
    }
}

#[cfg(test)]
mod tests;
