//! Who this node is: its key, the certificate that control signed for it, and the authority that it trusts.
//!
//! ```text
//! <data_dir>/node.key    the private key, PKCS#8       written before anything is asked of control
//! <data_dir>/node.json   control's address, the node's id, the cluster's authority
//! <data_dir>/node.crt    the certificate chain         written last: where it is, the node has joined
//! ```
//!
//! The join string pins the authority: nothing else is trusted, before joining and after. Files are for the owner only
//! and are replaced whole. The key never leaves the node; renewal is for a new certificate of the same key.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use boring::asn1::Asn1Time;
use boring::x509::X509;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sortie_proto::id::GatewayId;
use sortie_proto::secret::Secret;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::feed_client::FeedClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::whereabouts::Whereabouts;
use crate::p256::{InvalidKey, P256Key};

/// What a join string starts with.
pub const JOIN_PREFIX: &str = "sortie_join_";
/// How long after its beginning a certificate is renewed, in seconds. It is valid for three times as long.
const RENEW_AFTER: i64 = 24 * 60 * 60;
/// How long opening a connection, and one call, may take.
const CALL: Duration = Duration::from_secs(10);
/// How often control is pinged while a call is open, and how long it may take to answer: what is lost one way only is
/// noticed within the sum. Echoes cannot show it, since they stop with the database too.
const PING: Duration = Duration::from_secs(1);
const PONG: Duration = Duration::from_secs(2);

