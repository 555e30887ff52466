use clap::CommandFactory as _;

use super::*;

#[test]
fn the_arguments_fit_together() {
    Args::command().debug_assert();
}

/// Every command for people but `help`, with its name as it is called.
fn each(command: &clap::Command, path: &str, see: &mut impl FnMut(&clap::Command, &str)) {
    see(command, path);
    for child in command
        .get_subcommands()
        .filter(|child| child.get_name() != "help" && !child.is_hide_set())
    {
        each(child, &format!("{path} {}", child.get_name()), see);
    }
}

/// The lines below `Example:` or `Examples:`, up to the first that is not indented.
fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string);
    help.unwrap_or_default()
        .lines()
        .skip_while(|line| !matches!(*line, "Example:" | "Examples:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .map(|line| {
            let line = line.trim();
            line.split_once("   ")
                .map_or(line, |(line, _)| line)
                .to_owned()
        })
        .collect()
}

#[test]
fn every_help_has_examples_that_can_be_parsed() {
    let mut seen = 0;
    each(&Args::command(), "sortie", &mut |command, path| {
        let lines = examples(command);
        assert!(!lines.is_empty(), "`{path} --help` has no example");
        // A group shows what its verbs do; a verb shows itself.
        let own = lines.iter().any(|line| {
            line.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        assert!(
            own,
            "no example of `{path} --help` is one of {path}: {lines:?}"
        );
        for line in &lines {
            let rest = line.strip_prefix("sortie ");
            check_command(
                rest.unwrap_or_else(|| panic!("`{line}` of `{path} --help` is not ours")),
            );
        }
        seen += 1;
    });
    assert!(seen > 40, "{seen} commands");
}

#[test]
fn exit_codes_are_told() {
    let help = Args::command().get_after_help().unwrap().to_string();
    for code in [
        "0 done",
        "1 failed",
        "2 wrong usage",
        "64 bad",
        "69 not reachable",
        "77 refused",
    ] {
        assert!(help.contains(code), "{code}");
    }
}

#[test]
fn every_command_of_the_documents_can_be_parsed() {
    let documents = [
        include_str!("../../../README.md"),
        include_str!("../../../docs/services.md"),
        include_str!("../../../docs/doctor.md"),
        include_str!("../../../docs/cli.md"),
        include_str!("../../../docs/run.md"),
        include_str!("../../../docs/catalog.md"),
        include_str!("../../../docs/import.md"),
        include_str!("../../../docs/relay.md"),
    ];
    let lines: Vec<_> = documents
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("sortie "))
        .collect();
    assert!(lines.len() > 10, "{lines:?}");
    lines.into_iter().for_each(check_command);
}

fn check_command(line: &str) {
    let line = line.split(" < ").next().unwrap_or(line);
    let line = line.split(" > ").next().unwrap_or(line);
    let line = line.split("   #").next().unwrap_or(line).trim();
    let arguments = std::iter::once("sortie".to_owned()).chain(words(line));
    let parsed = Args::try_parse_from(arguments);
    assert!(
        parsed.is_ok(),
        "`sortie {line}`: {:?}",
        parsed.err().map(|error| error.to_string())
    );
}

/// Splits as a shell does, as far as the examples need it: single quotes keep spaces.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn durations_are_read_with_their_unit() {
    assert_eq!(seconds("90"), Ok(90));
    assert_eq!(seconds("15m"), Ok(900));
    assert_eq!(seconds("7d"), Ok(604_800));
    for text in ["", "m", "1w", "-1", "99999999d"] {
        assert!(seconds(text).is_err(), "{text}");
    }
}
