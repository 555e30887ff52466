//! What can go wrong in a command, what its exit code is, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;
use sortie_proto::code::Code;

/// The result of everything that a command does.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Control answered with a refusal.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// Control cannot be reached.
    #[error("cannot reach {url}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// Something answered, but not as control does.
    #[error("{url} answered {what}")]
    Answer {
        /// Who answered.
        url: String,
        /// What, in a few words.
        what: String,
    },
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(String),
    /// The environment or a profile cannot be used.
    #[error("{0}")]
    Config(String),
    /// A file cannot be read or written.
    #[error("cannot {act} {path}")]
    File {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The system refused something.
    #[error("cannot {act}")]
    System {
        /// What was tried.
        act: &'static str,
        #[source]
        source: io::Error,
    },
    /// Anything else, with what to do next.
    #[error("{what}")]
    Failed {
        /// What happened.
        what: String,
        /// What to do next.
        next: String,
    },
}

impl Error {
    /// A file that cannot be used.
    pub(crate) fn file(act: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File {
            act,
            path: path.to_owned(),
            source,
        }
    }

    /// A call to the system that failed.
    pub(crate) const fn system(act: &'static str, source: io::Error) -> Self {
        Self::System { act, source }
    }

    /// A failure with its next step.
    pub(crate) fn failed(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Failed {
            what: what.into(),
            next: next.into(),
        }
    }

    /// Whether control says that there is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        self.has_status(404)
    }

    /// Whether control says that the name is taken.
    pub(crate) fn is_conflict(&self) -> bool {
        self.has_status(409)
    }

    /// Whether control says that the key may not do this.
    pub(crate) fn is_denied(&self) -> bool {
        self.has_status(403)
    }

    /// Whether control says that what it is asked to go on with is over.
    pub(crate) fn is_over(&self) -> bool {
        [404, 409, 412]
            .iter()
            .any(|status| self.has_status(*status))
    }

    fn has_status(&self, status: u16) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == status)
    }

    /// The exit code, as the crate's documentation lists them.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Problem(problem) => match problem.status {
                401 | 403 | 407 => 77,
                502..=504 => 69,
                _ => 1,
            },
            Self::Unreachable { .. } => 69,
            Self::Usage(_) => 2,
            Self::Config(_) => 64,
            Self::Answer { .. } | Self::File { .. } | Self::System { .. } | Self::Failed { .. } => {
                1
            }
        })
    }

    /// What to do next, if this says more than the error itself.
    pub(crate) fn next(&self) -> Option<String> {
        match self {
            Self::Problem(problem) => problem.next(),
            Self::Unreachable { .. } => Some(
                "Is control running? `sortie dev` starts one on this machine; --api-url or SORTIE_API_URL names \
                 another."
                    .to_owned(),
            ),
            Self::Answer { .. } => {
                Some("Is this the address of Sortie's API? Check --api-url.".to_owned())
            }
            Self::Failed { next, .. } => Some(next.clone()),
            Self::Usage(_) => Some("`--help` has an example.".to_owned()),
            Self::Config(_) | Self::File { .. } | Self::System { .. } => None,
        }
    }
}

/// An answer of control that says no (RFC 9457).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// A short sentence, the same for every problem of its kind.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What happened this time.
    pub(crate) detail: String,
    /// The name of the [`Code`].
    pub(crate) code: String,
    /// The fields that are wrong.
    pub(crate) errors: Vec<FieldError>,
    /// What the call was about; the answer does not say it.
    #[serde(skip)]
    pub(crate) subject: String,
}

/// One field that is wrong.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FieldError {
    /// Its path in the body.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

impl Problem {
    /// What a user of this command can do about it; or else the constant sentence of the code, unless the answer has
    /// said it already.
    fn next(&self) -> Option<String> {
        let code = Code::from_name(&self.code)?;
        let next = if code == Code::Unauthenticated {
            "Is the key that of this cluster? SORTIE_API_KEY_FILE names its file, or a profile does (`sortie profile \
             list`)."
        } else if code == Code::PermissionDenied {
            "Use a key that may: --profile, or SORTIE_API_KEY_FILE. `sortie gateway` and `sortie tenant` take the \
             operator's."
        } else if self.is_about_fields() {
            return None;
        } else {
            code.text()
        };
        (next != self.detail && next != self.title).then(|| next.to_owned())
    }

    /// Whether the answer says nothing that its fields do not say.
    fn is_about_fields(&self) -> bool {
        let said = [&self.detail, &self.title]
            .into_iter()
            .find(|text| !text.is_empty());
        !self.errors.is_empty() && said.is_some_and(|text| text == Code::InvalidArgument.text())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [&self.detail, &self.title, &self.code]
            .into_iter()
            .find(|text| !text.is_empty());
        f.write_str(match head {
            _ if self.is_about_fields() => "control does not accept this",
            Some(head) => head.trim_end_matches('.'),
            None => "control refused",
        })?;
        write!(f, " (")?;
        if !self.code.is_empty() {
            write!(f, "{}, ", self.code)?;
        }
        write!(f, "HTTP {})", self.status)?;
        if self.code == Code::NotFound.name() && !self.subject.is_empty() {
            write!(f, "\n  {}", self.subject)?;
        }
        self.errors
            .iter()
            .try_for_each(|error| write!(f, "\n  {}: {}", error.field, error.message))
    }
}

#[cfg(test)]
mod tests;
