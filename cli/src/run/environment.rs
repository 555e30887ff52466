//! The command's environment: ours, without secrets and what would lead past the gateway, and with what it needs. Pure.
//!
//! Invariants: nothing named `SORTIE_…` reaches the command, since keys are named so. A placeholder never replaces a
//! variable that programs steer by (`PATH`, `LD_…`, the proxy's own). What is said about a removed variable is its name
//! and its kind, never its value.

use std::ffi::{OsStr, OsString};

use sortie_proto::environment::{self, Files, JAVA_OPTIONS, NoProxy, Proxy, Surroundings, Value};
use sortie_proto::secret::Secret;

use super::tools::Tools;
use super::vault::Vaults;
use super::{git, shape};

/// How a command reaches the gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    /// The gateway itself, or what stands in front of it.
    pub(crate) proxy: &'a Proxy,
    /// What it asks for: the session's token, for the gateway.
    pub(crate) password: Option<&'a Secret>,
}

/// What the environment is made from.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    /// The way to the gateway.
    pub(crate) way: Way<'a>,
    /// The certificates.
    pub(crate) files: &'a Files,
    /// Placeholders, and the hosts that are brokered.
    pub(crate) vaults: &'a Vaults,
    /// What tools of known vendors need.
    pub(crate) tools: &'a Tools,
    /// Names of variables that stay, whatever they hold.
    pub(crate) keep: &'a [String],
}

/// An environment, and what became of the one that it was made from.
#[derive(Debug, Default)]
pub(crate) struct Composed {
    /// What stays as it was.
    pub(crate) inherited: Vec<(OsString, OsString)>,
    /// What is set.
    pub(crate) set: Vec<(String, Value)>,
    /// What is not handed on.
    pub(crate) removed: Vec<Removed>,
    /// Entries of `NO_PROXY` that would have led brokered hosts past the gateway.
    pub(crate) no_proxy_dropped: Vec<String>,
}

/// A variable that is not handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) name: String,
    pub(crate) why: Why,
}

/// Why a variable is not handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It looks like this kind of secret, and no placeholder stands for it.
    Secret(&'static str),
    /// It names another proxy, or what a tool leaves out of proxying.
    Proxy,
    /// SSH goes past the gateway with the keys of the agent.
    Ssh,
}

impl Why {
    /// In a few words.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Secret(kind) => format!("looks like {kind}"),
            Self::Proxy => "would lead past the gateway".to_owned(),
            Self::Ssh => "git goes over HTTPS".to_owned(),
        }
    }
}

/// Settings of tools that come before the variables of the proxy. Compared without regard to case, as npm does.
pub(crate) const OTHER_PROXIES: [&str; 9] = [
    "npm_config_proxy",
    "npm_config_https_proxy",
    "npm_config_noproxy",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
    "CARGO_HTTP_PROXY",
    "PIP_PROXY",
    "CLOUDSDK_PROXY_ADDRESS",
    "CGI_HTTP_PROXY",
];

/// What a command in a container may need to know of the terminal and the person. The rest of the environment speaks of
/// this machine: its programs, its folders.
const OF_A_PERSON: [&str; 11] = [
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "LANG",
    "LANGUAGE",
    "TZ",
    "CI",
    "USER",
    "LOGNAME",
];

/// Whether a variable of this machine means something in a container.
pub(crate) fn is_handed_into_container(name: &OsStr, keep: &[String]) -> bool {
    name.to_str().is_some_and(|name| {
        OF_A_PERSON.contains(&name)
            || name.starts_with("LC_")
            || keep.iter().any(|kept| kept == name)
    })
}

impl Composed {
    /// Makes the command's environment from ours.
    pub(crate) fn new(
        ours: impl IntoIterator<Item = (OsString, OsString)>,
        inputs: &Inputs<'_>,
    ) -> Self {
        let mut made = Self::default();
        let mut no_proxy = Vec::new();
        let mut java = String::new();
        for (name, value) in ours {
            let (text, held) = (name.to_string_lossy(), value.to_string_lossy());
            if text.eq_ignore_ascii_case("NO_PROXY") {
                no_proxy.push(held.into_owned());
            } else if text == JAVA_OPTIONS {
                java = held.into_owned();
            } else if environment::is_ours(&text) || environment::sets(&text) {
                // Set below, or nobody's business.
            } else if let Some(why) = why_removed(&text, &held, inputs) {
                let name = text.into_owned();
                made.removed.push(Removed { name, why });
            } else {
                made.inherited.push((name, value));
            }
        }
        let no_proxy = NoProxy::merge(no_proxy.iter().map(String::as_str), &inputs.vaults.hosts());
        made.no_proxy_dropped = no_proxy.dropped().to_vec();
        made.set_placeholders(inputs);
        made.set_aliases(inputs);
        made.set_tools(inputs);
        made.set_surroundings(inputs, &no_proxy, &java);
        made.inherited
            .retain(|(name, _)| !made.set.iter().any(|(other, _)| is_same(name, other)));
        made
    }

