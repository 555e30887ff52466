//! Services and what they inject.

use super::{Invalid, Result, required, v1, vault_id};
use crate::credential::Surface;
use crate::host::{HostPattern, PathPattern};
use crate::id::ServiceId;
use crate::service::{Injection, Intercept, Placeholders, Scheme, Service, Template};

pub(super) fn port(wire: u32, name: &'static str) -> Result<Option<u16>> {
    match u16::try_from(wire) {
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(Invalid(name)),
    }
}

pub(super) fn surface_to_wire(surface: Surface) -> v1::Surface {
    match surface {
        Surface::Header => v1::Surface::Header,
        Surface::Path => v1::Surface::Path,
        Surface::Query => v1::Surface::Query,
    }
}

/// Takes the numbers, not the generated iterator: that one skips what it does not know, and an unknown surface must not
/// read as no restriction.
pub(super) fn surfaces(wire: &[i32]) -> Result<Vec<Surface>> {
    let surface = |&number: &i32| match v1::Surface::try_from(number) {
        Ok(v1::Surface::Header) => Ok(Surface::Header),
        Ok(v1::Surface::Path) => Ok(Surface::Path),
        Ok(v1::Surface::Query) => Ok(Surface::Query),
        Ok(v1::Surface::Unspecified) | Err(_) => Err(Invalid("surface")),
    };
    wire.iter().map(surface).collect()
}

impl From<&Injection> for v1::Injection {
    fn from(injection: &Injection) -> Self {
        use v1::injection::How;
        let how = match injection {
            Injection::Bearer { credential } => How::Bearer(v1::BearerInjection {
                credential: credential.clone(),
            }),
            Injection::Basic {
                username,
                credential,
            } => How::Basic(v1::BasicInjection {
                username: username.clone(),
                credential: credential.clone(),
            }),
            Injection::Header { name, template } => How::Header(v1::HeaderInjection {
                name: name.clone(),
                template: template.to_string(),
            }),
            Injection::Query { name, credential } => How::Query(v1::QueryInjection {
                name: name.clone(),
                credential: credential.clone(),
            }),
        };
        Self { how: Some(how) }
    }
}

impl TryFrom<v1::Injection> for Injection {
    type Error = Invalid;

    fn try_from(wire: v1::Injection) -> Result<Self> {
        use v1::injection::How;
        Ok(match required(wire.how, "injection.how")? {
            How::Bearer(v1::BearerInjection { credential }) => Self::Bearer { credential },
            How::Basic(v1::BasicInjection {
                username,
                credential,
            }) => Self::Basic {
                username,
                credential,
            },
            How::Query(v1::QueryInjection { name, credential }) => Self::Query { name, credential },
            How::Header(v1::HeaderInjection { name, template }) => {
                let template = Template::parse(&template).or(Err(Invalid("injection.template")))?;
                Self::Header { name, template }
            }
        })
    }
}

impl From<&Service> for v1::Service {
    fn from(service: &Service) -> Self {
        let scheme = match service.scheme {
            Scheme::Https => v1::Scheme::Https,
            Scheme::Http => v1::Scheme::Http,
        };
        let intercept = match service.intercept {
            Intercept::Always => v1::Intercept::Always,
            Intercept::Never => v1::Intercept::Never,
        };
        let placeholders = service
            .placeholders
            .as_ref()
            .map(|placeholders| v1::Placeholders {
                credentials: placeholders.credentials.clone(),
                surfaces: placeholders
                    .surfaces
                    .iter()
                    .map(|&surface| surface_to_wire(surface).into())
                    .collect(),
            });
        Self {
            id: service.id.to_bytes(),
            vault_id: service.vault.to_bytes(),
            name: service.name.clone(),
            version: service.version,
            enabled: service.enabled,
            scheme: scheme.into(),
            host: service.host.to_string(),
            port: service.port.map_or(0, u32::from),
            methods: service.methods.clone(),
            path: service.path.to_string(),
            inject: service.inject.iter().map(Into::into).collect(),
            placeholders,
            redact: service.redact,
            intercept: intercept.into(),
            encoded_slash: service.encoded_slash,
            limits: (&service.limits).into(),
        }
    }
}

impl TryFrom<v1::Service> for Service {
    type Error = Invalid;

    fn try_from(wire: v1::Service) -> Result<Self> {
        let scheme = match wire.scheme() {
            v1::Scheme::Https => Scheme::Https,
            v1::Scheme::Http => Scheme::Http,
            v1::Scheme::Unspecified => return Err(Invalid("service.scheme")),
        };
        let intercept = match wire.intercept() {
            v1::Intercept::Always => Intercept::Always,
            v1::Intercept::Never => Intercept::Never,
            v1::Intercept::Unspecified => return Err(Invalid("service.intercept")),
        };
        let placeholders = match wire.placeholders {
            None => None,
            Some(wire) => {
                let surfaces = surfaces(&wire.surfaces)?;
                Some(Placeholders {
                    surfaces,
                    credentials: wire.credentials,
                })
            }
        };
        Ok(Self {
            id: ServiceId::from_bytes(&wire.id).or(Err(Invalid("service.id")))?,
            vault: vault_id(&wire.vault_id)?,
            name: wire.name,
            version: wire.version,
            enabled: wire.enabled,
            scheme,
            host: HostPattern::parse(&wire.host).or(Err(Invalid("service.host")))?,
            port: port(wire.port, "service.port")?,
            methods: wire.methods,
            path: PathPattern::parse(&wire.path).or(Err(Invalid("service.path")))?,
            inject: wire
                .inject
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_>>()?,
            placeholders,
            redact: wire.redact,
            intercept,
            encoded_slash: wire.encoded_slash,
            limits: wire.limits.try_into()?,
        })
    }
}
