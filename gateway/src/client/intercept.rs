//! TLS with the agent, with a leaf for the tunnel's target.
//!
//! TLS 1.2 and up. Sessions are kept by the client (tickets), never here. A resumed session proves nothing: who calls is
//! known from the CONNECT of this connection, and the name is compared on resumed handshakes too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use boring::error::ErrorStack;
use boring::ssl::{
    AlpnError, NameType, SslAcceptor, SslMethod, SslRef, SslSessionCacheMode, SslVersion,
    select_next_proto,
};
use pingora_core::listeners::TlsAccept;
use pingora_core::protocols::tls::server::handshake_with_callback;
use pingora_core::tls::ext;
use sortie_proto::host::Host;

use super::leaf::Leaf;
use super::transport::Tunnel;

/// Why there is no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The client named another host than the tunnel is for.
    #[error("the client named another host than the tunnel is for")]
    Mismatch,
    /// The client broke off, does not trust the leaf, or speaks nothing that we do.
    #[error("the handshake failed")]
    Handshake,
    /// It took too long.
    #[error("the handshake took too long")]
    Timeout,
}

/// The server side of TLS, shared by all tunnels; the certificate comes with each.
///
/// # Errors
/// What BoringSSL reports.
pub fn acceptor() -> Result<SslAcceptor, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_alpn_select_callback(|_, offered| {
        select_next_proto(b"\x02h2\x08http/1.1", offered).ok_or(AlpnError::NOACK)
    });
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    Ok(builder.build())
}

struct Callbacks<'a> {
    host: &'a Host,
    leaf: &'a Arc<Leaf>,
    mismatch: AtomicBool,
}

#[async_trait]
impl TlsAccept for Callbacks<'_> {
    async fn certificate_callback(&self, ssl: &mut SslRef) {
        let agrees = ssl
            .servername(NameType::HOST_NAME)
            .is_none_or(|name| Host::parse(name).is_ok_and(|named| named == *self.host));
        if !agrees {
            // Without a certificate the client gets a fatal alert: there is no other way to refuse from here.
            self.mismatch.store(true, Ordering::Relaxed);
            return;
        }
        let set = ext::ssl_use_certificate(ssl, &self.leaf.certificate)
            .and_then(|()| ext::ssl_add_chain_cert(ssl, &self.leaf.intermediate))
            .and_then(|()| ext::ssl_use_private_key(ssl, &self.leaf.key));
        if set.is_err() {
            tracing::error!("a leaf certificate could not be used");
        }
        sortie_sys::shed_handshake_config(ssl);
    }
}

/// Does the handshake on a tunnel.
///
/// # Errors
/// [`Failed`] says how it ended; the client has been told by an alert.
pub async fn intercept(
    acceptor: &SslAcceptor,
    tunnel: Tunnel,
    host: &Host,
    leaf: &Arc<Leaf>,
    deadline: Duration,
) -> Result<Tunnel, Failed> {
    let callbacks = Callbacks {
        host,
        leaf,
        mismatch: AtomicBool::new(false),
    };
    let handshake = handshake_with_callback(acceptor, tunnel, &callbacks);
    match tokio::time::timeout(deadline, handshake).await {
        Ok(Ok(stream)) => Ok(Tunnel::tls(stream)),
        // Pingora's error is dropped unread.
        Ok(Err(_)) if callbacks.mismatch.load(Ordering::Relaxed) => Err(Failed::Mismatch),
        Ok(Err(_)) => Err(Failed::Handshake),
        Err(_) => Err(Failed::Timeout),
    }
}
