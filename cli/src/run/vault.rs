//! What control or the gateway says about the vaults of a session: placeholders of credentials, and hosts of services.

use serde_json::{Value, json};
use sortie_proto::host::HostPattern;
use sortie_proto::service::{Scheme, is_name};

use crate::config::Context;
use crate::error::{Error, Result};
use crate::output::cell;
use crate::verbs::in_vault;

/// How many credentials and services of a vault are read: as many as it can have.
const OBJECTS_MAX: usize = 1000;

/// A credential, by what stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// Its name, and that of the variable.
    pub(crate) name: String,
    /// What stands for it in requests.
    pub(crate) placeholder: String,
}

/// A service, by where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) host: HostPattern,
    pub(crate) port: Option<u16>,
    pub(crate) scheme: Scheme,
    pub(crate) enabled: bool,
}

/// What the vaults hold, in the order in which they are searched.
#[derive(Debug, Default)]
pub(crate) struct Vaults {
    pub(crate) credentials: Vec<Credential>,
    pub(crate) services: Vec<Service>,
    /// Whether the key may not list them: an agent's own key may not. Then both are empty, or lack a vault's.
    pub(crate) hidden: bool,
}

impl Vaults {
    /// Asks control. What the key may not list is left out: the command still gets what services inject unasked.
    ///
    /// # Errors
    /// As calls of control.
    pub(crate) async fn read(names: &[String], context: &Context) -> Result<Self> {
        let mut all = Self::default();
        for vault in names {
            let credentials = list(vault, "credentials", context).await?;
            let services = list(vault, "services", context).await?;
            all.hidden |= credentials.is_none() || services.is_none();
            let credentials = credentials.iter().flatten().filter_map(credential);
            credentials.for_each(|found| all.add(found));
            all.services
                .extend(services.iter().flatten().filter_map(service));
        }
        Ok(all)
    }

    /// Reads the gateway's page of what a session can reach (`/services`). What a newer gateway says in other words is
    /// left out; of an older one, which names no credentials, there are none.
    pub(crate) fn of_page(page: &Value) -> Self {
        let mut all = Self::default();
        for vault in items(page, "vaults") {
            let credentials = items(vault, "credentials").filter_map(credential);
            credentials.for_each(|found| all.add(found));
            let services = items(vault, "services");
            all.services.extend(services.filter_map(|found| {
                let enabled = json!({"name": found.get("name"), "spec": found});
                service(&enabled)
            }));
        }
        all
    }

    /// Vaults are searched in order, so the first one's credential is the one that is meant.
    fn add(&mut self, credential: Credential) {
        let same = |other: &Credential| other.name == credential.name;
        if !self.credentials.iter().any(same) {
            self.credentials.push(credential);
        }
    }

    /// The ports of services that say one.
    #[cfg(target_os = "linux")]
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        let on = self.services.iter().filter(|service| service.enabled);
        on.filter_map(|service| service.port)
    }

    /// The hosts that must not go past the gateway.
    pub(crate) fn hosts(&self) -> Vec<HostPattern> {
        let on = self.services.iter().filter(|service| service.enabled);
        on.map(|service| service.host.clone()).collect()
    }
}

async fn list(vault: &str, what: &str, context: &Context) -> Result<Option<Vec<Value>>> {
    let path = in_vault(context, vault, &[what]);
    match context.client.list(&path, what, &[], OBJECTS_MAX).await {
        Ok(objects) => Ok(Some(objects)),
        Err(error) if error.is_denied() => Ok(None),
        Err(error) => Err(error),
    }
}

fn items<'v>(object: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    let items = object.get(field).and_then(Value::as_array);
    items.into_iter().flatten()
}

/// It becomes a variable, and stands in files of tools: what cannot be a name or a placeholder is left out, since who sent
/// it may stand between us and the gateway.
fn credential(object: &Value) -> Option<Credential> {
    let found = Credential {
        name: cell(object, "/name"),
        placeholder: cell(object, "/placeholder"),
    };
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.~-".contains(&byte);
    // As control makes them.
    let is_placeholder =
        (4..=128).contains(&found.placeholder.len()) && found.placeholder.bytes().all(is_inner);
    (is_name(&found.name) && is_placeholder).then_some(found)
}

/// What a newer control says in other words is left out.
fn service(object: &Value) -> Option<Service> {
    let spec = object.get("spec")?;
    let flag = |name: &str| spec.get(name).and_then(Value::as_bool);
    let number = spec.get("port").and_then(Value::as_u64);
    Some(Service {
        name: cell(object, "/name"),
        host: HostPattern::parse(spec.get("host")?.as_str()?).ok()?,
        port: number
            .filter(|port| *port > 0)
            .and_then(|port| u16::try_from(port).ok()),
        scheme: match spec.get("scheme").and_then(Value::as_str) {
            None | Some("") => Scheme::Https,
            Some(name) => Scheme::from_name(name)?,
        },
        enabled: flag("enabled").unwrap_or(true),
    })
}

/// The tenant's authority, in PEM.
///
/// # Errors
/// As calls of control.
pub(crate) async fn authority(context: &Context) -> Result<String> {
    let path = ["tenants", &context.tenant, "authority"];
    let text = context.client.text(&path, "application/x-pem-file").await?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(text);
    }
    Err(Error::failed(
        "control's answer holds no certificate of the tenant's authority",
        "Is control of the same version?",
    ))
}

#[cfg(test)]
mod tests;
