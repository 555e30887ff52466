//! From a verified client certificate to a [`Gateway`].

use rustls_pki_types::CertificateDer;
use sortie_proto::code::Code;
use sortie_proto::id::GatewayId;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::database::{Database, gateways};
use crate::error::{Error, Result};

/// Proof that a call comes from an enrolled gateway that is not shut out. Made by [`admit`] only.
#[derive(Debug, Clone)]
pub struct Gateway {
    id: GatewayId,
    name: String,
}

impl Gateway {
    /// Which.
    #[must_use]
    pub const fn id(&self) -> GatewayId {
        self.id
    }

    /// What operators call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Admits the caller of a call. TLS has verified the chain, the purpose and the dates of `certificates`; the node's
/// own is the first.
///
/// # Errors
/// `unauthenticated` without a certificate of an enrolled gateway; `permission_denied` if it is shut out.
pub async fn admit(
    database: &Database,
    certificates: Option<&[CertificateDer<'_>]>,
) -> Result<Gateway> {
    let refused = || {
        Error::new(Code::Unauthenticated)
            .because("a client certificate of an enrolled gateway is needed")
    };
    let certificate = certificates.and_then(<[_]>::first).ok_or_else(refused)?;
    let id = common_name(certificate).ok_or_else(refused)?;
    let tx = database.system().await?;
    let row = gateways::get(&tx, id).await?.ok_or_else(refused)?;
    // It only reads: nobody waits for its end.
    drop(tx);
    if row.locked_at.is_some() {
        return Err(Error::new(Code::PermissionDenied).because("this gateway is shut out"));
    }
    Ok(Gateway { id, name: row.name })
}

fn common_name(certificate: &CertificateDer<'_>) -> Option<GatewayId> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok()?.parse().ok()
}
