//! What Pingora reports → a code, by type and source alone.

use pingora_error::{Error, ErrorSource, ErrorType};
use sortie_proto::code::Code;

/// Which errors of an upstream mean what; all others are `upstream_protocol`.
const UPSTREAM: &[(ErrorType, Code)] = &[
    (ErrorType::ConnectTimedout, Code::UpstreamTimeout),
    (ErrorType::ReadTimedout, Code::UpstreamTimeout),
    (ErrorType::WriteTimedout, Code::UpstreamTimeout),
    (ErrorType::TLSHandshakeTimedout, Code::UpstreamTimeout),
    (ErrorType::TLSHandshakeFailure, Code::UpstreamTls),
    (ErrorType::TLSWantX509Lookup, Code::UpstreamTls),
    (ErrorType::InvalidCert, Code::UpstreamTls),
    (ErrorType::HandshakeError, Code::UpstreamTls),
    (ErrorType::ConnectRefused, Code::UpstreamConnect),
    (ErrorType::ConnectNoRoute, Code::UpstreamConnect),
    (ErrorType::ConnectError, Code::UpstreamConnect),
    (ErrorType::ConnectProxyFailure, Code::UpstreamConnect),
    (ErrorType::SocketError, Code::UpstreamConnect),
    (ErrorType::BindError, Code::UpstreamConnect),
    (ErrorType::ConnectionClosed, Code::UpstreamConnect),
];

/// The errors that mean that the agent's connection is gone.
const GONE: &[ErrorType] = &[
    ErrorType::WriteError,
    ErrorType::ConnectionClosed,
    ErrorType::WriteTimedout,
];

/// The errors that say that nobody answers at an address, where somebody may at another of the same host.
const UNREACHABLE: &[ErrorType] = &[
    ErrorType::ConnectTimedout,
    ErrorType::ConnectRefused,
    ErrorType::ConnectNoRoute,
    ErrorType::ConnectError,
];

/// Whether a connection failed because of the address. A certificate that is wrong is wrong at every address.
#[must_use]
pub fn is_unreachable(error: &Error) -> bool {
    UNREACHABLE.contains(error.etype())
}

/// The code of an error that no stage of ours made; `None` when the client has gone and nobody can be told.
#[must_use]
pub fn code_of(error: &Error) -> Option<Code> {
    let kind = error.etype();
    match error.esource() {
        ErrorSource::Upstream => Some(
            UPSTREAM
                .iter()
                .find(|(known, _)| known == kind)
                .map_or(Code::UpstreamProtocol, |(_, code)| *code),
        ),
        ErrorSource::Downstream if GONE.contains(kind) => None,
        ErrorSource::Downstream => Some(Code::RequestMalformed),
        ErrorSource::Internal | ErrorSource::Unset => Some(Code::Internal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(kind: ErrorType, source: ErrorSource) -> Option<Code> {
        let mut error = Error::new(kind);
        error.esource = source;
        code_of(&error)
    }

    #[test]
    fn errors_become_codes_by_type_and_source() {
        let up = ErrorSource::Upstream;
        assert_eq!(
            code(ErrorType::InvalidCert, up.clone()),
            Some(Code::UpstreamTls)
        );
        assert_eq!(
            code(ErrorType::ReadTimedout, up.clone()),
            Some(Code::UpstreamTimeout)
        );
        assert_eq!(
            code(ErrorType::ConnectRefused, up.clone()),
            Some(Code::UpstreamConnect)
        );
        assert_eq!(
            code(ErrorType::InvalidHTTPHeader, up),
            Some(Code::UpstreamProtocol)
        );
        let down = ErrorSource::Downstream;
        assert_eq!(code(ErrorType::WriteError, down.clone()), None);
        assert_eq!(
            code(ErrorType::ReadError, down),
            Some(Code::RequestMalformed)
        );
        assert_eq!(
            code(ErrorType::InternalError, ErrorSource::Unset),
            Some(Code::Internal)
        );
    }

    #[test]
    fn another_address_helps_where_nobody_answers() {
        let check = |kind, expect| assert_eq!(is_unreachable(&Error::new(kind)), expect);
        check(ErrorType::ConnectRefused, true);
        check(ErrorType::ConnectTimedout, true);
        check(ErrorType::ConnectNoRoute, true);
        check(ErrorType::InvalidCert, false);
        check(ErrorType::TLSHandshakeFailure, false);
    }
}
