//! What the request path checks sessions and credentials against: revocations, and the keys that sign tokens.

use super::{Invalid, Result, agent_id, required, v1, vault_id};
use crate::agent::{Revocation, RevokedSubject};
use crate::id::{CredentialId, SessionId, TenantId};
use crate::token::VerifyingKey;

impl From<&Revocation> for v1::Revocation {
    fn from(revocation: &Revocation) -> Self {
        use v1::revocation::Subject;
        let (subject, generation) = match &revocation.subject {
            RevokedSubject::Session(id) => (Subject::SessionId(id.to_bytes()), 0),
            RevokedSubject::Agent(id, generation) => (Subject::AgentId(id.to_bytes()), *generation),
            RevokedSubject::Vault(id, generation) => (Subject::VaultId(id.to_bytes()), *generation),
            RevokedSubject::Tenant(generation) => (Subject::WholeTenant(true), *generation),
            RevokedSubject::User(user, generation) => (Subject::User(user.clone()), *generation),
            RevokedSubject::Parent(id, generation) => {
                (Subject::ParentSessionId(id.to_bytes()), *generation)
            }
            RevokedSubject::Credential(id, version) => {
                (Subject::CredentialId(id.to_bytes()), (*version).into())
            }
        };
        Self {
            tenant_id: revocation.tenant.to_bytes(),
            subject: Some(subject),
            generation,
            expires_at: revocation.expires_at,
        }
    }
}

impl TryFrom<v1::Revocation> for Revocation {
    type Error = Invalid;

    fn try_from(wire: v1::Revocation) -> Result<Self> {
        use v1::revocation::Subject;
        let subject = match required(wire.subject, "revocation.subject")? {
            Subject::SessionId(id) => RevokedSubject::Session(session_id(&id)?),
            Subject::AgentId(id) => RevokedSubject::Agent(agent_id(&id)?, wire.generation),
            Subject::VaultId(id) => RevokedSubject::Vault(vault_id(&id)?, wire.generation),
            Subject::WholeTenant(_) => RevokedSubject::Tenant(wire.generation),
            Subject::User(user) => RevokedSubject::User(user, wire.generation),
            Subject::ParentSessionId(id) => {
                RevokedSubject::Parent(session_id(&id)?, wire.generation)
            }
            Subject::CredentialId(id) => RevokedSubject::Credential(
                CredentialId::from_bytes(&id).or(Err(Invalid("credential_id")))?,
                u32::try_from(wire.generation).or(Err(Invalid("revocation.generation")))?,
            ),
        };
        Ok(Self {
            tenant: TenantId::from_bytes(&wire.tenant_id)
                .or(Err(Invalid("revocation.tenant_id")))?,
            subject,
            expires_at: wire.expires_at,
        })
    }
}

fn session_id(bytes: &[u8]) -> Result<SessionId> {
    SessionId::from_bytes(bytes).or(Err(Invalid("session_id")))
}

impl From<&VerifyingKey> for v1::SigningKey {
    fn from(key: &VerifyingKey) -> Self {
        Self {
            kid: key.kid.clone(),
            public_key: key.public.to_vec(),
            not_after: key.not_after,
        }
    }
}

impl TryFrom<v1::SigningKey> for VerifyingKey {
    type Error = Invalid;

    fn try_from(wire: v1::SigningKey) -> Result<Self> {
        let public = wire
            .public_key
            .try_into()
            .or(Err(Invalid("signing_key.public_key")))?;
        Ok(Self {
            kid: wire.kid,
            public,
            not_after: wire.not_after,
        })
    }
}
