//! `Proxy-Authorization` → [`Caller`].
//!
//! A token is verified offline, with keys from the feed; a verified one is cached by its hash. Whether it is revoked is
//! asked on every request and costs one atomic load while nothing is revoked. Failures are counted by source address:
//! past a budget, tokens that are not in the cache are refused without looking at them.
//!
//! A session is renewed by signing a later token for the same id: what an earlier one opened goes on until the end of the
//! latest one that was shown here. Nothing new is opened with a token that has ended.
//!
//! Invariant: [`Caller`] is made only here, from a token that this cluster signed.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant as StdInstant};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use sortie_proto::code::Code;
use sortie_proto::id::{SessionId, VaultId};
use sortie_proto::secret::Secret;
use sortie_proto::token::{self, Claims, RefusedToken};
use zeroize::Zeroizing;

use crate::error::Result;
use crate::snapshot::State;

/// Proof that a session token was verified. Made only in this module.
#[derive(Debug, Clone)]
pub struct Caller {
    verified: Arc<Verified>,
    /// The vault named in the proxy credentials, already checked to be one of the session's.
    hint: Option<VaultId>,
    /// The agent's address.
    source: IpAddr,
    /// What is wrong with what the session was presented with.
    wrong: Option<Code>,
}

#[derive(Debug)]
struct Verified {
    /// What the token says.
    claims: Arc<Claims>,
    /// One more than the revocation version at which it was last found good; 0 before the first time.
    good_at: AtomicU64,
    /// What all tokens of the session share.
    known: Arc<Known>,
}

/// A session that tokens were shown of.
#[derive(Debug)]
struct Known {
    latest: ArcSwap<Latest>,
}

/// The token of a session that ends last, of those that were shown here.
#[derive(Debug, Clone)]
pub struct Latest {
    /// What it says.
    pub claims: Arc<Claims>,
    /// The token itself, for the subscription to a vault and for the intermediate of its tenant.
    pub token: Arc<Secret>,
}

impl Known {
    fn new(claims: &Arc<Claims>, token: &Arc<Secret>) -> Arc<Self> {
        let latest = Latest {
            claims: claims.clone(),
            token: token.clone(),
        };
        Arc::new(Self {
            latest: ArcSwap::from_pointee(latest),
        })
    }

    /// Two at once: the later end wins, whichever comes first.
    fn note(&self, claims: &Arc<Claims>, token: &Arc<Secret>) {
        let shown = Arc::new(Latest {
            claims: claims.clone(),
            token: token.clone(),
        });
        let _before = self.latest.rcu(|known| {
            if known.claims.exp < shown.claims.exp {
                shown.clone()
            } else {
                known.clone()
            }
        });
    }
}

impl Caller {
    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &Arc<Claims> {
        &self.verified.claims
    }

    /// The session's token that ends last.
    #[must_use]
    pub fn latest(&self) -> Arc<Latest> {
        self.verified.known.latest.load_full()
    }

    /// When the session ends, as far as is known here, in seconds since the Unix epoch: a renewed one goes on.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.verified.known.latest.load().claims.exp
    }

    /// The agent's address.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    /// Why this caller is known and yet refused whatever it asks: `vault_mismatch`, `source_refused`. It is let in as far
    /// as it can be told.
    #[must_use]
    pub const fn wrong(&self) -> Option<Code> {
        self.wrong
    }

    /// The vaults to search, in order: the hinted one alone, or all of the session's.
    pub fn vaults(&self) -> impl Iterator<Item = VaultId> + '_ {
        self.claims()
            .vaults
            .iter()
            .map(|vault| vault.id)
            .filter(|id| self.hint.is_none_or(|hint| hint == *id))
    }

    /// Whether the session still holds, at a time in seconds since the Unix epoch.
    ///
    /// # Errors
    /// `token_expired`, `session_revoked`.
    pub fn check(&self, state: &State, now: i64) -> Result<()> {
        if self.end() <= now {
            return Err(Code::TokenExpired.into());
        }
        // The version is read first: a revocation that comes in between makes the next check ask again.
        let version = state.revocation_version().wrapping_add(1);
        if self.verified.good_at.load(Ordering::Acquire) == version {
            return Ok(());
        }
        if state.revoked(self.claims()) {
            return Err(Code::SessionRevoked.into());
        }
        self.verified.good_at.store(version, Ordering::Release);
        Ok(())
    }

    /// A caller for the tests of later stages.
    #[cfg(test)]
    pub(crate) fn for_test(claims: Claims) -> Self {
        let claims = Arc::new(claims);
        let token = Arc::new(Secret::new(b"sortie_ses_test".to_vec()));
        Self {
            verified: Arc::new(Verified {
                known: Known::new(&claims, &token),
                claims,
                good_at: AtomicU64::new(0),
            }),
            hint: None,
            source: IpAddr::from([127, 0, 0, 1]),
            wrong: None,
        }
    }

    /// The same caller, with something wrong.
    #[cfg(test)]
    pub(crate) fn with_wrong(self, code: Code) -> Self {
        Self {
            wrong: Some(code),
            ..self
        }
    }
}

