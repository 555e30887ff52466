//! Every way in which Sortie says no, in one table: name, HTTP status, gRPC status, and the constant sentence for the
//! client.
//!
//! A code's name is the metric label, the audit outcome and the `code` field of the answer. The sentence says what to
//! do next. Nothing from a request or an upstream is ever put into it.

use std::fmt;

use tonic::Code as Grpc;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $grpc:ident, $text:literal;)*) => {
        /// Why a request or a call was refused, or failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name: metric label, audit outcome, `code` in answers. Never changes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status of the answer.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The gRPC status of the answer.
            #[must_use]
            pub const fn grpc(self) -> Grpc {
                match self { $(Self::$variant => Grpc::$grpc,)* }
            }

            /// What the client reads: what happened and what to do next.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    // The caller.
    /// No `Proxy-Authorization`.
    TokenMissing = "token_missing", 407, Unauthenticated,
        "This proxy needs a session token. Set HTTPS_PROXY=http://x:TOKEN@host:port, or run the command with `sortie run -- CMD`.";
    /// Not a session token at all.
    TokenMalformed = "token_malformed", 407, Unauthenticated,
        "The proxy credentials are not a session token (sortie_ses_…). Pass the token as the user name or the password of the proxy URL.";
    /// The signature does not verify, or the key that made it is not known.
    TokenInvalid = "token_invalid", 407, Unauthenticated,
        "The session token was not signed by this cluster, or was altered. Ask for a new session.";
    /// Past its end.
    TokenExpired = "token_expired", 407, Unauthenticated,
        "The session has expired. Renew it, or ask for a new session.";
    /// Revoked by id or by a generation.
    SessionRevoked = "session_revoked", 407, Unauthenticated,
        "The session was revoked. Ask whoever started this run; a new session may be refused too.";
    /// A request in the base-URL form without a token.
    KeyMissing = "key_missing", 401, Unauthenticated,
        "This base URL needs a session token (sortie_ses_…) where the API's own key would stand: Authorization, x-api-key or api-key.";
    /// The vault that was named is not a vault of the session.
    VaultMismatch = "vault_mismatch", 403, PermissionDenied,
        "The vault that was named is not a vault of this session. Name one of the session's, or ask for a session with that vault.";
    /// The agent's address is outside the session's CIDR.
    SourceRefused = "source_refused", 403, PermissionDenied,
        "This session may not be used from this network address. Use it where it was meant to run, or ask for a session without a source restriction.";

    // The request.
    /// Not HTTP as the RFCs define it, or ambiguous.
    RequestMalformed = "request_malformed", 400, InvalidArgument,
        "The request is not well-formed HTTP, or its framing is ambiguous. Send it with an unmodified HTTP client.";
    /// The head is larger than allowed.
    HeadTooLarge = "head_too_large", 431, InvalidArgument,
        "The request's head is too large. Send fewer or shorter headers.";
    /// The head did not arrive in time.
    HeadTimeout = "head_timeout", 408, DeadlineExceeded,
        "The request's head did not arrive in time. Send it in one piece.";
    /// A target that cannot be proxied.
    TargetInvalid = "target_invalid", 400, InvalidArgument,
        "The target is not a host and port that can be brokered. Use https://host/… or http://host/….";
    /// HTTP/2 to the proxy itself, and neither CONNECT nor a base URL.
    ConnectOnly = "connect_only", 400, InvalidArgument,
        "Over HTTP/2 this proxy takes CONNECT and base URLs (/r/VAULT/SERVICE/). Use https://, or speak HTTP/1.1 to the proxy.";
    /// CONNECT, SNI, Host or :authority disagree.
    AuthorityMismatch = "authority_mismatch", 421, FailedPrecondition,
        "The host of the request differs from the host that the tunnel was opened for. Open a new connection for each host.";
    /// A path that could be read in two ways.
    PathRefused = "path_refused", 400, InvalidArgument,
        "The path has dot segments, double encoding, a backslash or control character, or // or ; that changes its service. Send the plain path.";
    /// An upgrade that cannot be brokered.
    UpgradeUnsupported = "upgrade_unsupported", 501, Unimplemented,
        "The upgrade is not a whole WebSocket handshake (RFC 6455: GET over HTTP/1.1, one key, version 13). Use a standard WebSocket client.";
    /// The client left before the answer was complete.
    ClientGone = "client_gone", 499, Cancelled,
        "The client left before the answer was complete. Send the request again if the answer is still wanted.";
    /// Too many connections or requests at once.
    TooMany = "too_many", 429, ResourceExhausted,
        "Too many connections or requests at once; `limit` says whose, where a limit was set. Close some, wait, and try again.";
    /// More requests or bytes than a limit allows.
    RateLimited = "rate_limited", 429, ResourceExhausted,
        "A limit on requests or bytes is reached; `limit` says whose. Wait for `Retry-After` seconds; an admin can raise the limit (docs/limits.md).";

    // The decision.
    /// No service of that name.
    ServiceUnknown = "service_unknown", 404, NotFound,
        "The vault has no service of that name. A base URL is /r/VAULT/SERVICE/…; ask for the service to be added with `sortie service set`.";
    /// A service that no one base URL can stand for.
    BaseUrlUnsupported = "base_url_unsupported", 403, FailedPrecondition,
        "This service has no base URL: it covers several hosts, or is passed on untouched. Use the proxy, or ask for a service of one host.";
    /// No service for this host.
    HostUnmatched = "host_unmatched", 403, PermissionDenied,
        "No service of this vault covers this host. Ask for one to be added: `sortie service set NAME --host HOST`.";
    /// A service covers the host, but not this method and path.
    RequestUnmatched = "request_unmatched", 403, PermissionDenied,
        "A service covers this host, but not this method and path. Ask for the service to be widened, or use what it allows.";
    /// The service is switched off.
    ServiceDisabled = "service_disabled", 403, PermissionDenied,
        "The service is switched off. Ask an admin of the vault to enable it.";
    /// The agent has no role on the vault.
    RoleMissing = "role_missing", 403, PermissionDenied,
        "The agent has no role on this vault, or it has ended. Ask an admin of the vault for a grant.";
    /// The session was narrowed to other services.
    ScopeExcluded = "scope_excluded", 403, PermissionDenied,
        "This session was narrowed to other services. Ask for a session that includes this one.";
    /// The tenant is switched off.
    TenantDisabled = "tenant_disabled", 403, PermissionDenied,
        "The tenant is switched off. Ask the operator of this cluster.";
    /// The vault is switched off.
    VaultDisabled = "vault_disabled", 403, PermissionDenied,
        "The vault is switched off. Ask an admin of the vault.";
    /// A plain-HTTP request to a service that is HTTPS only.
    CleartextRefused = "cleartext_refused", 403, PermissionDenied,
        "Credentials are sent over HTTPS only. Use https:// for this host.";

    // The credential.
    /// A placeholder that names no credential that may stand there.
    PlaceholderUnresolved = "placeholder_unresolved", 422, FailedPrecondition,
        "The request holds a placeholder that names no credential of this service at this place. Nothing was sent. Check its spelling and where it stands.";
    /// A service needs a credential that the vault does not have.
    CredentialMissing = "credential_missing", 403, FailedPrecondition,
        "The service needs a credential that the vault does not hold. Nothing was sent. Add it with `sortie credential set NAME`.";
    /// All versions of the credential so far were revoked.
    CredentialRevoked = "credential_revoked", 403, FailedPrecondition,
        "The credential of this service was revoked and has no new value yet. Nothing was sent. An admin can set one with `sortie credential set NAME`.";
    /// The credential is not bound to this destination.
    DestinationRefused = "destination_refused", 403, PermissionDenied,
        "The credential may not be sent to this destination. Nothing was sent. An admin can add the host to the credential's destinations.";
    /// The credential cannot be opened, or cannot stand where it would.
    CredentialUnusable = "credential_unusable", 500, Internal,
        "The credential could not be used. Nothing was sent. Set it again with `sortie credential set NAME`.";

    // The upstream.
    /// A special-use or own address.
    AddressRefused = "address_refused", 403, PermissionDenied,
        "The host resolves to a private or special address, which agents may not reach. An admin can allow private ranges for the tenant.";
    /// The name does not resolve.
    DnsFailed = "dns_failed", 502, Unavailable,
        "The host's name does not resolve. Check its spelling.";
    /// No connection.
    UpstreamConnect = "upstream_connect", 502, Unavailable,
        "The upstream refused or dropped the connection. Nothing was answered; try again later.";
    /// Its certificate does not verify, or TLS is too old.
    UpstreamTls = "upstream_tls", 502, Unavailable,
        "The upstream's TLS certificate does not verify. Nothing was sent. If it is signed by a private authority, the operator can add its root.";
    /// Silence for too long.
    UpstreamTimeout = "upstream_timeout", 504, DeadlineExceeded,
        "The upstream did not answer in time. Try again later.";
    /// Not HTTP, or it broke off.
    UpstreamProtocol = "upstream_protocol", 502, Unavailable,
        "The upstream's answer was not well-formed HTTP, or it broke off. Try again later.";
    /// An encoding that cannot be scanned for secrets.
    ResponseEncoded = "response_encoded", 502, Unavailable,
        "The upstream compressed its answer though it was asked not to, so it cannot be checked for secrets and was withheld.";

    // The gateway.
    /// The vault's state has not arrived.
    VaultUnavailable = "vault_unavailable", 503, Unavailable,
        "The gateway could not get the vault from control. Try again in a few seconds.";
    /// The vault's lease ended.
    StaleLease = "stale_lease", 503, Unavailable,
        "The gateway has not heard from control for longer than the vault allows, so it stopped brokering. Try again when control is back.";
    /// No record can be written.
    JournalFull = "journal_full", 503, Unavailable,
        "The gateway cannot record the use of credentials, so it does not use them. Try again later; the operator sees an alarm.";
    /// The gateway is stopping or has no room.
    Overloaded = "overloaded", 503, Unavailable,
        "The gateway is at its limits, and this tenant uses its share of it or more. Try again after `Retry-After` seconds.";

    // Control.
    /// Input that cannot be accepted.
    InvalidArgument = "invalid_argument", 400, InvalidArgument,
        "The request has fields that cannot be accepted; `errors` names each.";
    /// No key, or not a valid one.
    Unauthenticated = "unauthenticated", 401, Unauthenticated,
        "Send an API key: `Authorization: Bearer sortie_key_…`.";
    /// The caller may not do this.
    PermissionDenied = "permission_denied", 403, PermissionDenied,
        "This key's role does not allow that. Ask for a role that does.";
    /// No such object, or not for this caller.
    NotFound = "not_found", 404, NotFound,
        "There is no such object, or this key may not see it.";
    /// The path is known, but not with this method.
    MethodNotAllowed = "method_not_allowed", 405, Unimplemented,
        "This path does not take that method; `Allow` names those that it takes.";
    /// The name is taken.
    AlreadyExists = "already_exists", 409, AlreadyExists,
        "An object of that name exists. Choose another name, or change the existing one.";
    /// Two services would match the same requests.
    AmbiguousService = "ambiguous_service", 409, FailedPrecondition,
        "Another service matches the same requests with equal priority. Narrow one by port, path or methods.";
    /// The state of things does not allow it.
    FailedPrecondition = "failed_precondition", 412, FailedPrecondition,
        "The current state does not allow that; `detail` says why.";
    /// A service that a session requires cannot be used.
    RequirementUnmet = "requirement_unmet", 412, FailedPrecondition,
        "A service that the session requires cannot be used, so nothing was minted; `errors` names each, with the command that mends it.";
    /// The body is larger than allowed.
    BodyTooLarge = "body_too_large", 413, InvalidArgument,
        "The body is too large.";
    /// A quota or a limit.
    ResourceExhausted = "resource_exhausted", 429, ResourceExhausted,
        "A limit is reached. Wait, or delete what is not needed.";
    /// The database cannot be reached.
    Unavailable = "unavailable", 503, Unavailable,
        "The database cannot be reached. Try again in a few seconds.";
    /// A defect of ours.
    Internal = "internal", 500, Internal,
        "Something went wrong inside Sortie. Quote the id of this answer when you report it.";
}

impl Code {
    /// Reads a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// Whether the refusal is about who calls. Inside a tunnel such a code has status 403: clients take 407 there for
    /// an answer of another proxy.
    #[must_use]
    pub const fn is_authentication(self) -> bool {
        self.status() == 407
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
