//! Where the values of credentials come from when a bundle is added: files, standard input, or a prompt.

use std::path::PathBuf;

use sortie_proto::catalog::Needed;
use sortie_proto::secret::Secret;

use crate::error::{Error, Result};
use crate::verbs::credential;

/// The files that values are read from: with a name each, or one for the one credential that is asked for.
#[derive(Debug)]
pub(super) struct Files {
    named: Vec<(String, PathBuf)>,
    pub(super) alone: Option<PathBuf>,
    used: std::cell::RefCell<Vec<PathBuf>>,
}

impl Files {
    /// Reads the arguments.
    ///
    /// # Errors
    /// [`Error::Usage`] for several files without names.
    pub(super) fn read(arguments: &[String]) -> Result<Self> {
        let mut files = Self {
            named: Vec::new(),
            alone: None,
            used: std::cell::RefCell::default(),
        };
        for argument in arguments {
            let named = argument.split_once('=');
            let named = named.filter(|(name, _)| sortie_proto::service::is_name(name));
            match named {
                Some((name, path)) => files.named.push((name.to_owned(), path.into())),
                None if files.alone.is_none() => files.alone = Some(argument.into()),
                None => {
                    return Err(Error::Usage(
                        "several files need names: --credential-file NAME=FILE".to_owned(),
                    ));
                }
            }
        }
        Ok(files)
    }

    /// Whether there is a file for a credential by name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.named.iter().any(|(known, _)| known == name)
    }

    /// The value of a credential. Standard input without a terminal holds one value, so it serves one credential.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub(super) fn value(&self, needed: &Needed, is_one: bool) -> Result<Secret> {
        use std::io::IsTerminal as _;

        let named = self.named.iter().find(|(name, _)| *name == needed.name);
        let file = named.map(|(_, path)| path);
        if let Some(path) = file.or_else(|| self.alone.as_ref().filter(|_| is_one)) {
            self.used.borrow_mut().push(path.clone());
            return credential::read_file(path);
        }
        if !is_one && !std::io::stdin().is_terminal() {
            return Err(Error::Usage(format!(
                "several credentials are needed, and there is no terminal to ask: --credential-file {}=FILE",
                needed.name
            )));
        }
        if std::io::stdin().is_terminal() {
            crate::output::complain(&format!("{}: get one at {}", needed.name, needed.obtain));
        }
        credential::read_value(&needed.name, false)
    }

    /// A file that served nobody was meant for something that is not here.
    ///
    /// # Errors
    /// [`Error::Failed`] names it.
    pub(super) fn all_used(&self) -> Result<()> {
        let used = self.used.borrow();
        let named = self.named.iter().map(|(_, path)| path);
        match named.chain(&self.alone).find(|path| !used.contains(path)) {
            None => Ok(()),
            Some(path) => Err(Error::failed(
                format!("no credential was read from {}", path.display()),
                "The vault has it already (--renew gives it a new value), or several are needed: write NAME=FILE.",
            )),
        }
    }
}
