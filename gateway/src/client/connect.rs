//! The authority of a request → [`Target`].

use sortie_proto::host::Host;
use sortie_proto::service::Scheme;

/// Where a request goes: one authority, in canonical form, that CONNECT, SNI, `Host` and the dialled name agree on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Whether the upstream is spoken to over TLS.
    pub scheme: Scheme,
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}
