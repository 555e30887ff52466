//! How simulated gateways join: with join strings of the operator, as real ones do; many at a time.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hyper::Method;
use rcgen::{CertificateParams, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::feed_client::FeedClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::cluster::Control;

/// How many join at once.
const AT_ONCE: usize = 16;
/// What a join string starts with.
const JOIN: &str = "sortie_join_";

/// Who a node is, and whom it follows.
#[derive(Clone)]
pub struct Enrolled {
    /// Control's address.
    control: String,
    tls: ClientTlsConfig,
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolled")
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl Enrolled {
    /// Opens a connection with the node's certificate.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn connect(&self) -> Result<Channel> {
        connect(&self.control, self.tls.clone()).await
    }
}

#[derive(Deserialize)]
struct Join {
    control: String,
    ca: String,
    token: String,
}

/// Enrols so many nodes, at these controls in turn.
///
/// # Errors
/// When one is refused.
pub async fn many(controls: &[Control], count: usize) -> Result<Vec<Enrolled>> {
    let each = stream::iter(0..count).map(async |index| {
        let control = controls.get(index % controls.len().max(1));
        one(control.context("no control")?, format!("simulated-{index}")).await
    });
    each.buffered(AT_ONCE).try_collect().await
}

async fn one(control: &Control, name: String) -> Result<Enrolled> {
    let wanted = json!({"name": name});
    let answer = control
        .api()
        .call(Method::POST, "/v1/gateways:join", &wanted);
    let join = parse(&answer.await?)?;
    let authority = pem("CERTIFICATE", &STANDARD.decode(&join.ca)?);
    let host = join.control.rsplit_once(':').context("no port")?.0;
    let trust = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&authority))
        .domain_name(host.to_owned());
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name.clone());
    let request = v1::EnrolRequest {
        token: join.token,
        certificate_request: params.serialize_request(&key)?.der().to_vec(),
        name,
    };
    let mut client = FeedClient::new(connect(&join.control, trust.clone()).await?);
    let enrolled = client.enrol(request).await?.into_inner();
    let chain = enrolled.certificate_chain.iter();
    let chain: String = chain.map(|der| pem("CERTIFICATE", der)).collect();
    Ok(Enrolled {
        control: join.control,
        tls: trust.identity(Identity::from_pem(chain, key.serialize_pem())),
    })
}

fn parse(answer: &Value) -> Result<Join> {
    let text = answer.get("join").and_then(Value::as_str);
    let encoded = text.and_then(|text| text.strip_prefix(JOIN));
    let json = URL_SAFE_NO_PAD.decode(encoded.context("no join string")?)?;
    Ok(serde_json::from_slice(&json)?)
}

async fn connect(control: &str, tls: ClientTlsConfig) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("https://{control}"))?.tls_config(tls)?;
    Ok(Box::pin(async move { endpoint.connect().await }).await?)
}

/// The PEM of some DER (RFC 7468).
fn pem(what: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {what}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + &format!("-----END {what}-----\n")
}
