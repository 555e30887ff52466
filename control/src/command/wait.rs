//! Waiting until gateways enforce what was revoked.

use std::time::Duration;

use sortie_proto::code::Code;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;

use super::Context;
use crate::database::gateways::Holder;
use crate::error::{Error, Result};
use crate::fleet::enforce::Enforcement;

/// The longest wait. A call of the API may take thirty seconds, and the revocation itself takes some.
const WAIT_SECONDS_MAX: u32 = 20;
/// How much longer the database may take for it, before the answer goes without.
const GRACE: Duration = Duration::from_secs(3);

/// How long a caller waits for gateways; not at all by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wait(Duration);

impl Wait {
    /// Reads seconds, 0 to 20.
    ///
    /// # Errors
    /// `invalid_argument`.
    pub fn read(seconds: u32) -> Result<Self> {
        if seconds > WAIT_SECONDS_MAX {
            return Err(Error::invalid("wait_seconds", "must be 0 to 20 seconds"));
        }
        Ok(Self(Duration::from_secs(seconds.into())))
    }

    /// What a revocation answers, after the wait.
    ///
    /// What is revoked stays so: if the wait itself fails, or there is no turn for it, the answer says nothing of
    /// gateways.
    pub(super) async fn answer(
        self,
        cx: &Context,
        (tenant, vault): (TenantId, Option<VaultId>),
        revision: Revision,
    ) -> v1::Revoked {
        let mut answer = v1::Revoked {
            revision: revision.to_string(),
            enforcement: None,
        };
        if self.0.is_zero() {
            return answer;
        }
        let enforced = cx.fleet.enforced(tenant, vault, revision, self.0);
        let enforced = tokio::time::timeout(self.0 + GRACE, enforced).await;
        let enforced = enforced.unwrap_or_else(|late| {
            Err(Error::new(Code::Unavailable)
                .because("the database does not answer")
                .caused_by(late))
        });
        match enforced {
            Ok(enforcement) => answer.enforcement = Some(view(enforcement)),
            Err(error) => error.log("waiting for gateways"),
        }
        answer
    }
}

fn view(enforcement: Enforcement) -> v1::Enforcement {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let enforced = enforcement
        .gateways
        .saturating_sub(enforcement.missing.len());
    v1::Enforcement {
        gateways: count(enforcement.gateways),
        enforced: count(enforced),
        slowest_millis: u64::try_from(enforcement.slowest.as_millis()).unwrap_or(u64::MAX),
        missing: enforcement.missing.into_iter().map(missing).collect(),
    }
}

fn missing(holder: Holder) -> v1::MissingGateway {
    v1::MissingGateway {
        id: holder.gateway.to_string(),
        name: holder.name,
        fenced_at: holder.fenced_at.to_string(),
    }
}
