//! What a stage returns when a request goes no further.

use sortie_proto::code::Code;

/// A refusal or a failure: a code, and for our own log only, what lies behind it.
///
/// The cause is never sent to a client and never holds anything from a request's or an answer's content.
#[derive(Debug, thiserror::Error)]
#[error("{code}")]
pub struct Error {
    code: Code,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure with a cause for the log.
    pub fn because(code: Code, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            code,
            cause: Some(cause.into()),
        }
    }

    /// What the client, the journal and the metrics are told.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self { code, cause: None }
    }
}

/// The result of a stage.
pub type Result<T> = std::result::Result<T, Error>;
