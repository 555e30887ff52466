//! What an agent's side needs besides the token: where the gateway is, what to trust, what stands for credentials, in
//! variables and in the files of known tools.
//!
//! **Invariants.** No value of a credential is here. The variables and files are the same for all sessions of a call, and
//! the token stands in the sessions' proxy URLs alone. A placeholder never takes the name of a variable that programs
//! are steered by, or that the environment sets itself.
//! Not here: an image's own roots. The bundle has Mozilla's, as of this build, so that an image needs none.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sortie_proto::catalog::tools::{Held, Tools};
use sortie_proto::code::Code;
use sortie_proto::environment::{
    self, Files, NoProxy, Proxy, Surroundings, TRUST_STORE_PASSWORD, Value,
};
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::secret::Secret;
use sortie_proto::token::Claims;
use sortie_proto::wire::v1;
use uuid::Uuid;

use super::fields::{Problems, is_text};
use crate::authority::tenant::{root_pem, to_pem};
use crate::database::credentials as rows;
use crate::database::{Transaction, services};
use crate::error::{Error, Result};

/// Where the files are if the caller does not say.
const FOLDER: &str = "/run/sortie";
/// The longest folder, in bytes.
const FOLDER_MAX: usize = 256;
/// The most hosts that go past the gateway, and the longest, in bytes.
const NO_PROXY_MAX: usize = 64;
const NO_PROXY_BYTES_MAX: usize = 255;
/// The most placeholders: more would crowd the environment.
const PLACEHOLDERS_MAX: usize = 1_000;

const AUTHORITY: &str = "ca.pem";
const BUNDLE: &str = "bundle.pem";
const STORE: &str = "trust.p12";
/// How often the store's password is hashed. There is nothing in it to protect, and every JVM waits.
const STORE_ITERATIONS: u16 = 1024;
/// Nothing in the files is secret, and an agent of any user reads them.
const MODE: &str = "0644";

/// What agents of all tenants find around them.
#[derive(Debug)]
pub struct AgentSide {
    proxy: Option<Proxy>,
    /// Mozilla's roots, in PEM.
    roots: String,
}

impl AgentSide {
    /// With the gateways' address as agents reach it, if it is known.
    #[must_use]
    pub fn new(proxy: Option<Proxy>) -> Self {
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        Self {
            proxy,
            roots: roots.map(|root| to_pem(root)).collect(),
        }
    }
}

/// An environment that is asked for, well-formed.
#[derive(Debug)]
pub(super) struct Asked {
    /// Without a slash at its end.
    folder: String,
    proxy: Proxy,
    no_proxy: Vec<String>,
    with_files: bool,
    with_store: bool,
}

impl Asked {
    /// The gateway with a session's token.
    pub(super) fn proxy_url(&self, token: &Secret) -> Secret {
        self.proxy.url(Some(token))
    }
}

/// Checks the form of what is asked for; `None` if nothing is, or if there are problems.
pub(super) fn read(
    problems: &mut Problems,
    agents: &AgentSide,
    spec: Option<v1::EnvironmentSpec>,
) -> Option<Asked> {
    let spec = spec?;
    let folder = problems.take("environment.folder", folder(&spec.folder));
    let proxy = match (spec.proxy_url.as_str(), &agents.proxy) {
        ("", Some(proxy)) => Ok(proxy.clone()),
        ("", None) => Err("must be given: control has no setting `proxy_url`".to_owned()),
        (text, _) => Proxy::parse(text).map_err(|error| error.to_string()),
    };
    let proxy = problems.take("environment.proxy_url", proxy);
    let is_entry = |entry: &String| {
        (1..=NO_PROXY_BYTES_MAX).contains(&entry.len())
            && entry
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b',')
    };
    if spec.no_proxy.len() > NO_PROXY_MAX || !spec.no_proxy.iter().all(is_entry) {
        let message =
            "must be at most 64 hosts, networks or domains, each of at most 255 characters";
        problems.add("environment.no_proxy", message);
    }
    Some(Asked {
        folder: folder?,
        proxy: proxy?,
        no_proxy: spec.no_proxy,
        with_files: !spec.without_files,
        with_store: spec.trust_store,
    })
}

fn folder(text: &str) -> std::result::Result<String, &'static str> {
    let folder = match text {
        "" => FOLDER,
        text => text.trim_end_matches('/'),
    };
    if folder.starts_with('/') && folder.len() <= FOLDER_MAX && is_text(folder) {
        Ok(folder.to_owned())
    } else {
        Err("must be an absolute path of at most 256 bytes, and not the root")
    }
}

/// What all sessions of a call have in common.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// All variables but those of the proxy, which hold a token.
    pub(super) environment: HashMap<String, String>,
    /// The names of those.
    pub(super) proxy_variables: Vec<String>,
    /// What the variables name.
    pub(super) files: Vec<v1::EnvironmentFile>,
}