/// How many verified tokens are remembered, and how many failures are borne.
#[derive(Debug, Clone)]
pub struct Config {
    /// The most verified tokens that are remembered; others are verified again.
    pub tokens_max: u64,
    /// The most source addresses whose failures are counted.
    pub sources_max: u64,
    /// The most failures of a source in a minute; beyond it, unknown tokens of that source get `too_many`.
    pub failures_per_minute: u32,
}

/// Verifies and remembers.
#[derive(Debug)]
pub struct Authenticator {
    tokens: Cache<[u8; 32], Arc<Verified>>,
    /// One that is forgotten is only not prolonged: what it has open ends with its own token.
    sessions: Cache<SessionId, Arc<Known>>,
    failures: Cache<IpAddr, Arc<AtomicU32>>,
    failures_max: u32,
    state: State,
}

struct UntilEnd;

impl moka::Expiry<[u8; 32], Arc<Verified>> for UntilEnd {
    fn expire_after_create(
        &self,
        _key: &[u8; 32],
        value: &Arc<Verified>,
        _created_at: StdInstant,
    ) -> Option<Duration> {
        let left = value.claims.exp.saturating_sub(crate::clock::seconds());
        Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }
}

impl Authenticator {
    /// Makes one with empty caches.
    #[must_use]
    pub fn new(config: &Config, state: State) -> Self {
        Self {
            tokens: Cache::builder()
                .max_capacity(config.tokens_max)
                .expire_after(UntilEnd)
                .build(),
            sessions: Cache::builder().max_capacity(config.tokens_max).build(),
            failures: Cache::builder()
                .max_capacity(config.sources_max)
                .time_to_live(Duration::from_secs(60))
                .build(),
            failures_max: config.failures_per_minute,
            state,
        }
    }

