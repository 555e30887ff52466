//! Session tokens: `sortie_ses_` and a JWT (RFC 7519) signed with Ed25519 (RFC 8037) by control.
//!
//! A gateway verifies one with keys from the feed and looks nothing up. What an agent may do in a vault is not in the
//! token but in the vault's snapshot, so that a demotion acts on tokens that are already out.

use std::collections::BTreeMap;

use ipnet::IpNet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::id::{AgentId, ServiceId, SessionId, TenantId, VaultId};
use crate::secret::Secret;

/// What the text form starts with, so that secret scanners can find it.
pub const PREFIX: &str = "sortie_ses_";
/// The longest token, in bytes.
pub const TOKEN_MAX: usize = 2048;
/// The most vaults that a session may have.
pub const VAULTS_MAX: usize = 8;
/// The most sessions that one may have come from.
pub const LINEAGE_MAX: usize = 8;
/// The most bytes that a session's labels may have, keys and values together.
pub const LABELS_MAX: usize = 512;

/// What a token says. Field names are short: a token rides in every CONNECT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The epoch of the cluster when it was minted.
    #[serde(rename = "ep")]
    pub epoch: u64,
    /// The tenant.
    #[serde(rename = "ten")]
    pub tenant: TenantId,
    /// The tenant's generation when it was minted.
    #[serde(rename = "tgn")]
    pub tenant_generation: u64,
    /// The session; a renewed token keeps it.
    #[serde(rename = "jti")]
    pub session: SessionId,
    /// The agent.
    #[serde(rename = "sub")]
    pub agent: AgentId,
    /// The agent's generation when it was minted.
    #[serde(rename = "agn")]
    pub agent_generation: u64,
    /// The vaults, in the order in which they are searched; at least one.
    #[serde(rename = "vlt")]
    pub vaults: Vec<VaultClaim>,
    /// The person that the session is for.
    #[serde(rename = "usr", default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Labels of the run.
    #[serde(rename = "lbl", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The session that this one came from.
    #[serde(rename = "par", default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// The sessions that its parent came from, the nearest first.
    #[serde(rename = "anc", default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<SessionId>,
    /// The generation of the tenant's subjects, users and sessions, when it was minted: it rises with each revocation
    /// of one. Only a token that has such a subject carries it.
    #[serde(rename = "sgn", default, skip_serializing_if = "is_zero")]
    pub subjects_generation: u64,
    /// The services that it is narrowed to; empty is all.
    #[serde(rename = "scp", default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<ServiceId>,
    /// The network that it may be used from.
    #[serde(rename = "src", default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpNet>,
    /// When it was minted, in seconds since the Unix epoch.
    pub iat: i64,
    /// When it ends, in seconds since the Unix epoch.
    pub exp: i64,
}

impl Claims {
    /// The sessions that it came from, the nearest first.
    pub fn lineage(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.parent
            .into_iter()
            .chain(self.ancestors.iter().copied())
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A vault of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultClaim {
    /// Its id.
    #[serde(rename = "i")]
    pub id: VaultId,
    /// Its name when the token was minted: what a hint in the proxy credentials is compared with.
    #[serde(rename = "n")]
    pub name: String,
    /// Its generation when the token was minted.
    #[serde(rename = "g")]
    pub generation: u64,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedToken {
    /// Not the text form of a session token.
    #[error("not a session token")]
    Malformed,
    /// Signed by no known key, or altered.
    #[error("signed by no known key, or altered")]
    Signature,
    /// Past its end.
    #[error("expired")]
    Expired,
}

/// A token could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMinted {
    /// Its claims do not fit.
    #[error("the token would be longer than {TOKEN_MAX} bytes: shorten labels or names")]
    TooLong,
    /// The signing key is unusable.
    #[error("the signing key cannot be used")]
    Key,
}

/// The private half of a signing key. Only control has one.
pub struct SigningKey {
    kid: String,
    key: EncodingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Takes an Ed25519 private key as PKCS#8 (RFC 8410).
    #[must_use]
    pub fn from_pkcs8(kid: String, pkcs8: &Secret) -> Self {
        Self {
            kid,
            key: EncodingKey::from_ed_der(pkcs8.expose()),
        }
    }

    /// Signs claims. The text is a secret: whoever holds it is the session.
    ///
    /// # Errors
    /// [`NotMinted::TooLong`] for claims that do not fit.
    pub fn mint(&self, claims: &Claims) -> Result<Secret, NotMinted> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        let jwt =
            jsonwebtoken::encode(&header, claims, &self.key).map_err(|_unusable| NotMinted::Key)?;
        if PREFIX.len() + jwt.len() > TOKEN_MAX {
            return Err(NotMinted::TooLong);
        }
        Ok(Secret::new(format!("{PREFIX}{jwt}").into_bytes()))
    }
}

/// The public half of a signing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// Its name in token headers.
    pub kid: String,
    /// Ed25519, 32 bytes.
    pub public: [u8; 32],
    /// When the last token that it signed has ended, in seconds since the Unix epoch.
    pub not_after: i64,
}

/// The keys that tokens are accepted from.
#[derive(Debug, Default, Clone)]
pub struct VerifyingKeys(Vec<(VerifyingKey, DecodingKeyBox)>);

#[derive(Clone)]
struct DecodingKeyBox(DecodingKey);

impl std::fmt::Debug for DecodingKeyBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl VerifyingKeys {
    /// Takes a set of keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        Self(
            keys.into_iter()
                .map(|key| {
                    let decoding = DecodingKey::from_ed_der(&key.public);
                    (key, DecodingKeyBox(decoding))
                })
                .collect(),
        )
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.0.iter().map(|(key, _)| key)
    }

    /// Checks the form, the signature and the end of a token. Whether it is revoked is another question.
    ///
    /// `now` is seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`RefusedToken`] says which check failed.
    pub fn verify(&self, text: &str, now: i64) -> Result<Claims, RefusedToken> {
        let jwt = text
            .strip_prefix(PREFIX)
            .filter(|_| text.len() <= TOKEN_MAX)
            .ok_or(RefusedToken::Malformed)?;
        let header = jsonwebtoken::decode_header(jwt).or(Err(RefusedToken::Malformed))?;
        if header.alg != Algorithm::EdDSA {
            return Err(RefusedToken::Malformed);
        }
        let (_, key) = self
            .0
            .iter()
            .find(|(key, _)| header.kid.as_ref() == Some(&key.kid))
            .ok_or(RefusedToken::Signature)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The end is compared with the caller's clock below, so that tests can set it.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(jwt, &key.0, &validation)
            .or(Err(RefusedToken::Signature))?
            .claims;
        if claims.vaults.is_empty() || claims.vaults.len() > VAULTS_MAX {
            return Err(RefusedToken::Malformed);
        }
        if claims.exp <= now {
            return Err(RefusedToken::Expired);
        }
        Ok(claims)
    }
}