/// Makes the environment of some sessions.
///
/// # Errors
/// `invalid_argument` if the sessions have different vaults, `resource_exhausted` for too many placeholders, or as the
/// database's.
pub(super) async fn make(
    tx: &Transaction,
    tenant: TenantId,
    agents: &AgentSide,
    asked: &Asked,
    claims: &[Claims],
) -> Result<Made> {
    let ids = common_vaults(claims)?;
    let hosts = services::hosts(tx, tenant, &ids).await?;
    let brokered: Vec<_> = hosts.iter().map(|(host, _)| host.clone()).collect();
    let no_proxy = NoProxy::merge(asked.no_proxy.iter().map(String::as_str), &brokered);
    let stand_ins = credentials(tx, tenant, &ids).await?;
    let mut made = Made {
        environment: placeholders(&stand_ins)?,
        ..Made::default()
    };
    let on = hosts.iter().filter(|(_, enabled)| *enabled);
    let held = Held {
        credentials: stand_ins
            .iter()
            .map(|(name, placeholder)| (&**name, &**placeholder))
            .collect(),
        hosts: on.map(|(host, _)| host).collect(),
    };
    let tools = Tools::new(&held, &asked.folder, &[]);
    made.environment.extend(tools.variables);
    let files = Files {
        authority: format!("{}/{AUTHORITY}", asked.folder),
        bundle: format!("{}/{BUNDLE}", asked.folder),
        trust_store: asked
            .with_store
            .then(|| format!("{}/{STORE}", asked.folder)),
    };
    // What takes a password is what takes a session's: the one here is never used.
    let password = Secret::new(Vec::new());
    let around = Surroundings {
        proxy: &asked.proxy,
        password: Some(&password),
        files: &files,
        no_proxy: &no_proxy,
    };
    made.put(&around);
    if asked.with_files {
        let authority = root_pem(tx, tenant).await?.pem;
        // The tenant's authority stands first: a reader that stops early has at least what the gateway shows.
        let bundle = format!("{authority}{}", agents.roots);
        if asked.with_store {
            made.files.push(store(authority.clone()).await?);
        }
        made.files.push(file(AUTHORITY, authority));
        made.files.push(file(BUNDLE, bundle));
        let stubs = tools.files.into_iter();
        made.files
            .extend(stubs.map(|(path, content)| file(&path, content)));
    }
    Ok(made)
}

impl Made {
    /// Puts in what has clients go through the proxy.
    fn put(&mut self, around: &Surroundings<'_>) {
        for variable in environment::variables(around) {
            let name = variable.name.to_owned();
            match variable.value {
                Value::Plain(value) => drop(self.environment.insert(name, value)),
                Value::Secret(_) => self.proxy_variables.push(name),
            }
        }
    }
}

/// The vaults of all the sessions, which have the same ones in the same order.
fn common_vaults(claims: &[Claims]) -> Result<Vec<Uuid>> {
    let vaults = |claims: &Claims| -> Vec<Uuid> {
        let vaults = claims.vaults.iter();
        vaults.map(|vault| vault.id.uuid()).collect()
    };
    let mut all = claims.iter().map(vaults);
    let first = all.next().unwrap_or_default();
    if all.all(|other| other == first) {
        Ok(first)
    } else {
        let message =
            "is one for all sessions of a batch: they must have the same vaults in the same order";
        Err(Error::invalid("environment", message))
    }
}

/// Name and placeholder of each credential. Vaults are searched in order, so the first one's is the one that is meant.
async fn credentials(
    tx: &Transaction,
    tenant: TenantId,
    vaults: &[Uuid],
) -> Result<Vec<(String, String)>> {
    let mut rows = rows::placeholders(tx, tenant, vaults).await?;
    let place = |vault: VaultId| vaults.iter().position(|other| *other == vault.uuid());
    rows.sort_by_key(|(vault, ..)| place(*vault));
    let pairs = rows.into_iter();
    Ok(pairs
        .map(|(_, name, placeholder)| (name, placeholder))
        .collect())
}

/// The variables that hold placeholders, by their names.
fn placeholders(stand_ins: &[(String, String)]) -> Result<HashMap<String, String>> {
    let mut placeholders = HashMap::new();
    for (name, placeholder) in stand_ins {
        let is_taken = environment::sets(name)
            || environment::steers(name)
            || environment::is_shell(name)
            || environment::is_ours(name);
        if !is_taken {
            placeholders
                .entry(name.clone())
                .or_insert_with(|| placeholder.clone());
        }
    }
    if placeholders.len() > PLACEHOLDERS_MAX {
        let why = "The vaults have more than 1,000 credentials, too many for an environment. Name fewer vaults.";
        return Err(Error::new(Code::ResourceExhausted).because(why));
    }
    Ok(placeholders)
}

/// The authority and Mozilla's roots in PKCS#12, as Java reads them.
async fn store(authority: String) -> Result<v1::EnvironmentFile> {
    // 150 certificates: others get a turn meanwhile.
    let made = tokio::task::spawn_blocking(move || {
        let own = CertificateDer::from_pem_slice(authority.as_bytes()).map_err(Error::internal)?;
        let mut store = KeyStore::new();
        let all = std::iter::once(&own).chain(webpki_root_certs::TLS_SERVER_ROOT_CERTS);
        for (at, der) in all.enumerate() {
            let certificate = Certificate::from_der(der).map_err(Error::internal)?;
            let entry = KeyStoreEntry::Certificate(certificate);
            store.add_entry(&format!("root-{at}"), entry);
        }
        let writer = store.writer(TRUST_STORE_PASSWORD);
        let writer = writer.encryption_iterations(STORE_ITERATIONS.into());
        let writer = writer.mac_iterations(STORE_ITERATIONS.into());
        writer.write().map_err(Error::internal)
    });
    let bytes = made.await.map_err(Error::internal)??;
    Ok(v1::EnvironmentFile {
        encoding: "base64".to_owned(),
        ..file(STORE, STANDARD.encode(bytes))
    })
}

fn file(path: &str, content: String) -> v1::EnvironmentFile {
    v1::EnvironmentFile {
        path: path.to_owned(),
        content,
        encoding: String::new(),
        mode: MODE.to_owned(),
    }
}
