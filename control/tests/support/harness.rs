//! One private PostgreSQL for the process, one database a test, and a gateway that speaks the wire.

#![expect(
    unreachable_pub,
    reason = "shared by the test binaries, none of which is a library"
)]

mod gateway;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sortie_control::api::State;
use sortie_control::config::Config;
use sortie_control::database::private::{Binaries, Cluster};
use sortie_control::database::{Connector, Database, changes, migrate};
use sortie_control::fleet::Fleet;
use sortie_control::metrics::Metrics;
use sortie_control::seal::Keys;
use sortie_control::server::Server;
use sortie_proto::agent::{Revocation, RevokedSubject};
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::id::{AgentId, DecisionId, SessionId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::token::{Claims, VaultClaim};
use sortie_proto::wire::v1;
use tokio::sync::OnceCell;

pub use gateway::{Gateway, beat};

/// A folder that the database's unprivileged user can reach.
pub fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o711)).unwrap();
    dir
}

/// The process's cluster. It is never dropped: its supervisor stops it when the process ends.
async fn cluster() -> &'static (Cluster, PathBuf) {
    static CLUSTER: OnceCell<(Cluster, PathBuf)> = OnceCell::const_new();
    CLUSTER
        .get_or_init(async || {
            let dir = own_folder();
            let binaries = Binaries::find(&[]).unwrap();
            let cluster = Cluster::start(&dir, &binaries).await.unwrap();
            migrate::run(&Connector::new(&cluster.url(), None).unwrap())
                .await
                .unwrap();
            (cluster, dir)
        })
        .await
}

/// A folder named after this process, for nothing is run when a test process ends: those of processes that are gone
/// are removed here.
fn own_folder() -> PathBuf {
    const PREFIX: &str = "sortie-test-";
    let parent = std::env::temp_dir();
    for entry in std::fs::read_dir(&parent).unwrap().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.parse::<i32>().ok());
        let gone = |pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err();
        if pid.is_some_and(gone) {
            // Another test process may be removing it too.
            let _removed = std::fs::remove_dir_all(entry.path());
        }
    }
    let own = parent.join(format!("{PREFIX}{}", std::process::id()));
    std::fs::create_dir_all(&own).unwrap();
    own
}

/// An empty database from the migrated template; answers its connection string.
async fn fresh() -> String {
    // PostgreSQL copies a template only while nobody is connected to it.
    static ONE_AT_A_TIME: tokio::sync::Mutex<u32> = tokio::sync::Mutex::const_new(0);
    let (cluster, _) = cluster().await;
    let mut made = ONE_AT_A_TIME.lock().await;
    *made += 1;
    let name = format!("test_{made}");
    cluster
        .administer(&format!("CREATE DATABASE {name} TEMPLATE sortie"))
        .await
        .unwrap();
    cluster.url_of(&name)
}

/// A database without a server over it.
pub struct Harness {
    pub database: Database,
    pub dir: PathBuf,
    _folder: tempfile::TempDir,
}

impl Harness {
    pub async fn bare() -> Self {
        let url = fresh().await;
        let database =
            Database::new(Connector::new(&url, None).unwrap(), 12, Metrics::new()).unwrap();
        let folder = folder();
        let harness = Self {
            database,
            dir: folder.path().to_owned(),
            _folder: folder,
        };
        drop(harness.keys().await);
        harness
    }

    pub async fn keys(&self) -> Keys {
        Keys::open(&self.database, &self.dir).await.unwrap()
    }
}

/// A running control plane with a tenant, a vault, an agent and a session.
pub struct Fixture {
    server: Server,
    pub tenant: TenantId,
    pub vault: VaultId,
    agent: AgentId,
    session: SessionId,
    _folder: tempfile::TempDir,
}

impl Fixture {
    pub async fn start() -> Self {
        let folder = folder();
        let server = Server::start(config(folder.path(), &fresh().await))
            .await
            .unwrap();
        let fixture = Self {
            server,
            tenant: TenantId::generate(),
            vault: VaultId::generate(),
            agent: AgentId::generate(),
            session: SessionId::generate(),
            _folder: folder,
        };
        fixture.populate().await;
        fixture
    }

