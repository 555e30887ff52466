//! Who says what a command may trust and what its vaults hold: control, to whoever has a key; the gateway, to whoever
//! has a session alone.
//!
//! Invariant: what came over plain HTTP from another machine is said to be worth as much as that network.

use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;
use sortie_proto::environment::Proxy;
use sortie_proto::host::Host;
use sortie_proto::service::Scheme;

use super::session::Wanted;
use super::vault::{self, Vaults};
use crate::config::Context;
use crate::error::{Error, Result};
use crate::relay::Guide;

/// What is known of a session's tenant and vaults.
#[derive(Debug)]
pub(super) struct Origin {
    /// The tenant's authority, in PEM.
    pub(super) authority: String,
    pub(super) vaults: Vaults,
    /// What a person should know about where it comes from.
    pub(super) note: Option<String>,
}

/// Where to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources<'a> {
    /// The gateway.
    pub(super) proxy: &'a Proxy,
    /// The authority of its certificate.
    pub(super) gateway_ca: Option<&'a Path>,
    /// The file of the tenant's authority, where there is one.
    pub(super) authority: Option<&'a Path>,
}

impl Sources<'_> {
    /// Asks whoever can be asked.
    ///
    /// # Errors
    /// As calls of control, and of the gateway's pages; [`Error::File`].
    pub(super) async fn ask(self, wanted: &Wanted, context: &Context) -> Result<Origin> {
        match wanted {
            Wanted::Given(session) if !context.client.has_key() => {
                let url = self.proxy.to_string();
                let guide = Guide {
                    proxy: &url,
                    gateway_ca: self.gateway_ca,
                    token: &session.token,
                };
                self.ask_gateway(&guide).await
            }
            Wanted::Given(_) | Wanted::Minted { .. } => self.ask_control(wanted, context).await,
        }
    }

    async fn ask_control(self, wanted: &Wanted, context: &Context) -> Result<Origin> {
        let authority = match self.authority {
            Some(file) => read(file)?,
            None => vault::authority(context).await?,
        };
        let vaults = Vaults::read(wanted.vaults(), context).await?;
        let note = vaults.hidden.then(|| {
            "this key may not list credentials and services: there are no placeholders, and NO_PROXY is not checked"
                .to_owned()
        });
        Ok(Origin {
            authority,
            vaults,
            note,
        })
    }

    async fn ask_gateway(self, guide: &Guide<'_>) -> Result<Origin> {
        let authority = match self.authority {
            Some(file) => read(file)?,
            None => guide.read("/ca.pem").await?,
        };
        let page = guide.read("/services").await?;
        let page: Value = serde_json::from_str(&page).or(Err(Error::failed(
            "the gateway's page of services cannot be read",
            "Is the gateway of the same version?",
        )))?;
        Ok(Origin {
            authority,
            vaults: Vaults::of_page(&page),
            note: doubt(self.proxy, self.authority.is_some()),
        })
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|source| Error::file("read", file, source))
}

/// What is to be said of what a gateway sent, if anything is: the authority, or where that is known, the rest.
fn doubt(proxy: &Proxy, is_authority_known: bool) -> Option<String> {
    let is_here = match proxy.host() {
        Host::Name(name) => name.as_ref() == "localhost",
        Host::Address(address) => IpAddr::is_loopback(address),
    };
    if proxy.scheme() != Scheme::Http || is_here {
        return None;
    }
    Some(if is_authority_known {
        format!(
            "the hosts of services and the placeholders came over plain HTTP from {proxy}: they are worth as much as \
             the network in between. Use https://"
        )
    } else {
        format!(
            "the tenant's authority came over plain HTTP from {proxy}: it is worth as much as the network in between. \
             Use https://, or name its file with --authority"
        )
    })
}

#[cfg(test)]
mod tests;
