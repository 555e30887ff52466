//! The session that a command runs under: minted for it, or one that somebody else minted.
//!
//! Invariant: only what was minted here is revoked here.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use sortie_proto::secret::Secret;
use sortie_proto::token::{Claims, PREFIX};

use crate::args;
use crate::config::{self, Context, KEY_FILE_MAX};
use crate::error::{Error, Result};
use crate::output::cell;
use crate::relay::Source;
use crate::verbs::in_tenant;

/// What the session may do, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// A vault that it may use; may be repeated [default: `SORTIE_VAULT`, the profile's, or `default`]
    #[arg(long)]
    vault: Vec<String>,
    /// The agent [default: the profile's, or the one whose key it is]
    #[arg(long)]
    agent: Option<String>,
    /// The person that it is for
    #[arg(long)]
    user: Option<String>,
    /// Only this service; may be repeated [default: all of its vaults]
    #[arg(long)]
    service: Vec<String>,
    /// How long a token lasts; `run` and `relay` renew theirs
    #[arg(long, default_value = "1h", value_parser = args::seconds, value_name = "TIME")]
    ttl: u32,
    /// A label of the run; may be repeated
    #[arg(long, value_parser = args::pair, value_name = "KEY=VALUE")]
    label: Vec<(String, String)>,
    /// Use the session whose token stands in this file, or in the first line of standard input (-), and mint none; no
    /// key is needed then [default: `SORTIE_SESSION`, a token]
    #[arg(
        long,
        visible_alias = "session-file",
        value_name = "TOKEN-FILE",
        conflicts_with_all = ["vault", "agent", "user", "service", "label"]
    )]
    session: Option<PathBuf>,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) token: Secret,
    /// RFC 3339.
    pub(crate) ends: String,
    /// Names or ids, in the order in which they are searched.
    pub(crate) vaults: Vec<String>,
    /// Whether it was minted here.
    pub(crate) is_ours: bool,
    /// Where somebody else writes its tokens to.
    pub(crate) file: Option<PathBuf>,
}

/// A session that is there, or one that can be minted.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// Somebody else's.
    Given(Session),
    /// What control is asked for.
    Minted {
        /// The body of the call.
        body: Value,
        /// The vaults of it.
        vaults: Vec<String>,
    },
}

impl Wanted {
    /// Reads the arguments, the environment and the file; asks nobody.
    ///
    /// # Errors
    /// [`Error::Config`] for a token that is none, [`Error::File`].
    pub(crate) fn read(terms: &Terms, context: &Context) -> Result<Self> {
        if let Some(path) = &terms.session {
            return Session::of_file(path).map(Self::Given);
        }
        if let Some(token) = terms.named() {
            return given(&token).map(Self::Given);
        }
        let vaults = if terms.vault.is_empty() {
            vec![context.vault.clone()]
        } else {
            terms.vault.clone()
        };
        let labels: std::collections::BTreeMap<_, _> = terms.label.iter().cloned().collect();
        let agent = terms.agent.as_ref().or(context.agent.as_ref());
        let body = json!({
            "agent": agent.cloned().unwrap_or_default(),
            "vaults": vaults,
            "ttl_seconds": terms.ttl,
            "user": terms.user.clone().unwrap_or_default(),
            "services": terms.service,
            "labels": labels,
        });
        Ok(Self::Minted { body, vaults })
    }

    /// The vaults, by name or id.
    pub(crate) fn vaults(&self) -> &[String] {
        match self {
            Self::Given(session) => &session.vaults,
            Self::Minted { vaults, .. } => vaults,
        }
    }

    /// Mints it if it is not there.
    ///
    /// # Errors
    /// As calls of control.
    pub(crate) async fn obtain(self, context: &Context) -> Result<Session> {
        let (body, vaults) = match self {
            Self::Given(session) => return Ok(session),
            Self::Minted { body, vaults } => (body, vaults),
        };
        let path = in_tenant(context, &["sessions"]);
        let minted = context.client.post(&path, "", &body).await?;
        match minted.get("token").and_then(Value::as_str) {
            Some(token) if !token.is_empty() => Ok(Session {
                id: cell(&minted, "/id"),
                token: Secret::new(token.as_bytes().to_vec()),
                ends: cell(&minted, "/expires_at"),
                vaults,
                is_ours: true,
                file: None,
            }),
            _ => Err(Error::failed(
                "control's answer holds no token",
                "Is control of the same version?",
            )),
        }
    }
}

