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
    AlpnError, NameType, SslAcceptor, SslAcceptorBuilder, SslMethod, SslRef, SslSessionCacheMode,
    SslVersion, select_next_proto,
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
    /// The client named another host than the tunnel is for, and there is no leaf to say so with.
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
    Ok(builder(b"\x02h2\x08http/1.1")?.build())
}

/// The server side of TLS, before it has a certificate. `protocols` is what it speaks, the best first, in the form of the
/// ALPN extension (RFC 7301, 3.1).
///
/// # Errors
/// What BoringSSL reports.
pub fn builder(protocols: &'static [u8]) -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_alpn_select_callback(move |_, offered| {
        select_next_proto(protocols, offered).ok_or(AlpnError::NOACK)
    });
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    Ok(builder)
}

/// A tunnel that is TLS.
#[derive(Debug)]
pub struct Intercepted {
    /// What is in it.
    pub tunnel: Tunnel,
    /// Whether the client named the tunnel's host, or none. Otherwise its certificate is for the other one, and what is
    /// asked on it is to be refused.
    pub agreed: bool,
}

/// Finds the leaf for a host that a client named although the tunnel is for another one.
#[async_trait]
pub trait Other: Send + Sync {
    /// The leaf, if this client may have one.
    async fn leaf(&self, named: Host) -> Option<Arc<Leaf>>;
}

struct Callbacks<'a> {
    host: &'a Host,
    leaf: &'a Arc<Leaf>,
    other: &'a dyn Other,
    mismatch: AtomicBool,
}

impl Callbacks<'_> {
    /// The leaf for the name that the client gave.
    async fn leaf_for(&self, named: Option<Option<Host>>) -> Option<Arc<Leaf>> {
        match named {
            None => Some(self.leaf.clone()),
            Some(Some(named)) if named == *self.host => Some(self.leaf.clone()),
            Some(other) => {
                self.mismatch.store(true, Ordering::Relaxed);
                self.other.leaf(other?).await
            }
        }
    }
}

#[async_trait]
impl TlsAccept for Callbacks<'_> {
    async fn certificate_callback(&self, ssl: &mut SslRef) {
        let named = ssl.servername(NameType::HOST_NAME);
        let named = named.map(|name| Host::parse(name).ok());
        let Some(leaf) = self.leaf_for(named).await else {
            // Without a certificate the client gets a fatal alert: there is no other way to refuse from here.
            return;
        };
        let set = ext::ssl_use_certificate(ssl, &leaf.certificate)
            .and_then(|()| ext::ssl_add_chain_cert(ssl, &leaf.intermediate))
            .and_then(|()| ext::ssl_use_private_key(ssl, &leaf.key));
        if set.is_err() {
            tracing::error!("a leaf certificate could not be used");
        }
        sortie_sys::shed_handshake_config(ssl);
    }
}

/// Does the handshake on a tunnel, with the leaf of its host.
///
/// # Errors
/// [`Failed`] says how it ended; the client has been told by an alert.
pub async fn intercept(
    acceptor: &SslAcceptor,
    tunnel: Tunnel,
    (host, leaf): (&Host, &Arc<Leaf>),
    other: &dyn Other,
    deadline: Duration,
) -> Result<Intercepted, Failed> {
    let callbacks = Callbacks {
        host,
        leaf,
        other,
        mismatch: AtomicBool::new(false),
    };
    let handshake = handshake_with_callback(acceptor, tunnel, &callbacks);
    let done = tokio::time::timeout(deadline, handshake).await;
    let agreed = !callbacks.mismatch.load(Ordering::Relaxed);
    match done {
        Ok(Ok(stream)) => Ok(Intercepted {
            tunnel: Tunnel::tls(stream),
            agreed,
        }),
        // Pingora's error is dropped unread.
        Ok(Err(_)) if !agreed => Err(Failed::Mismatch),
        Ok(Err(_)) => Err(Failed::Handshake),
        Err(_) => Err(Failed::Timeout),
    }
}
