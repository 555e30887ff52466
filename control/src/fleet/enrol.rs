//! How a gateway joins: an operator makes a join string, the node spends its token on a certificate.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rand::RngCore;
use rustls_pki_types::CertificateDer;
use sortie_proto::code::Code;
use sortie_proto::id::GatewayId;
use sortie_proto::secret::Secret;
use zeroize::Zeroizing;

use crate::authority;
use crate::database::{Transaction, gateways};
use crate::error::{Error, Result};
use crate::seal::Keys;

/// What a join string starts with.
pub const JOIN_PREFIX: &str = "sortie_join_";
/// The longest name of a gateway, in bytes.
pub const NAME_MAX: usize = 63;

/// Makes a join string: what to dial, the authority to trust, and a token that works once, until `valid` has passed.
///
/// # Errors
/// `invalid_argument` for a name that is not `[A-Za-z0-9._-]{1,63}`.
pub async fn create_join(
    tx: &Transaction,
    keys: &Keys,
    advertise: &str,
    name: &str,
    valid: Duration,
) -> Result<Secret> {
    check_name(name)?;
    let mut random = Zeroizing::new([0_u8; 24]);
    rand::rng().fill_bytes(&mut *random);
    let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(*random));
    let expires_at = Timestamp::now()
        .checked_add(valid)
        .map_err(|error| Error::invalid("valid_seconds", "is too long").caused_by(error))?;
    gateways::insert_join(tx, &keys.hash(&token), name, expires_at).await?;
    let json = Zeroizing::new(
        serde_json::json!({
            "control": advertise,
            "ca": STANDARD.encode(keys.authority().certificate()),
            "token": token.as_str(),
        })
        .to_string(),
    );
    Ok(Secret::new(
        format!("{JOIN_PREFIX}{}", URL_SAFE_NO_PAD.encode(json.as_bytes())).into_bytes(),
    ))
}

fn check_name(name: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(fits) {
        return Err(Error::invalid(
            "name",
            "must be 1 to 63 of A-Z a-z 0-9 . _ -",
        ));
    }
    Ok(())
}

/// A gateway's identity.
#[derive(Debug)]
pub struct Enrolled {
    /// Its id.
    pub gateway: GatewayId,
    /// Its client certificate.
    pub certificate: CertificateDer<'static>,
    /// The name that its join token was made for.
    pub name: String,
}

/// Spends a join token. Everything about the request is checked first, so that a malformed one costs no token.
///
/// # Errors
/// `unauthenticated` for a token that is unknown, spent or past its end; it is not said which.
pub async fn enrol(tx: &Transaction, keys: &Keys, token: &str, request: &[u8]) -> Result<Enrolled> {
    let key = authority::requested_key(request)?;
    let gateway = GatewayId::generate();
    let name = gateways::use_join(tx, &keys.hash(token), gateway)
        .await?
        .ok_or_else(|| {
            Error::new(Code::Unauthenticated)
                .because("the join token is unknown, was used, or has ended")
        })?;
    gateways::insert(tx, gateway, &name).await?;
    let certificate = keys.authority().sign_gateway(gateway, &key)?;
    let act = gateways::Act {
        gateway,
        action: "gateway.enrol",
        subject: name.clone(),
        tenant: None,
        vault: None,
        session: None,
    };
    gateways::record(tx, &act).await?;
    Ok(Enrolled {
        gateway,
        certificate,
        name,
    })
}
