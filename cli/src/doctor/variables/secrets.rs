//! Variables that hold a real secret, by the shapes that `run` knows: it would have left them out.

use sortie_proto::environment;

use super::super::environment::Environment;
use super::super::finding::Finding;
use crate::run::shape::secret_kind;

/// The names of variables that hold one, never a value. The session in the proxy's URL is where it belongs.
pub(super) fn check(environment: &Environment) -> Finding {
    let found: Vec<_> = environment
        .iter()
        .filter(|(name, value)| !environment::sets(name) && !holds_placeholder(value))
        .filter_map(|(name, value)| Some((name, secret_kind(name, value)?)))
        .collect();
    if found.is_empty() {
        return Finding::ok("secrets", "no variable has the shape of a known secret");
    }
    let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
    let told: Vec<_> = found
        .iter()
        .map(|(name, kind)| format!("{name} ({kind})"))
        .collect();
    Finding::warning(
        "secrets",
        format!("look like real secrets: {}", told.join(", ")),
        format!("unset {}", names.join(" ")),
    )
}

/// Whether a placeholder stands in it, `__NAME__`, however it is dressed up for an SDK.
fn holds_placeholder(value: &str) -> bool {
    let name = |text: &str| {
        let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        text.contains(|c: char| c.is_ascii_uppercase()) && text.chars().all(is_part)
    };
    value.split("__").skip(1).any(name) && value.matches("__").count() > 1
}
