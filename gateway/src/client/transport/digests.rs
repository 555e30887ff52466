//! What Pingora asks of a connection beside its bytes: ids, digests, what TLS agreed on.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::AsyncWriteExt;

use super::{Layer, Tunnel};

#[async_trait]
impl Shutdown for Tunnel {
    async fn shutdown(&mut self) {
        // It fails only on a connection that has ended already.
        let _ended = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Tunnel {
    fn id(&self) -> UniqueIDType {
        use std::os::fd::AsRawFd;
        self.stream.as_raw_fd()
    }
}

impl Ssl for Tunnel {
    fn get_ssl(&self) -> Option<&TlsRef> {
        match &self.layer {
            Layer::Plain(_) | Layer::Stream(_) => None,
            Layer::Tls(stream) => stream.get_ssl(),
        }
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        match &self.layer {
            Layer::Plain(_) | Layer::Stream(_) => None,
            Layer::Tls(stream) => stream.get_ssl_digest(),
        }
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match &self.layer {
            Layer::Plain(_) | Layer::Stream(_) => None,
            Layer::Tls(stream) => stream.selected_alpn_proto(),
        }
    }
}

impl Peek for Tunnel {}

impl GetTimingDigest for Tunnel {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest {
            established_ts: self.established,
            ..TimingDigest::default()
        })]
    }
}

impl GetProxyDigest for Tunnel {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.proxy_digest.clone()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.proxy_digest = Some(Arc::new(digest));
    }
}

impl GetSocketDigest for Tunnel {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket_digest.clone())
    }
}
