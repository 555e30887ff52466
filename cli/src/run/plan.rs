//! All that is known before a command is started: the session that it will have, what it may trust, what it will find.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value as Json, json};
use sortie_proto::environment::Proxy;
use sortie_proto::secret::Secret;

use super::environment::{Composed, Inputs, Way, exposed, is_handed_into_container};
use super::origin::Sources;
use super::session::Wanted;
use super::tools::{self, Tools};
use super::trust::{AUTHORITY, BUNDLE, STORE, Trust};
use super::vault::Vaults;
use crate::config::{self, Context};
use crate::error::{Error, Result};
use crate::output::{Output, printable};

/// Where the gateway is, and what stays as it is.
#[derive(Debug, Default, Args)]
pub(crate) struct Place {
    /// The gateway [default: the profile's, or port 7380 of this machine]
    #[arg(long, env = "SORTIE_PROXY", value_name = "URL")]
    proxy: Option<String>,
    /// The authority of the gateway's certificate, for https:// [default: the system's roots]
    #[arg(long, env = "SORTIE_GATEWAY_CA", value_name = "FILE")]
    gateway_ca: Option<PathBuf>,
    /// The tenant's authority, in PEM [default: control is asked, or without a key the gateway]
    #[arg(long, env = "SORTIE_AUTHORITY", value_name = "FILE")]
    authority: Option<PathBuf>,
    /// Hand this variable on whatever it holds, and set nothing in its place; may be repeated
    #[arg(long, value_name = "NAME")]
    keep: Vec<String>,
}

impl Place {
    /// A gateway, and nothing else that was asked for.
    pub(crate) fn of_gateway(proxy: Option<String>, gateway_ca: Option<PathBuf>) -> Self {
        Self {
            proxy,
            gateway_ca,
            ..Self::default()
        }
    }
}

/// What will be done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What can be trusted.
    pub(crate) trust: Trust,
    proxy: Proxy,
    gateway_ca: Option<PathBuf>,
    vaults: Vaults,
    note: Option<String>,
    keep: Vec<String>,
    /// Whether the environment is for a container.
    in_container: bool,
}

/// What `--print` shows in the place of the private folder.
pub(crate) const FOLDER: &str = "FOLDER";

impl Plan {
    /// Asks for what a session needs, control or the gateway; mints and writes nothing.
    ///
    /// # Errors
    /// As calls of control and of the gateway's pages, and [`Error::Config`] for a gateway or a token that cannot be used.
    pub(crate) async fn make(wanted: &Wanted, place: Place, context: &Context) -> Result<Self> {
        let proxy = place.proxy.as_deref().unwrap_or(&context.proxy);
        let proxy = Proxy::parse(proxy).map_err(|error| Error::Config(error.to_string()))?;
        let sources = Sources {
            proxy: &proxy,
            gateway_ca: place.gateway_ca.as_deref(),
            authority: place.authority.as_deref(),
        };
        let origin = Box::pin(sources.ask(wanted, context)).await?;
        Ok(Self {
            trust: Trust::new(&origin.authority)?,
            vaults: origin.vaults,
            note: origin.note,
            proxy,
            gateway_ca: place.gateway_ca,
            keep: place.keep,
            in_container: false,
        })
    }

    /// The same for a command in a container, to which little of this machine's environment means anything.
    #[cfg(target_os = "linux")]
    pub(crate) fn for_container(self) -> Self {
        Self {
            in_container: true,
            ..self
        }
    }

    /// What the tools of known vendors get in a folder.
    pub(crate) fn tools(&self, folder: &str) -> Tools {
        tools::of(&self.vaults, folder, &self.keep)
    }

    /// The gateway.
    pub(crate) const fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The authority of the gateway's certificate.
    pub(crate) fn gateway_ca(&self) -> Option<&Path> {
        self.gateway_ca.as_deref()
    }

