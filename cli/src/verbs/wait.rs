//! `--wait`: until gateways enforce a revocation, and what is said of it.

use clap::Args;
use serde_json::{Value, json};

use crate::args;
use crate::error::{Error, Result};
use crate::output::{Column, Output, cell};

const MISSING: [Column; 3] = [
    ("MISSING", "/name"),
    ("ID", "/id"),
    ("SERVES NOTHING FROM", "/fenced_at"),
];

/// What it does to revoke the same once more, where the answer leaves it open whether all gateways enforce it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Again {
    /// A session: it is named by its id.
    Nothing,
    /// All sessions of somebody, or of something: also those since the first time.
    Sessions,
    /// A credential: also the value that it has got since.
    Value,
}

impl Again {
    const fn sentence(self) -> &'static str {
        match self {
            Self::Nothing => "To revoke again changes nothing, and waits again.",
            Self::Sessions => {
                "To revoke again waits again, and also ends the sessions that were minted meanwhile."
            }
            Self::Value => {
                "To revoke again waits again, and also erases a value that was set meanwhile."
            }
        }
    }
}

/// Whether to wait for gateways.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Wait until every gateway enforces it, at most so long: 1s to 20s, 10s if no time is given
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "10s",
        value_parser = args::seconds)]
    wait: Option<u32>,
}

impl Wait {
    /// What the call to control carries.
    pub(super) fn body(&self) -> Value {
        json!({ "wait_seconds": self.wait.unwrap_or_default() })
    }

    /// Says what was revoked, and where it holds.
    ///
    /// # Errors
    /// If it was waited for and not every gateway enforces it: a script must not go on as if.
    pub(super) fn done(
        &self,
        out: Output,
        revoked: &Value,
        (sentence, again): (&str, Again),
    ) -> Result<()> {
        let again = again.sentence();
        if self.wait.is_none() {
            return out.done(revoked, sentence);
        }
        let Some(enforcement) = revoked.get("enforcement").filter(|found| found.is_object()) else {
            out.done(revoked, sentence)?;
            return Err(Error::failed(
                "whether gateways enforce it is not known",
                format!("Leases of gateways that do not hear of it end by themselves. {again}"),
            ));
        };
        let number = |name: &str| enforcement.get(name).and_then(Value::as_u64);
        let number = |name: &str| number(name).unwrap_or_default();
        let (gateways, enforced) = (number("gateways"), number("enforced"));
        let told = match gateways {
            0 => format!("{sentence}: no gateway holds any of it"),
            _ => format!(
                "{sentence}: enforced on {enforced} of {gateways} gateways, slowest {} ms",
                number("slowest_millis")
            ),
        };
        out.done(revoked, &told)?;
        let missing = enforcement.get("missing").and_then(Value::as_array);
        let missing = missing.map_or(&[][..], Vec::as_slice);
        if missing.is_empty() {
            return Ok(());
        }
        if !out.is_json() {
            out.list(missing, &MISSING)?;
        }
        let last = missing.iter().map(|one| cell(one, "/fenced_at")).max();
        Err(Error::failed(
            format!("{} of {gateways} gateways did not answer", missing.len()),
            format!(
                "A gateway that hears nothing from control stops by itself, the last one at {}. {again}",
                last.unwrap_or_default()
            ),
        ))
    }
}

#[cfg(test)]
mod tests;
