//! What the tools of known vendors need besides a placeholder in their variable: files in the place of those that would
//! hold a secret, and other variables. Pure.
//!
//! A file hides the user's own of the same tool, and that is meant: the user's own may hold a secret.
//! Deliberately not here: merging the two.

use sortie_proto::catalog::{self, Bundle, PointsAt, StubFile};
use sortie_proto::host::HostPattern;

use super::trust::Folder;
use super::vault::Vaults;
use crate::error::Result;

/// What a command's tools get.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    /// Files, by their place below the folder.
    pub(crate) files: Vec<(String, String)>,
    /// Variables.
    pub(crate) variables: Vec<(String, String)>,
    /// Other variables in which tools look for a credential, with its placeholder: they replace a secret that is there.
    pub(crate) aliases: Vec<(String, String)>,
}

impl Tools {
    /// What the bundles ask for whose hosts and credentials are all in the vaults. Of two that want the same variable
    /// the first counts. What is in `keep` is left to the user.
    pub(crate) fn new(vaults: &Vaults, folder: &str, keep: &[String]) -> Self {
        let mut tools = Self::default();
        let bundles = catalog::bundles();
        for bundle in bundles.iter().filter(|bundle| is_held(bundle, vaults)) {
            tools.add(bundle, vaults, folder, keep);
        }
        tools
    }

    fn add(&mut self, bundle: &Bundle, vaults: &Vaults, folder: &str, keep: &[String]) {
        let placeholder = |name: &str| placeholder(vaults, name);
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

    /// Writes the files.
    ///
    /// # Errors
    /// As [`Folder::put`].
    pub(crate) fn write(&self, folder: &Folder) -> Result<()> {
        let mut files = self.files.iter();
        files.try_for_each(|(path, content)| folder.put(path, content.as_bytes()))
    }
}

/// Whether all that a bundle consists of stands in the vaults.
fn is_held(bundle: &Bundle, vaults: &Vaults) -> bool {
    let covers = |host: &HostPattern| {
        let mut on = vaults.services.iter().filter(|service| service.enabled);
        on.any(|service| service.host == *host)
    };
    let mut credentials = bundle.credentials.iter();
    credentials.all(|needed| placeholder(vaults, &needed.name).is_some())
        && bundle.services.iter().all(|entry| covers(&entry.host))
}

fn placeholder(vaults: &Vaults, name: &str) -> Option<String> {
    let mut all = vaults.credentials.iter();
    let found = all.find(|credential| credential.name == name);
    found.map(|credential| credential.placeholder.clone())
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