    async fn populate(&self) {
        let (tenant, vault, agent) = (self.tenant.uuid(), self.vault.uuid(), self.agent.uuid());
        let tx = self.database().system().await.unwrap();
        tx.execute(
            "INSERT INTO tenants (id, name) VALUES ($1, 'acme')",
            &[&tenant],
        )
        .await
        .unwrap();
        tx.execute(
            "INSERT INTO vaults (id, tenant_id, name) VALUES ($1, $2, 'main')",
            &[&vault, &tenant],
        )
        .await
        .unwrap();
        tx.execute(
            "INSERT INTO agents (id, tenant_id, name, key_hash) VALUES ($1, $2, 'ci', $3)",
            &[&agent, &tenant, &[7_u8; 32].as_slice()],
        )
        .await
        .unwrap();
        tx.execute(
            "INSERT INTO sessions (id, tenant_id, agent_id, vaults, expires_at) VALUES ($1, $2, $3, $4, now() + interval '1 hour')",
            &[&self.session.uuid(), &tenant, &agent, &vec![vault]],
        )
        .await
        .unwrap();
        self.state()
            .keys
            .create_tenant(&tx, self.tenant)
            .await
            .unwrap();
        self.state()
            .keys
            .create_vault(&tx, self.tenant, self.vault)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    pub fn state(&self) -> &State {
        self.server.state()
    }

    pub fn fleet(&self) -> &Fleet {
        &self.server.state().fleet
    }

    pub fn database(&self) -> &Database {
        &self.server.state().database
    }

    /// A token of the session, for a vault.
    pub async fn mint(&self, vault: VaultId) -> String {
        let now = jiff::Timestamp::now().as_second();
        let claims = Claims {
            epoch: 1,
            tenant: self.tenant,
            tenant_generation: 0,
            session: self.session,
            agent: self.agent,
            agent_generation: 0,
            vaults: vec![VaultClaim {
                id: vault,
                name: "main".to_owned(),
                generation: 0,
            }],
            user: None,
            labels: std::collections::BTreeMap::new(),
            parent: None,
            scope: vec![],
            source: None,
            iat: now,
            exp: now + 3_600,
        };
        let token = self
            .state()
            .keys
            .signer()
            .await
            .unwrap()
            .mint(&claims)
            .unwrap();
        String::from_utf8(token.expose().to_vec()).unwrap()
    }

    pub async fn enrol(&self, name: &str) -> Gateway {
        let tx = self.database().system().await.unwrap();
        let join = self
            .fleet()
            .create_join(&tx, name, Duration::from_secs(60))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        Gateway::enrol(
            self.server.feed(),
            std::str::from_utf8(join.expose()).unwrap(),
        )
        .await
    }

    pub async fn publish(&self, vault: Option<VaultId>, tombstone: Tombstone) -> Revision {
        let tx = self.database().tenant(self.tenant).await.unwrap();
        changes::publish(&tx, Some(self.tenant), vault, &Object::Tombstone(tombstone))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.state().sequencer.committed().await.unwrap()
    }

    pub async fn revoke(&self, session: SessionId) -> Revision {
        let revocation = Revocation {
            tenant: self.tenant,
            subject: RevokedSubject::Session(session),
            expires_at: jiff::Timestamp::now().as_second() + 60,
        };
        let tx = self.database().tenant(self.tenant).await.unwrap();
        changes::revoke(&tx, &revocation).await.unwrap();
        tx.commit().await.unwrap();
        self.state().sequencer.committed().await.unwrap()
    }

    /// Marks the session revoked.
    pub async fn revoke_row(&self) {
        let tx = self.database().system().await.unwrap();
        tx.execute(
            "UPDATE sessions SET revoked_at = now() WHERE id = $1",
            &[&self.session.uuid()],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn count(&self, table: &str) -> i64 {
        let tx = self.database().system().await.unwrap();
        tx.query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await
            .unwrap()
            .get(0)
    }

    pub async fn acts(&self, action: &str) -> i64 {
        let tx = self.database().system().await.unwrap();
        tx.query_one(
            "SELECT count(*) FROM audit_acts WHERE action = $1",
            &[&action],
        )
        .await
        .unwrap()
        .get(0)
    }

    pub async fn wait_until(&self, what: &str, done: impl AsyncFn() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !done().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain for {what}");
    }

    pub async fn stop(self) {
        self.server.stop().await;
    }
}

fn config(dir: &Path, url: &str) -> Config {
    let settings = [
        ("DATA_DIR", dir.to_str().unwrap()),
        ("DATABASE_URL", url),
        ("DATABASE_CONNECTIONS", "8"),
        ("API__LISTEN", "127.0.0.1:0"),
        ("FEED__LISTEN", "127.0.0.1:0"),
        ("ADMIN__LISTEN", "127.0.0.1:0"),
    ];
    let environment =
        settings.map(|(name, value)| (format!("SORTIE_CONTROL__{name}"), value.to_owned()));
    Config::from_layers(None, environment.into_iter()).unwrap()
}

/// A well-formed record of a use.
pub fn use_record(fixture: &Fixture, n: u64) -> v1::Record {
    let event = v1::Use {
        decision_id: DecisionId::generate().to_bytes(),
        at_micros: 1_700_000_000_000_000 + i64::try_from(n).unwrap(),
        tenant_id: fixture.tenant.to_bytes(),
        vault_id: fixture.vault.to_bytes(),
        session_id: fixture.session.to_bytes(),
        agent_id: fixture.agent.to_bytes(),
        service: "github".to_owned(),
        credentials: vec![v1::CredentialUse {
            name: "TOKEN".to_owned(),
            version: 2,
        }],
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        host: "api.github.com".to_owned(),
        port: 443,
        path: "/user".to_owned(),
        outcome: v1::Outcome::Brokered.into(),
        ..v1::Use::default()
    };
    v1::Record {
        event: Some(v1::record::Event::Use(event)),
    }
}