    /// Ports of the vaults' services.
    #[cfg(target_os = "linux")]
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        self.vaults.ports()
    }

    /// The way to the gateway itself.
    pub(crate) const fn direct<'a>(&'a self, token: &'a Secret) -> Way<'a> {
        Way {
            proxy: &self.proxy,
            password: Some(token),
        }
    }

    /// The environment, made from another one. `folder` is where the files are for those who find it.
    pub(crate) fn compose(
        &self,
        ours: impl IntoIterator<Item = (OsString, OsString)>,
        way: Way<'_>,
        (folder, tools): (&str, &Tools),
    ) -> Composed {
        let means_something = |(name, _): &(OsString, OsString)| {
            !self.in_container || is_handed_into_container(name, &self.keep)
        };
        Composed::new(
            ours.into_iter().filter(means_something),
            &Inputs {
                way,
                files: &Trust::files(folder),
                vaults: &self.vaults,
                tools,
                keep: &self.keep,
            },
        )
    }

    /// What a person should know about an environment, a line each.
    pub(crate) fn notes(&self, composed: &Composed) -> Vec<String> {
        let mut notes = composed.notes();
        notes.extend(self.note.clone());
        notes
    }

    /// Shows it, with words in the place of what is made later.
    ///
    /// # Errors
    /// As printing.
    pub(crate) fn print(
        &self,
        wanted: &Wanted,
        command: &[OsString],
        way: Way<'_>,
        context: &Context,
    ) -> Result<()> {
        let folder = FOLDER;
        let tools = self.tools(folder);
        let composed = self.compose(config::variables(), way, (folder, &tools));
        let files = [AUTHORITY, BUNDLE, STORE].into_iter();
        let shown = Shown {
            session: session(wanted),
            command: command
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            files: files
                .chain(tools.files.iter().map(|(path, _)| path.as_str()))
                .map(str::to_owned)
                .collect(),
            notes: self.notes(&composed),
            composed,
        };
        if context.out.is_json() {
            return context.out.done(&shown.json(), "");
        }
        shown.print(context.out);
        Ok(())
    }
}

fn session(wanted: &Wanted) -> Json {
    match wanted {
        Wanted::Given(session) => json!({
            "id": session.id,
            "vaults": session.vaults,
            "expires_at": session.ends,
        }),
        Wanted::Minted { body, .. } => body.clone(),
    }
}

/// A plan, as it is shown: its environment was made with a word in the place of the token.
struct Shown {
    session: Json,
    command: Vec<String>,
    files: Vec<String>,
    notes: Vec<String>,
    composed: Composed,
}

impl Shown {
    fn json(&self) -> Json {
        let set = self.composed.set.iter();
        let set: Map<_, _> = set
            .map(|(name, value)| (name.clone(), Json::from(exposed(value))))
            .collect();
        let removed: Vec<_> = self
            .composed
            .removed
            .iter()
            .map(|removed| json!({"name": removed.name, "why": removed.why.words()}))
            .collect();
        json!({
            "session": self.session,
            "command": self.command,
            "files": self.files,
            "set": set,
            "removed": removed,
            "no_proxy_dropped": self.composed.no_proxy_dropped,
        })
    }

    fn print(&self, out: Output) {
        let list = |title: &str, lines: &mut dyn Iterator<Item = String>| {
            for (at, line) in lines.enumerate() {
                if at == 0 {
                    out.line(&out.dim(title));
                }
                out.line(&format!("  {}", printable(&line, false)));
            }
        };
        list("session", &mut std::iter::once(self.session.to_string()));
        list("command", &mut std::iter::once(self.command.join(" ")));
        list(
            "files in FOLDER, which is private and goes when the command has ended",
            &mut self.files.iter().cloned(),
        );
        let set = self.composed.set.iter();
        list(
            "variables that are set; TOKEN, PASSWORD and port 0 are known when it starts",
            &mut set.map(|(name, value)| format!("{name}={}", exposed(value))),
        );
        let removed = self.composed.removed.iter();
        list(
            "variables that are left out",
            &mut removed.map(|removed| format!("{}: {}", removed.name, removed.why.words())),
        );
        for note in &self.notes {
            out.note(&format!("sortie: {note}"));
        }
    }
}
