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

/// The errors that mean that the agent's connection, or its stream, is gone.
const GONE: &[ErrorType] = &[
    ErrorType::WriteError,
    ErrorType::ConnectionClosed,
    ErrorType::WriteTimedout,
    ErrorType::H2Error,
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

/// The code of an error that no stage of ours made. With `client_gone` nobody can be told. `answered` says whether the
/// answer has begun.
#[must_use]
pub fn code_of(error: &Error, answered: bool) -> Code {
    let kind = error.etype();
    match error.esource() {
        ErrorSource::Upstream => UPSTREAM
            .iter()
            .find(|(known, _)| known == kind)
            .map_or(Code::UpstreamProtocol, |(_, code)| *code),
        ErrorSource::Downstream if GONE.contains(kind) => Code::ClientGone,
        // Before the answer it may be about the framing of the request.
        ErrorSource::Downstream if answered && *kind == ErrorType::ReadError => Code::ClientGone,
        ErrorSource::Downstream => Code::RequestMalformed,
        ErrorSource::Internal | ErrorSource::Unset => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ErrorType, source: ErrorSource, answered: bool, expect: Code) {
        let mut error = Error::new(kind);
        error.esource = source;
        assert_eq!(code_of(&error, answered), expect, "{answered}");
    }

    #[test]
    fn errors_become_codes_by_type_and_source() {
        let up = || ErrorSource::Upstream;
        check(ErrorType::InvalidCert, up(), false, Code::UpstreamTls);
        check(ErrorType::ReadTimedout, up(), false, Code::UpstreamTimeout);
        check(
            ErrorType::ConnectRefused,
            up(),
            false,
            Code::UpstreamConnect,
        );
        check(
            ErrorType::InvalidHTTPHeader,
            up(),
            false,
            Code::UpstreamProtocol,
        );
        check(ErrorType::ReadError, up(), true, Code::UpstreamProtocol);
        let down = || ErrorSource::Downstream;
        check(ErrorType::WriteError, down(), false, Code::ClientGone);
        check(ErrorType::H2Error, down(), false, Code::ClientGone);
        check(ErrorType::ReadError, down(), false, Code::RequestMalformed);
        check(ErrorType::ReadError, down(), true, Code::ClientGone);
        check(
            ErrorType::InvalidHTTPHeader,
            down(),
            true,
            Code::RequestMalformed,
        );
        check(
            ErrorType::InternalError,
            ErrorSource::Unset,
            false,
            Code::Internal,
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