    /// Reads the values of `Proxy-Authorization` and verifies the token in them. A caller may be known and still be
    /// refused everything: [`Caller::wrong`] says so.
    ///
    /// # Errors
    /// `token_missing`, `token_malformed`, `token_invalid`, `token_expired`, `session_revoked`, `too_many`.
    pub fn authenticate<'h>(
        &self,
        mut values: impl Iterator<Item = &'h [u8]>,
        source: IpAddr,
        now: i64,
    ) -> Result<Caller> {
        let value = values.next().ok_or(Code::TokenMissing)?;
        if values.next().is_some() {
            return Err(Code::TokenMalformed.into());
        }
        let presented = Presented::read(value).ok_or(Code::TokenMalformed);
        self.counted(presented, source, now)
    }

    /// Reads the values of the headers in which APIs take keys, and verifies the token that stands for one, for a vault.
    ///
    /// # Errors
    /// `key_missing` where none holds a token; `token_malformed` where two hold different ones; otherwise as
    /// [`Self::authenticate`].
    pub fn authenticate_key<'h>(
        &self,
        values: impl Iterator<Item = &'h [u8]>,
        vault: &str,
        source: IpAddr,
        now: i64,
    ) -> Result<Caller> {
        let mut found = values.filter_map(Presented::read_key);
        let first = found.next().ok_or(Code::KeyMissing)?;
        let alone = found.all(|other| *other.token == *first.token);
        let presented = if alone {
            Ok(Presented {
                hint: vault.to_owned(),
                ..first
            })
        } else {
            Err(Code::TokenMalformed)
        };
        self.counted(presented, source, now)
    }

    /// Verifies what was presented, and counts a failure.
    fn counted(
        &self,
        presented: std::result::Result<Presented, Code>,
        source: IpAddr,
        now: i64,
    ) -> Result<Caller> {
        let result = presented
            .map_err(crate::error::Error::from)
            .and_then(|presented| self.verify(&presented, source, now));
        let failed = match &result {
            Ok(caller) => caller.wrong.is_some(),
            Err(error) => error.code() != Code::TooMany,
        };
        if failed {
            let _count = self.failures_of(source).fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn verify(&self, presented: &Presented, source: IpAddr, now: i64) -> Result<Caller> {
        let key: [u8; 32] = Sha256::digest(presented.token.as_bytes()).into();
        let verified = match self.tokens.get(&key) {
            // The cache forgets what has ended, but not at once.
            Some(found) if found.claims.exp <= now => return Err(Code::TokenExpired.into()),
            Some(found) => found,
            None => {
                if self.failures_of(source).load(Ordering::Relaxed) >= self.failures_max {
                    return Err(Code::TooMany.into());
                }
                let claims = self
                    .state
                    .keys()
                    .verify(&presented.token, now)
                    .map_err(|refused| crate::error::Error::from(code_of(refused)))?;
                let claims = Arc::new(claims);
                let token = Arc::new(Secret::new(presented.token.as_bytes().to_vec()));
                let known = self
                    .sessions
                    .get_with(claims.session, || Known::new(&claims, &token));
                let verified = Arc::new(Verified {
                    claims: claims.clone(),
                    good_at: AtomicU64::new(0),
                    known: known.clone(),
                });
                known.note(&claims, &token);
                self.tokens.insert(key, verified.clone());
                verified
            }
        };
        let caller = presented.caller(verified, source);
        caller.check(&self.state, now)?;
        // Being told why costs a tunnel and an entry in the journal each time.
        if caller.wrong.is_some()
            && self.failures_of(source).load(Ordering::Relaxed) >= self.failures_max
        {
            return Err(Code::TooMany.into());
        }
        Ok(caller)
    }

    fn failures_of(&self, source: IpAddr) -> Arc<AtomicU32> {
        self.failures.get_with(source, Arc::default)
    }
}

const fn code_of(refused: RefusedToken) -> Code {
    match refused {
        RefusedToken::Malformed => Code::TokenMalformed,
        RefusedToken::Signature => Code::TokenInvalid,
        RefusedToken::Expired => Code::TokenExpired,
    }
}

/// Whether a session's token stands in a value, by itself or in a scheme.
#[must_use]
pub fn holds_token(value: &[u8]) -> bool {
    Presented::read_key(value).is_some()
}

/// What stands in a `Proxy-Authorization`.
struct Presented {
    token: Zeroizing<String>,
    /// An id or a name of a vault; empty for none.
    hint: String,
}

impl Presented {
    /// Reads `Basic` with the token as the user name (and a vault as the password) or as the password, and `Bearer`
    /// (RFC 7617, RFC 6750).
    fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (scheme, rest) = text.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::of(rest, "");
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(
            STANDARD
                .decode(rest)
                .or_else(|_padded| STANDARD_NO_PAD.decode(rest))
                .ok()?,
        );
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        if user.starts_with(token::PREFIX) {
            Self::of(user, password)
        } else {
            Self::of(password, "")
        }
    }

    /// Reads a token that stands where an API's key would, by itself or in a scheme.
    fn read_key(value: &[u8]) -> Option<Self> {
        let bare = std::str::from_utf8(value).ok()?;
        Self::of(bare, "").or_else(|| Self::read(value))
    }

    fn of(token: &str, hint: &str) -> Option<Self> {
        (token.starts_with(token::PREFIX) && token.len() <= token::TOKEN_MAX).then(|| Self {
            token: Zeroizing::new(token.to_owned()),
            hint: hint.to_owned(),
        })
    }

    fn caller(&self, verified: Arc<Verified>, source: IpAddr) -> Caller {
        let hint = self.hint_in(&verified.claims);
        let network = verified.claims.source;
        let wrong = if network.is_some_and(|network| !network.contains(&source)) {
            Some(Code::SourceRefused)
        } else {
            hint.as_ref().err().map(crate::error::Error::code)
        };
        Caller {
            verified,
            hint: hint.ok().flatten(),
            source,
            wrong,
        }
    }

    fn hint_in(&self, claims: &Claims) -> Result<Option<VaultId>> {
        if self.hint.is_empty() {
            return Ok(None);
        }
        let id = self.hint.parse::<VaultId>().ok();
        claims
            .vaults
            .iter()
            .find(|vault| vault.name == self.hint || Some(vault.id) == id)
            .map(|vault| Some(vault.id))
            .ok_or_else(|| Code::VaultMismatch.into())
    }
}

#[cfg(test)]
mod tests;
