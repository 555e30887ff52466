//! What the tools of known vendors need besides a placeholder in their variable: files in the place of those that would
//! hold a secret, and other variables. Pure.
//!
//! A file hides the user's own of the same tool, and that is meant: the user's own may hold a secret.
//! Deliberately not here: merging the two, and where what is held is asked for.

use super::{Bundle, PointsAt, StubFile, bundles};
use crate::host::HostPattern;

/// What some vaults hold, as far as the catalog asks.
#[derive(Debug, Default)]
pub struct Held<'a> {
    /// Name and placeholder of each credential. Of two with one name the first counts.
    pub credentials: Vec<(&'a str, &'a str)>,
    /// The hosts of the services that are switched on.
    pub hosts: Vec<&'a HostPattern>,
}

/// What an agent's tools get.
#[derive(Debug, Default)]
pub struct Tools {
    /// Files, by their place below the folder, with slashes. No two have the same.
    pub files: Vec<(String, String)>,
    /// Variables.
    pub variables: Vec<(String, String)>,
    /// Other variables in which tools look for a credential, with its placeholder: they replace a secret that is there.
    pub aliases: Vec<(String, String)>,
}

impl Tools {
    /// What the bundles ask for whose hosts and credentials are all held. Of two that want the same variable the first
    /// counts. What is in `keep` is left to the user. `folder` is where the agent sees the files.
    #[must_use]
    pub fn new(held: &Held<'_>, folder: &str, keep: &[String]) -> Self {
        let mut tools = Self::default();
        for bundle in bundles().iter().filter(|bundle| held.has(bundle)) {
            tools.add(bundle, held, folder, keep);
        }
        tools
    }

    fn add(&mut self, bundle: &Bundle, held: &Held<'_>, folder: &str, keep: &[String]) {
        let placeholder = |name: &str| held.placeholder(name).map(str::to_owned);
        let mut fresh = Vec::new();
        for (name, text) in &bundle.environment {
            fresh.extend(text.render(placeholder).map(|value| (name.clone(), value)));
        }
        for file in &bundle.files {
            let is_free = self.is_free(&file.variable, keep);
            if let Some(content) = file.content.render(placeholder).filter(|_| is_free) {
                fresh.push((file.variable.clone(), lead(file, folder)));
                self.files.push((file.path.clone(), content));
            }
        }
        // Two files of one bundle may share a variable that names their folder.
        for (name, value) in fresh {
            if self.is_free(&name, keep) {
                self.variables.push((name, value));
            }
        }
        for needed in &bundle.credentials {
            let value = placeholder(&needed.name).unwrap_or_default();
            let others = needed.variables.iter();
            self.aliases
                .extend(others.map(|name| (name.clone(), value.clone())));
        }
    }

    fn is_free(&self, variable: &str, keep: &[String]) -> bool {
        let is_kept = keep.iter().any(|kept| kept == variable);
        !is_kept && !self.variables.iter().any(|(name, _)| name == variable)
    }
}

impl Held<'_> {
    /// Whether all that a bundle consists of is held.
    fn has(&self, bundle: &Bundle) -> bool {
        let covers = |host: &HostPattern| self.hosts.contains(&host);
        let mut credentials = bundle.credentials.iter();
        credentials.all(|needed| self.placeholder(&needed.name).is_some())
            && bundle.services.iter().all(|entry| covers(&entry.host))
    }

    fn placeholder(&self, name: &str) -> Option<&str> {
        let mut all = self.credentials.iter();
        let found = all.find(|(credential, _)| *credential == name);
        found.map(|(_, placeholder)| *placeholder)
    }
}

/// What the variable of a file holds.
fn lead(file: &StubFile, folder: &str) -> String {
    let path = match (file.points_at, file.path.rsplit_once('/')) {
        (PointsAt::Folder, Some((above, _))) => above,
        (PointsAt::Folder, None) => return folder.to_owned(),
        (PointsAt::File, _) => &file.path,
    };
    format!("{folder}/{path}")
}

#[cfg(test)]
mod tests;
