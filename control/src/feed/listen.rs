//! Keeps the log at the database's head: woken by `NOTIFY` and by this replica's own commits, and on a period.
//!
//! It takes no input: what woke it does not matter, it reads what is there. It also publishes what a writer committed
//! and could not publish itself.

use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_postgres::AsyncMessage;

use super::read::Log;
use super::sequence::Sequencer;
use super::signals::{self, Signals};
use crate::database::{Database, changes};
use crate::error::Result;
use crate::ready::Ready;

/// The period: how late a change is when `NOTIFY` fails.
const POLL: Duration = Duration::from_millis(250);
const RECONNECT: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
pub async fn run(
    database: Database,
    sequencer: Sequencer,
    log: Log,
    signals: Signals,
    ready: Ready,
) {
    let notified = Notify::new();
    tokio::join!(
        listen(&database, &signals, &notified),
        follow(&database, &sequencer, (&log, &ready), &notified)
    );
}

async fn follow(
    database: &Database,
    sequencer: &Sequencer,
    (log, ready): (&Log, &Ready),
    notified: &Notify,
) {
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = notified.notified() => {}
            () = sequencer.published() => {}
            _ = poll.tick() => {
                if let Err(error) = publish_leftovers(database, sequencer).await {
                    error.log("publishing what a writer left");
                }
            }
        }
        match log.pull().await {
            Ok(()) => ready.set_following(true),
            Err(error) => {
                ready.set_following(false);
                error.log("reading changes");
                sleep(POLL).await;
            }
        }
    }
}

async fn publish_leftovers(database: &Database, sequencer: &Sequencer) -> Result<()> {
    let tx = database.feed().await?;
    let waiting = changes::is_waiting(&tx).await?;
    tx.commit().await?;
    if waiting {
        sequencer.committed().await?;
    }
    Ok(())
}

/// Holds a connection that listens, and dials again when it ends.
async fn listen(database: &Database, signals: &Signals, notified: &Notify) {
    loop {
        if let Err(error) = listen_once(database, signals, notified).await {
            error.log("listening for changes");
        }
        sleep(RECONNECT).await;
    }
}

async fn listen_once(database: &Database, signals: &Signals, notified: &Notify) -> Result<()> {
    let (client, mut driver) = database.connector().connect().await?;
    let receive = async {
        while let Some(message) = poll_fn(|context| driver.poll_message(context)).await {
            if let AsyncMessage::Notification(told) = message?
                && !signals.take(told.channel(), told.payload())
            {
                notified.notify_one();
            }
        }
        Ok(())
    };
    let subscribe = async {
        for channel in signals::CHANNELS.into_iter().chain([changes::CHANNEL]) {
            client.batch_execute(&format!("LISTEN {channel}")).await?;
        }
        // What was published before the subscription is found by the poll.
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        ended = receive => ended,
        failed = subscribe => failed,
    }
}