impl Terms {
    /// The file of a session that somebody else minted.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.session.as_deref()
    }

    /// Whether there is a session already.
    pub(crate) fn is_given(&self) -> bool {
        self.session.is_some() || self.named().is_some()
    }

    /// The token in the environment, unless another session is asked for.
    fn named(&self) -> Option<Secret> {
        of_environment().filter(|_| !self.asks_for_another())
    }

    /// Whether something is said of the session that one which is there may not be: it would be dropped in silence. How
    /// long its tokens last is only said of those that are made.
    const fn asks_for_another(&self) -> bool {
        !self.vault.is_empty()
            || self.agent.is_some()
            || self.user.is_some()
            || !self.service.is_empty()
            || !self.label.is_empty()
    }
}

/// The token that `SORTIE_SESSION` holds.
pub(crate) fn of_environment() -> Option<Secret> {
    let token = config::variable("SORTIE_SESSION")?;
    let token = token.trim();
    (!token.is_empty()).then(|| Secret::new(token.as_bytes().to_vec()))
}

impl Session {
    /// One that somebody else minted, and renews. From standard input (`-`) a line is read, once.
    ///
    /// # Errors
    /// [`Error::Config`] for a token that is none, [`Error::File`].
    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return given(&read_line()?);
        }
        let session = given(&config::read_key(path)?)?;
        Ok(Self {
            file: Some(path.to_owned()),
            ..session
        })
    }

    /// Where newer tokens of it come from: whoever minted it renews it.
    pub(crate) fn source(&self, context: &Context) -> Source {
        match &self.file {
            Some(path) => Source::file(path, context.out),
            None if self.is_ours => Source::control(context),
            None => Source::Nobody,
        }
    }

    /// Ends it, if it was minted here.
    pub(crate) async fn revoke(&self, context: &Context) {
        if !self.is_ours {
            return;
        }
        let path = in_tenant(context, &["sessions", &self.id]);
        if let Err(error) = context.client.post(&path, ":revoke", &json!({})).await
            && !error.is_not_found()
        {
            context.out.note(&format!(
                "sortie: session {} was not revoked; it ends by itself at {}",
                self.id, self.ends
            ));
            context.out.error(&error);
        }
    }
}

/// Reads a token from the first line of standard input, and not a byte more: the rest is the command's.
///
/// # Errors
/// [`Error::System`], and [`Error::Config`] if the line is too long to be one.
fn read_line() -> Result<Secret> {
    let failed = |source| Error::system("read standard input", source);
    // Not by way of `Stdin`, which reads ahead.
    let input = std::io::stdin().as_fd().try_clone_to_owned();
    let mut input = File::from(input.map_err(failed)?);
    let (mut line, mut byte) = (Vec::new(), [0]);
    while input.read(&mut byte).map_err(failed)? > 0 && byte != *b"\n" {
        line.extend(byte);
        if line.len() as u64 > KEY_FILE_MAX {
            return Err(Error::Config("standard input holds no token".to_owned()));
        }
    }
    let line = Secret::new(line);
    Ok(Secret::new(line.expose().trim_ascii().to_vec()))
}

/// Reads what a token says about itself. Nothing is verified: the gateway does that.
fn given(token: &Secret) -> Result<Session> {
    let not_one = || {
        Error::Config(
            "this is no token of a session (sortie_ses_…): `sortie session mint` prints one"
                .to_owned(),
        )
    };
    let claims = claims(token).ok_or_else(not_one)?;
    let ends = Timestamp::from_second(claims.exp).or(Err(not_one()))?;
    if ends <= Timestamp::now() {
        return Err(Error::Config(format!(
            "the session {} has ended at {ends}: mint another one, or renew it with `sortie session renew {}`",
            claims.session, claims.session
        )));
    }
    Ok(Session {
        id: claims.session.to_string(),
        token: Secret::new(token.expose().to_vec()),
        ends: ends.to_string(),
        vaults: claims
            .vaults
            .iter()
            .map(|vault| vault.id.to_string())
            .collect(),
        is_ours: false,
        file: None,
    })
}

fn claims(token: &Secret) -> Option<Claims> {
    let jwt = std::str::from_utf8(token.expose())
        .ok()?
        .strip_prefix(PREFIX)?;
    let payload = jwt.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests;
