//! A stand-in for the sequencer.

use sortie_proto::revision::Revision;

use crate::database::Database;
use crate::error::Result;

/// Orders what was committed.
#[derive(Debug, Clone)]
pub struct Sequencer(pub Database);

impl Sequencer {
    /// Called after each commit that published.
    ///
    /// # Errors
    /// As the database's.
    pub async fn committed(&self) -> Result<Revision> {
        let tx = self.0.system().await?;
        let n: i64 = tx
            .query_one("SELECT count(*) FROM outbox", &[])
            .await?
            .try_get(0)?;
        Ok(Revision {
            epoch: 1,
            n: u64::try_from(n).unwrap_or_default(),
        })
    }
}
