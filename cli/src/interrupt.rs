//! Being asked to stop: Ctrl-C, SIGTERM, or the terminal that goes away.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// Catches the signals for as long as the program runs; each call of [`Stop::asked`] waits for the next one.
#[derive(Debug)]
pub(crate) struct Stop([Signal; 3]);

impl Stop {
    /// From here on a signal no longer ends the program by itself.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(crate) fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).map_err(|source| Error::system("catch signals", source));
        Ok(Self([
            catch(SignalKind::interrupt())?,
            catch(SignalKind::terminate())?,
            catch(SignalKind::hangup())?,
        ]))
    }

    /// Waits until one comes.
    pub(crate) async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
