use clap::CommandFactory as _;

use super::*;
use crate::args::Args;
use crate::output::Format;

#[test]
fn there_is_a_page_for_each_verb_and_it_holds_the_examples() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("man1");
    let options = Man {
        folder: folder.clone(),
    };
    man(&options, Args::command(), Output::new(Format::Json)).unwrap();
    let page = std::fs::read_to_string(folder.join("sortie-credential-set.1")).unwrap();
    assert!(page.contains("GITHUB_TOKEN"), "{page}");
    assert!(folder.join("sortie.1").exists());
    assert!(!folder.join("sortie-help.1").exists());
}

#[test]
fn each_shell_is_told_the_verbs_and_nothing_that_is_hidden() {
    for shell in Shell::value_variants() {
        let text = script(*shell, &Args::command());
        for word in ["credential", "completions", "detach", "api-url", "version"] {
            assert!(text.contains(word), "{shell:?} is not told {word}");
        }
        for word in hidden(&Args::command()) {
            assert!(!text.contains(&word), "{shell:?} is told {word}");
        }
    }
}

/// The names of what `--help` does not show.
fn hidden(command: &clap::Command) -> Vec<String> {
    let arguments = command.get_arguments().filter(|it| it.is_hide_set());
    let mut names: Vec<_> = arguments
        .filter_map(|it| it.get_long())
        .map(str::to_owned)
        .collect();
    for below in command.get_subcommands() {
        if below.is_hide_set() {
            names.push(below.get_name().to_owned());
        } else {
            names.extend(hidden(below));
        }
    }
    assert!(command.get_name() != "sortie" || names.contains(&"detached".to_owned()));
    names
}
