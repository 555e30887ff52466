//! Credentials, and what is in one once it is open.

use prost::Message;

use super::service::{port, surface_to_wire, surfaces};
use super::{Invalid, Result, v1, vault_id};
use crate::credential::{Credential, Destination, OpenedCredential};
use crate::host::{HostPattern, PathPattern};
use crate::id::CredentialId;
use crate::secret::Secret;

impl From<&Credential> for v1::Credential {
    fn from(credential: &Credential) -> Self {
        Self {
            id: credential.id.to_bytes(),
            vault_id: credential.vault.to_bytes(),
            name: credential.name.clone(),
            placeholder: credential.placeholder.clone(),
            version: credential.version,
            sealed: credential.sealed.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Credential> for Credential {
    type Error = Invalid;

    fn try_from(wire: v1::Credential) -> Result<Self> {
        Ok(Self {
            id: CredentialId::from_bytes(&wire.id).or(Err(Invalid("credential.id")))?,
            vault: vault_id(&wire.vault_id)?,
            name: wire.name,
            placeholder: wire.placeholder,
            version: wire.version,
            sealed: wire.sealed.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&Destination> for v1::Destination {
    fn from(destination: &Destination) -> Self {
        Self {
            host: destination.host.to_string(),
            port: destination.port.map_or(0, u32::from),
            cleartext: destination.cleartext,
            path: destination
                .path
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            methods: destination.methods.clone(),
            surfaces: destination
                .surfaces
                .iter()
                .map(|&surface| surface_to_wire(surface).into())
                .collect(),
        }
    }
}

impl TryFrom<v1::Destination> for Destination {
    type Error = Invalid;

    fn try_from(wire: v1::Destination) -> Result<Self> {
        let surfaces = surfaces(&wire.surfaces)?;
        let path = match wire.path.as_str() {
            "" => None,
            text => Some(PathPattern::parse(text).or(Err(Invalid("destination.path")))?),
        };
        Ok(Self {
            host: HostPattern::parse(&wire.host).or(Err(Invalid("destination.host")))?,
            port: port(wire.port, "destination.port")?,
            cleartext: wire.cleartext,
            path,
            methods: wire.methods,
            surfaces,
        })
    }
}

impl OpenedCredential {
    /// The bytes that are sealed: the value and its destinations, together.
    #[must_use]
    pub fn to_plain(&self) -> Secret {
        let payload = v1::CredentialPayload {
            value: self.value.expose().to_vec(),
            destinations: self.destinations.iter().map(Into::into).collect(),
        };
        let plain = Secret::new(payload.encode_to_vec());
        drop(Secret::new(payload.value));
        plain
    }

    /// Reads the bytes that were sealed.
    ///
    /// # Errors
    /// [`Invalid`] if they are not a value with its destinations.
    pub fn from_plain(plain: &Secret) -> Result<Self> {
        let payload = v1::CredentialPayload::decode(plain.expose()).or(Err(Invalid("payload")))?;
        let value = Secret::new(payload.value);
        let destinations = payload
            .destinations
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_>>()?;
        Ok(Self {
            value,
            destinations,
        })
    }
}
