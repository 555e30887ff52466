//! `[proxy.tls]`: the certificate with which the proxy itself speaks TLS.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::client::accept::secure::Secure;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    /// A PEM file: the certificate, and those that lead from it to a root.
    certificate: Option<PathBuf>,
    /// A PEM file: its private key.
    key: Option<PathBuf>,
}

impl RawTls {
    /// Reads both files.
    pub(super) fn check(self, problems: &mut Vec<String>) -> Option<Arc<Secure>> {
        let (certificate, key) = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return None,
            (Some(_), None) => {
                problems.push("proxy.tls.certificate needs proxy.tls.key".to_owned());
                return None;
            }
            (None, Some(_)) => {
                problems.push("proxy.tls.key needs proxy.tls.certificate".to_owned());
                return None;
            }
        };
        match Secure::load(certificate, key) {
            Ok(secure) => Some(Arc::new(secure)),
            Err(found) => {
                problems.extend(found.iter().map(|error| match error.source() {
                    Some(cause) => format!("proxy.tls: {error}: {cause}"),
                    None => format!("proxy.tls: {error}"),
                }));
                None
            }
        }
    }
}
