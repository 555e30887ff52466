//! Who calls and where to → the fields of a record that are the same for every request on a connection, encoded once.

use std::sync::Arc;

use prost::Message as _;
use sortie_proto::wire::v1;

use super::authenticate::Caller;
use super::connect::Target;

/// Fields of a [`v1::Use`] in its wire format: the caller's, and the target's once that is known. The rest of the record
/// is written behind them, since a message is the sum of its fields, in any order (Protocol Buffers, "Encoding").
#[derive(Debug, Clone)]
pub struct Origin(Arc<[u8]>);

impl Origin {
    /// Encodes them.
    #[must_use]
    pub fn new(caller: &Caller, target: Option<&Target>) -> Self {
        let claims = caller.claims();
        let fields = v1::Use {
            tenant_id: claims.tenant.to_bytes(),
            session_id: claims.session.to_bytes(),
            agent_id: claims.agent.to_bytes(),
            user: claims.user.clone().unwrap_or_default(),
            labels: claims.labels.clone().into_iter().collect(),
            scheme: target
                .map(|target| target.scheme.name().to_owned())
                .unwrap_or_default(),
            host: target
                .map(|target| target.host.to_string())
                .unwrap_or_default(),
            port: target
                .map(|target| u32::from(target.port))
                .unwrap_or_default(),
            source: caller.source().to_string(),
            ..v1::Use::default()
        };
        Self(fields.encode_to_vec().into())
    }

    /// The encoded fields.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