/// The node has no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node has not joined, and was not told how.
    #[error(
        "this node has not joined a cluster: set SORTIE_GATEWAY__JOIN to a join string of `sortie gateway join`"
    )]
    NotJoined,
    /// A join string that is none.
    #[error("the join string is not one: copy all of it, from `sortie_join_` on")]
    JoinString,
    /// Control did not accept the join token, or cannot be reached.
    #[error(
        "control did not let this node join: join tokens work once and for a short time, ask for a new one"
    )]
    Refused(#[source] Box<tonic::Status>),
    /// Control's name.
    #[error("{control} cannot be resolved")]
    Resolve {
        /// Where control should be.
        control: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No connection.
    #[error("no connection to control at {address}")]
    Connect {
        /// Where control should be.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// What control answered is no certificate for this node.
    #[error("control's answer is no certificate for this node")]
    Answer,
    /// A file of the identity.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the identity holds something else.
    #[error("{0} is damaged: move the folder away and join again")]
    Damaged(PathBuf),
    /// The key.
    #[error("the node's key cannot be made or read")]
    Key(#[from] InvalidKey),
    /// The certificate request.
    #[error("the certificate request cannot be made")]
    Request(#[source] rcgen::Error),
}

/// What a join string says.
#[derive(Deserialize)]
struct JoinFields {
    control: String,
    ca: String,
    token: String,
}

/// How to join: where control is, whom to trust, and the one-time token.
#[derive(Debug)]
pub struct Join {
    control: String,
    authority: Vec<u8>,
    token: Secret,
}

impl Join {
    /// Reads a join string.
    ///
    /// # Errors
    /// [`Error::JoinString`] for anything else.
    pub fn parse(text: &Secret) -> Result<Self, Error> {
        let encoded = text
            .expose()
            .trim_ascii()
            .strip_prefix(JOIN_PREFIX.as_bytes())
            .ok_or(Error::JoinString)?;
        let json = URL_SAFE_NO_PAD.decode(encoded).or(Err(Error::JoinString))?;
        let json = Secret::new(json);
        let fields: JoinFields =
            serde_json::from_slice(json.expose()).or(Err(Error::JoinString))?;
        let token = Secret::new(fields.token.into_bytes());
        let authority = STANDARD.decode(fields.ca).or(Err(Error::JoinString))?;
        let is_certificate = X509::from_der(&authority).is_ok();
        if !is_certificate || host(&fields.control).is_none() || token.is_empty() {
            return Err(Error::JoinString);
        }
        Ok(Self {
            control: fields.control,
            authority,
            token,
        })
    }
}

/// What `node.json` holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    gateway: GatewayId,
    control: String,
    /// DER, base64.
    authority: String,
}

/// The identity of a node that has joined.
#[derive(Debug)]
pub struct Identity {
    folder: PathBuf,
    id: GatewayId,
    whereabouts: Arc<Whereabouts>,
    authority: Vec<u8>,
    key: P256Key,
    current: ArcSwap<Current>,
}

/// A certificate in use.
#[derive(Debug)]
struct Current {
    /// PEM, the node's first.
    chain: Vec<u8>,
    /// When it is to be renewed, in seconds since the Unix epoch.
    leaf: X509,
}

impl Identity {
    /// Reads the node's identity, or joins with the join string and writes it. `replicas` are control's addresses,
    /// `host:port`; empty is the one that the join string named.
    ///
    /// # Errors
    /// [`Error`] says what to do.
    pub async fn open(
        folder: &Path,
        name: &str,
        join: Option<&Join>,
        replicas: &[String],
    ) -> Result<Self, Error> {
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(folder)
            .map_err(|source| file_error(folder, source))?;
        if folder.join("node.crt").exists() {
            return Self::read(folder, replicas);
        }
        let join = join.ok_or(Error::NotJoined)?;
        let control = whereabouts(join.control.clone(), replicas);
        Self::enrol(folder, name, join, control.control()).await?;
        Self::read(folder, replicas)
    }

    fn read(folder: &Path, replicas: &[String]) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| file_error(&path, source))
        };
        let damaged = |name: &str| Error::Damaged(folder.join(name));
        let node: Node =
            serde_json::from_slice(&read("node.json")?).or(Err(damaged("node.json")))?;
        let authority = STANDARD
            .decode(&node.authority)
            .or(Err(damaged("node.json")))?;
        let current = Current::new(read("node.crt")?).ok_or_else(|| damaged("node.crt"))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            id: node.gateway,
            whereabouts: Arc::new(whereabouts(node.control, replicas)),
            authority,
            key: P256Key::from_pem(&Secret::new(read("node.key")?))?,
            current: ArcSwap::from_pointee(current),
        })
    }

    async fn enrol(folder: &Path, name: &str, join: &Join, control: &str) -> Result<(), Error> {
        let key = P256Key::generate()?;
        // Before the token is spent: with the key lost, so would be the certificate for it.
        write(&folder.join("node.key"), key.to_pem()?.expose())?;
        let tls = trust(&join.authority, control)?;
        let mut client = FeedClient::new(connect(control, tls).await?);
        let request = v1::EnrolRequest {
            token: String::from_utf8_lossy(join.token.expose()).into_owned(),
            certificate_request: key.certificate_request(name).map_err(Error::Request)?,
            name: name.to_owned(),
        };
        let answer = client.enrol(request).await;
        let answer = answer
            .map_err(|status| Error::Refused(Box::new(status)))?
            .into_inner();
        let id = GatewayId::from_bytes(&answer.gateway_id).or(Err(Error::Answer))?;
        let chain = pem_chain(&answer.certificate_chain, &key)?;
        let node = Node {
            gateway: id,
            control: join.control.clone(),
            authority: STANDARD.encode(&join.authority),
        };
        let node = serde_json::to_vec_pretty(&node).or(Err(Error::Answer))?;
        write(&folder.join("node.json"), &node)?;
        write(&folder.join("node.crt"), &chain)?;
        tracing::info!(gateway.id = %id, "this node has joined");
        Ok(())
    }

    /// The node's id.
    #[must_use]
    pub const fn id(&self) -> GatewayId {
        self.id
    }

    /// A short name for the cluster: a hash of its authority.
    #[must_use]
    pub fn cluster(&self) -> String {
        let hash = Sha256::digest(&self.authority);
        hash.iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Where control is; kept up to date by [`connect`](Self::connect).
    #[must_use]
    pub const fn whereabouts(&self) -> &Arc<Whereabouts> {
        &self.whereabouts
    }

    /// Whether the certificate is old enough to be renewed. `now` is seconds since the Unix epoch.
    #[must_use]
    pub fn is_due(&self, now: i64) -> bool {
        let Ok(started_before) = Asn1Time::from_unix(now.saturating_sub(RENEW_AFTER)) else {
            return true;
        };
        let current = self.current.load();
        current.leaf.not_before() <= &*started_before
    }

    /// Has the certificate renewed, and keeps the new one.
    ///
    /// # Errors
    /// When control refuses, or its answer is no certificate for this node.
    pub async fn renew(&self, client: &mut FeedClient<Channel>) -> Result<(), Error> {
        let request = v1::RenewCertificateRequest {
            certificate_request: self
                .key
                .certificate_request(&self.id.to_string())
                .map_err(Error::Request)?,
        };
        let answer = client.renew_certificate(request).await;
        let answer = answer.map_err(|status| Error::Refused(Box::new(status)))?;
        let chain = pem_chain(&answer.into_inner().certificate_chain, &self.key)?;
        let current = Current::new(chain.clone()).ok_or(Error::Answer)?;
        write(&self.folder.join("node.crt"), &chain)?;
        self.current.store(Arc::new(current));
        tracing::info!(gateway.id = %self.id, "the node's certificate was renewed");
        Ok(())
    }

    /// Opens a connection to the replica of control whose turn it is, with the node's certificate. Where there is none,
    /// the next call tries the next replica.
    ///
    /// # Errors
    /// [`Error::Resolve`], [`Error::Connect`] when there is none.
    pub async fn connect(&self) -> Result<Channel, Error> {
        let connected = self.connect_to_current().await;
        if connected.is_err() {
            self.whereabouts.turn();
        }
        connected
    }

    async fn connect_to_current(&self) -> Result<Channel, Error> {
        let control = self.whereabouts.control();
        let resolve = |source| Error::Resolve {
            control: control.to_owned(),
            source,
        };
        self.whereabouts.look_up().await.map_err(resolve)?;
        let key = self.key.to_pem()?;
        let chain = &self.current.load().chain;
        let identity = tonic::transport::Identity::from_pem(chain, key.expose());
        let tls = trust(&self.authority, control)?.identity(identity);
        connect(control, tls).await
    }
}

