//! Which candidates are moved: what the options say, and what a person answers.

use serde_json::Value;
use sortie_proto::credential::{VALUE_MAX, VALUE_MIN};

use super::Options;
use super::known::Candidate;
use super::place::File;
use crate::error::{Error, Result};
use crate::output;
use crate::verbs;

/// What would become of a candidate if nobody was asked.
pub(super) fn would(candidate: &Candidate, options: &Options) -> String {
    match why_not(candidate) {
        Some(why) => format!("left: {why}"),
        None if candidate.to.is_empty() => {
            format!("left: no destination known; --host {}=HOST", candidate.name)
        }
        None if options.yes => "would be moved".to_owned(),
        None => "would be asked for".to_owned(),
    }
}

fn why_not(candidate: &Candidate) -> Option<&'static str> {
    let length = candidate.value.len();
    if candidate.unsure.is_some() {
        candidate.unsure
    } else if length < VALUE_MIN {
        Some("too short to be told from text")
    } else if length > VALUE_MAX {
        Some("too long")
    } else {
        None
    }
}

/// A destination as people write it.
pub(super) fn place_text(place: &Value) -> String {
    let host = output::cell(place, "/host");
    let path = output::cell(place, "/path");
    match output::cell(place, "/port") {
        port if port.is_empty() => format!("{host}{path}"),
        port => format!("{host}:{port}{path}"),
    }
}

/// Why a candidate is left; none if it is to be moved.
///
/// # Errors
/// [`Error::Failed`] if the answers end, [`Error::Usage`] for a host that is none.
pub(super) fn decide(
    candidate: &mut Candidate,
    files: &[File],
    options: &Options,
    held: &[Value],
) -> Result<Option<String>> {
    if let Some(why) = why_not(candidate) {
        return Ok(Some(why.to_owned()));
    }
    let is_held = held
        .iter()
        .any(|it| output::cell(it, "/name") == candidate.name);
    if is_held && !options.choice.replace {
        let why = "the vault has one of this name; --replace gives it this value";
        return Ok(Some(why.to_owned()));
    }
    if options.yes {
        let is_lost = candidate.to.is_empty();
        return Ok(is_lost.then(|| format!("no destination known; --host {}=HOST", candidate.name)));
    }
    let spot = candidate.spots.first();
    let file = spot.and_then(|spot| spot.file).and_then(|at| files.get(at));
    let place = file.map_or_else(
        || "the environment".to_owned(),
        |file| file.path.display().to_string(),
    );
    output::complain(&format!(
        "{} ({} bytes, {place}, {})",
        candidate.name,
        candidate.value.len(),
        spot.map_or("", |spot| &spot.key),
    ));
    if candidate.to.is_empty() {
        let host = ask("  to which host may it be sent? HOST[:PORT], or nothing to leave it: ")?;
        if host.is_empty() {
            return Ok(Some("no destination".to_owned()));
        }
        candidate.to = vec![verbs::destination(&host).map_err(Error::Usage)?];
    }
    let to: Vec<_> = candidate.to.iter().map(place_text).collect();
    let answer = ask(&format!("  move it, for {}? [y/N] ", to.join(", ")))?;
    Ok((!matches!(answer.as_str(), "y" | "Y" | "yes")).then(|| "as you said".to_owned()))
}

fn ask(question: &str) -> Result<String> {
    output::prompt(question);
    let mut answer = String::new();
    let read = std::io::stdin()
        .read_line(&mut answer)
        .map_err(|source| Error::system("ask", source))?;
    if read == 0 {
        return Err(Error::failed(
            "nothing was changed",
            "Answer each question, or pass --yes.",
        ));
    }
    Ok(answer.trim().to_owned())
}
