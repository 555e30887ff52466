//! Verifies as rustls does, and keeps what was shown, so that a refusal can say whose certificate it was.

use std::sync::{Arc, Mutex};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The chain that was shown last, leaf first.
pub(super) type Shown = Arc<Mutex<Vec<CertificateDer<'static>>>>;

#[derive(Debug)]
struct Keeping {
    inner: Arc<WebPkiServerVerifier>,
    shown: Shown,
}

/// A configuration that trusts these roots alone. `None` if there is no root among them.
pub(super) fn config(roots: &[CertificateDer<'static>]) -> Option<(ClientConfig, Shown)> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let inner = WebPkiServerVerifier::builder(Arc::new(store))
        .build()
        .ok()?;
    let shown = Shown::default();
    let verifier = Keeping {
        inner,
        shown: Arc::clone(&shown),
    };
    let config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Some((config, shown))
}

impl ServerCertVerifier for Keeping {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Ok(mut shown) = self.shown.lock() {
            shown.clear();
            shown.push(end_entity.clone().into_owned());
            shown.extend(intermediates.iter().map(|der| der.clone().into_owned()));
        }
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