impl Current {
    fn new(chain: Vec<u8>) -> Option<Self> {
        let leaf = X509::from_pem(&chain).ok()?;
        Some(Self { chain, leaf })
    }
}

/// The replicas in an order of this node's own, so that nodes which start together do not all turn to the same one.
fn whereabouts(joined_at: String, replicas: &[String]) -> Whereabouts {
    use rand::seq::SliceRandom;
    let mut replicas = replicas.to_vec();
    replicas.shuffle(&mut rand::rng());
    let mut replicas = replicas.into_iter();
    let first = replicas.next().unwrap_or(joined_at);
    Whereabouts::new(first, replicas)
}

/// The host of `host:port`.
pub(crate) fn host(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some(host)
}

fn trust(authority: &[u8], address: &str) -> Result<ClientTlsConfig, Error> {
    let pem = X509::from_der(authority).and_then(|authority| authority.to_pem());
    let pem = pem.or(Err(Error::Answer))?;
    let name = host(address).ok_or(Error::JoinString)?;
    Ok(ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pem))
        .domain_name(name))
}

async fn connect(address: &str, tls: ClientTlsConfig) -> Result<Channel, Error> {
    let failed = |source| Error::Connect {
        address: address.to_owned(),
        source,
    };
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(failed)?
        .connect_timeout(CALL)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    // Boxed: it is large, and awaited by futures that live as long as the process.
    Box::pin(async move { endpoint.connect().await })
        .await
        .map_err(failed)
}

/// The chain as PEM, if its first certificate is for this key.
fn pem_chain(chain: &[Vec<u8>], key: &P256Key) -> Result<Vec<u8>, Error> {
    let mut pem = Vec::new();
    for (index, der) in chain.iter().enumerate() {
        let certificate = X509::from_der(der).or(Err(Error::Answer))?;
        let public = certificate.public_key().or(Err(Error::Answer))?;
        if index == 0 && !public.public_eq(key.pkey()) {
            return Err(Error::Answer);
        }
        pem.extend(certificate.to_pem().or(Err(Error::Answer))?);
    }
    if pem.is_empty() {
        return Err(Error::Answer);
    }
    Ok(pem)
}

/// Replaces a file whole, so that a crash leaves the old one or the new one.
fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let replace = || {
        // Named after the process: during an upgrade there are two of one node.
        let new = path.with_extension(format!("{}.new", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    replace().map_err(|source| file_error(path, source))
}

fn file_error(path: &Path, source: io::Error) -> Error {
    Error::File {
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests;
