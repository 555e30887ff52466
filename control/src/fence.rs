//! The fence: what is known outside the database about how far it has come, so that a restored backup is noticed.
//!
//! A backup has forgotten what was revoked since. So control writes the cluster's position beside the database, now and
//! then, and does not start on one that is behind it. [`restore`] says that the restore is meant: it raises the epoch,
//! which ends every token that was ever given out. **Invariant:** a mark is written only of what the database has
//! committed, and never goes back. Not here: gateways are witnesses too, see
//! [`fleet::witness`](crate::fleet::witness).

pub mod file;
pub mod restore;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sortie_proto::revision::Revision;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::database::{Connector, Floor, cluster};
use crate::tasks::Tasks;

/// How often the mark is written, if the position has moved.
const PERIOD: Duration = Duration::from_secs(5);

/// How far a cluster has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which cluster.
    pub cluster: Uuid,
    /// The epoch of its last revision.
    pub epoch: u64,
    /// The number of its last revision in that epoch, when it was last looked at.
    pub n: u64,
}

impl Mark {
    fn position(self) -> Revision {
        Revision {
            epoch: self.epoch,
            n: self.n,
        }
    }
}

/// Where a mark is kept, outside the database: a file on one node; a cluster may have something that its replicas share.
/// Its calls may block.
pub trait Fence: fmt::Debug + Send + Sync {
    /// The mark; `None` where none was ever written.
    ///
    /// # Errors
    /// When it cannot be read: then it is not known how far the cluster has come.
    fn read(&self) -> Result<Option<Mark>, Error>;

    /// Writes a mark, durably, unless the one that is there is further: that one stays.
    ///
    /// # Errors
    /// When it cannot be written.
    fn raise(&self, mark: Mark) -> Result<(), Error>;

    /// How an operator finds it.
    fn place(&self) -> String;
}

/// Why control does not start, or a mark is not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be used.
    #[error("cannot use the fence {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error(
        "the fence {0} cannot be read: put the file back as it was, or run `sortie-control restore --fence \
         --epoch N`"
    )]
    Malformed(PathBuf),
    /// There is none, or none that can be read, where the epoch is to be raised above it.
    #[error(
        "{0} is not there or cannot be read, so it is not known which epochs were used, and tokens of one that comes \
         again would be good again. Run this where a control has it, or name an epoch that was never used: `--epoch N`, \
         higher than any in the audit log's `cluster.fence`, also of what came after the backup. If in doubt, add 1000"
    )]
    Missing(String),
    /// The database is older than what was seen of it.
    #[error(
        "the database is at {found}, and {place} has seen {seen}: it was restored from a backup, which has forgotten \
         what was revoked since. If that is meant, stop every control and run `sortie-control restore --fence`: it ends \
         every session. If not, put the right database back"
    )]
    Behind {
        /// Where the database is.
        found: Revision,
        /// Where it was.
        seen: Revision,
        /// The fence.
        place: String,
    },
    /// The database is empty, or another cluster's.
    #[error(
        "{0} belongs to another cluster than the database, or the database is empty: put the right database back, or, to \
         begin anew, start in an empty data_dir"
    )]
    OtherCluster(String),
    /// The database failed.
    #[error("the position of the cluster cannot be read from the database")]
    Database(#[from] crate::error::Error),
    /// Writing did not come to an end.
    #[error("the fence was not written")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Refuses a database that is behind the fence. Called before anything is made in it, migrations too.
///
/// # Errors
/// [`Error`] says what to do.
pub async fn check(fence: &dyn Fence, connector: &Connector) -> Result<(), Error> {
    let Some(mark) = fence.read()? else {
        return Ok(());
    };
    let position = cluster::position(connector).await?;
    let Some((_, found)) = position.filter(|(cluster, _)| *cluster == mark.cluster) else {
        return Err(Error::OtherCluster(fence.place()));
    };
    if found < mark.position() {
        return Err(Error::Behind {
            found,
            seen: mark.position(),
            place: fence.place(),
        });
    }
    Ok(())
}

/// Writes a position, in a thread that may block.
async fn raise(fence: &Arc<dyn Fence>, cluster: Uuid, at: Revision) -> Result<(), Error> {
    let fence = Arc::clone(fence);
    let mark = Mark {
        cluster,
        epoch: at.epoch,
        n: at.n,
    };
    tokio::task::spawn_blocking(move || fence.raise(mark)).await?
}

/// Writes the position, and keeps the fence near what this replica has seen until the process stops.
///
/// # Errors
/// When it cannot be written.
pub async fn keep(
    fence: Arc<dyn Fence>,
    cluster: Uuid,
    floor: &Floor,
    tasks: &Tasks,
) -> Result<(), Error> {
    raise(&fence, cluster, floor.seen()).await?;
    tasks.spawn_until_stop("fence", follow(fence, cluster, floor.clone()));
    Ok(())
}

async fn follow(fence: Arc<dyn Fence>, cluster: Uuid, floor: Floor) {
    let mut written = Revision::default();
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let at = floor.seen();
        if at == written {
            continue;
        }
        match raise(&fence, cluster, at).await {
            Ok(()) => written = at,
            Err(error) => {
                tracing::error!(error = %crate::error::Chain(&error), "the fence was not written: a restored backup may go unnoticed");
            }
        }
    }
}