    fn set_placeholders(&mut self, inputs: &Inputs<'_>) {
        for credential in &inputs.vaults.credentials {
            let name = &credential.name;
            let taken = self.inherits(name) && environment::is_shell(name);
            let refused = environment::is_ours(name)
                || environment::sets(name)
                || environment::steers(name)
                || taken;
            if !refused && !inputs.keep.contains(name) {
                self.put(name.clone(), credential.placeholder.clone());
            }
        }
    }

    /// A secret under another name that the same tools read.
    fn set_aliases(&mut self, inputs: &Inputs<'_>) {
        for (name, placeholder) in &inputs.tools.aliases {
            let was_removed = self.removed.iter().any(|removed| removed.name == *name);
            let is_there = was_removed || self.inherits(name);
            let is_set = self.set.iter().any(|(other, _)| other == name);
            if is_there && !is_set && !inputs.keep.contains(name) {
                self.put(name.clone(), placeholder.clone());
            }
        }
    }

    fn set_tools(&mut self, inputs: &Inputs<'_>) {
        let theirs = |name: &str| {
            let mut all = self.inherited.iter();
            let found = all.find(|(other, _)| other == name);
            found.map(|(_, value)| value.to_string_lossy().into_owned())
        };
        let git = git::variables(&inputs.vaults.services, theirs);
        for (name, value) in inputs.tools.variables.iter().cloned().chain(git) {
            self.put(name, value);
        }
    }

    fn put(&mut self, name: String, value: String) {
        // What stood there was replaced, not removed.
        self.removed.retain(|removed| removed.name != name);
        self.set.retain(|(other, _)| *other != name);
        self.set.push((name, Value::Plain(value)));
    }

    fn set_surroundings(&mut self, inputs: &Inputs<'_>, no_proxy: &NoProxy, java: &str) {
        let around = Surroundings {
            proxy: inputs.way.proxy,
            password: inputs.way.password,
            files: inputs.files,
            no_proxy,
        };
        for variable in environment::variables(&around) {
            let value = match variable.value {
                // Of two options the later one counts; the user's others stay. A shell may have ours from before.
                Value::Plain(ours) if variable.name == JAVA_OPTIONS && !java.is_empty() => {
                    let before = java.trim_end_matches(&ours).trim_end();
                    Value::Plain(format!("{before} {ours}").trim_start().to_owned())
                }
                value @ (Value::Plain(_) | Value::Secret(_)) => value,
            };
            self.set.push((variable.name.to_owned(), value));
        }
    }

    fn inherits(&self, name: &str) -> bool {
        self.inherited.iter().any(|(other, _)| other == name)
    }

    /// The whole environment.
    pub(crate) fn all(&self) -> impl Iterator<Item = (OsString, OsString)> {
        let set = self.set.iter().map(|(name, value)| {
            let text = exposed(value);
            (name.into(), text.into())
        });
        self.inherited.iter().cloned().chain(set)
    }

    /// What a person should know, a line each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for Removed { name, why } in &self.removed {
            if let Why::Secret(kind) = why {
                notes.push(format!(
                    "{name} looks like {kind} and is left out; --keep {name} hands it on"
                ));
            }
        }
        if !self.no_proxy_dropped.is_empty() {
            notes.push(format!(
                "NO_PROXY without {}: brokered hosts are reached through the gateway",
                self.no_proxy_dropped.join(", ")
            ));
        }
        notes
    }
}

/// The text of a value, secret or not: for the command's environment, and for what `sortie env` prints.
pub(crate) fn exposed(value: &Value) -> String {
    match value {
        Value::Plain(text) => text.clone(),
        Value::Secret(secret) => String::from_utf8_lossy(secret.expose()).into_owned(),
    }
}

fn why_removed(name: &str, value: &str, inputs: &Inputs<'_>) -> Option<Why> {
    if inputs.keep.iter().any(|kept| kept == name) {
        return None;
    }
    if OTHER_PROXIES
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
    {
        return Some(Why::Proxy);
    }
    if matches!(name, "SSH_AUTH_SOCK" | "SSH_AGENT_PID") {
        return Some(Why::Ssh);
    }
    shape::secret_kind(name, value).map(Why::Secret)
}

/// Whether two names are one variable. npm reads its settings in any case.
fn is_same(name: &OsStr, other: &str) -> bool {
    let is_npm = |text: &str| {
        text.get(..11)
            .is_some_and(|start| start.eq_ignore_ascii_case("npm_config_"))
    };
    name == other || is_npm(other) && name.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests;
