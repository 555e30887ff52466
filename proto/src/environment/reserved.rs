//! Names that no placeholder takes, whatever a credential is called.

/// What programs run code by, or find code by.
const STEERING: [&str; 14] = [
    "PATH",
    "HOME",
    "SHELL",
    "USER",
    "IFS",
    "ENV",
    "BASH_ENV",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PERL5OPT",
    "RUBYOPT",
    "JAVA_TOOL_OPTIONS",
];
/// What a shell or a terminal relies on.
const SHELL: [&str; 8] = [
    "PWD", "OLDPWD", "TERM", "LANG", "TMPDIR", "LOGNAME", "DISPLAY", "EDITOR",
];
/// What families of them start with. `SORTIE_`: keys are named so.
const PREFIXES: [&str; 6] = ["LD_", "DYLD_", "GIT_", "LC_", "XDG_", "SORTIE_"];

/// Whether programs are steered by a variable, or it is Sortie's own: a credential of that name must not become a way
/// to run code in the agent's environment. [`sets`](super::sets) names those that the environment itself sets.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let starts = |prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    STEERING.contains(&name)
        || SHELL.contains(&name)
        || PREFIXES.iter().any(|prefix| starts(prefix))
}
