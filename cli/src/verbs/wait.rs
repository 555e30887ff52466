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
    pub(super) fn done(&self, out: Output, revoked: &Value, sentence: &str) -> Result<()> {
        if self.wait.is_none() {
            return out.done(revoked, sentence);
        }
        let Some(enforcement) = revoked.get("enforcement").filter(|found| found.is_object()) else {
            out.done(revoked, sentence)?;
            return Err(Error::failed(
                "whether gateways enforce it is not known",
                "Ask again: to revoke twice changes nothing. Leases of gateways that do not hear of it end by themselves.",
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
                "A gateway that hears nothing from control stops by itself, the last one at {}. To revoke again waits again.",
                last.unwrap_or_default()
            ),
        ))
    }
}
