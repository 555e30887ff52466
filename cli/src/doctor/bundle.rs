//! The bundle: the file of roots that programs trust, with the tenant's authority in it.

use std::path::Path;

use rustls_pki_types::CertificateDer;

use super::finding::Finding;
use super::variables::RUN;
use crate::certificate::{self, Authority};

/// What a bundle holds, as far as it can be used.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    /// All certificates.
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// The tenants' authorities among them.
    pub(super) authorities: Vec<Authority>,
}

/// Reads it, and says what is wrong with it. `now` is in seconds since the Unix epoch.
pub(super) fn check(path: &Path, now: i64) -> (Bundle, Finding) {
    let shown = path.display();
    let roots = match certificate::read_file(path) {
        Ok(roots) => roots,
        Err(error) => {
            let seen = format!("{shown} cannot be read: {error}");
            return (Bundle::default(), Finding::fault("bundle", seen, RUN));
        }
    };
    let bundle = Bundle {
        authorities: roots.iter().filter_map(Authority::read).collect(),
        roots,
    };
    let finding = judge(&bundle, &shown.to_string(), now);
    (bundle, finding)
}

fn judge(bundle: &Bundle, path: &str, now: i64) -> Finding {
    let count = bundle.roots.len();
    if count == 0 {
        let seen = format!("{path} holds no certificate");
        return Finding::fault("bundle", seen, RUN);
    }
    let Some(authority) = bundle.authorities.first() else {
        let seen = format!("{path} holds {count} certificates, but no tenant's authority");
        return Finding::fault("bundle", seen, RUN);
    };
    let (name, short) = (&authority.name, authority.short());
    if !bundle
        .authorities
        .iter()
        .any(|authority| authority.valid.contains(&now))
    {
        let seen = format!("the authority {name} ({short}…) is not valid at this machine's time");
        return Finding::fault("bundle", seen, RUN);
    }
    if count == bundle.authorities.len() {
        return Finding::warning(
            "bundle",
            format!(
                "{path} holds no root but {name}: hosts that the gateway passes untouched are not trusted"
            ),
            RUN,
        );
    }
    let seen = format!(
        "{name} ({short}…) and {} other roots",
        count - bundle.authorities.len()
    );
    Finding::ok("bundle", seen)
}

#[cfg(test)]
mod tests;
