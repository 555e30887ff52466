//! `sortie audit`.

use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;

use super::watch::{self, Watch};
use super::{Limit, in_tenant};
use crate::args;
use crate::config::Context;
use crate::error::Result;
use crate::output::Column;

pub(super) const EXAMPLE: &str = "\
Example:
  sortie audit list --vault payments --since 1h";

const COLUMNS: [Column; 8] = [
    ("AT", "/at"),
    ("KIND", "/kind"),
    ("ACTION", "/action"),
    ("METHOD", "/method"),
    ("URL", "/url"),
    ("CREDENTIALS", "/credentials"),
    ("OUTCOME", "/outcome"),
    ("STATUS", "/status"),
];

const LIST_EXAMPLE: &str = "\
Examples:
  sortie audit list --since 1h --kind request --limit 20
  sortie audit list --watch --limit 5

--watch shows the newest entries, the oldest of them first, and then those that come.";

/// Which entries.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// Requests of agents
    Request,
    /// Acts of admins
    Admin,
}

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// List entries
    #[command(after_help = LIST_EXAMPLE)]
    List {
        /// Only this vault's
        #[arg(long)]
        vault: Option<String>,
        /// Only this session's
        #[arg(long)]
        session: Option<String>,
        /// From then: RFC 3339, or how long ago (15m, 12h, 7d)
        #[arg(long, value_parser = moment, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Until then: RFC 3339, or how long ago
        #[arg(long, value_parser = moment, value_name = "TIME")]
        until: Option<Timestamp>,
        /// Only this kind
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        #[command(flatten)]
        watch: Watch,
        #[command(flatten)]
        limit: Limit,
    },
}

pub(super) async fn run(act: Act, context: &Context) -> Result<()> {
    let Act::List {
        vault,
        session,
        since,
        until,
        kind,
        watch,
        limit,
    } = act;
    let kind = kind.map_or("", |kind| match kind {
        Kind::Request => "request",
        Kind::Admin => "admin",
    });
    let text = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let filter = [
        ("vault", vault.unwrap_or_default()),
        ("session", session.unwrap_or_default()),
        ("until", text(until)),
        ("kind", kind.to_owned()),
    ];
    let path = in_tenant(context, &["audit"]);
    let ask = async |count: usize, from: Option<Timestamp>| {
        let mut filter = filter.to_vec();
        filter.push(("since", text(since.max(from))));
        context.client.list(&path, "entries", &filter, count).await
    };
    if watch.is_on() {
        return watch::log(limit.limit, &COLUMNS, context, ask).await;
    }
    context.out.list(&ask(limit.limit, None).await?, &COLUMNS)
}

pub(super) fn moment(text: &str) -> std::result::Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = args::seconds(text)?;
    Timestamp::now()
        .checked_sub(jiff::SignedDuration::from_secs(ago.into()))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
