use clap::CommandFactory as _;

use super::*;

#[test]
fn the_arguments_fit_together() {
    Args::command().debug_assert();
}

#[test]
fn every_help_ends_with_an_example() {
    fn walk(command: &clap::Command, path: &str) {
        let name = format!("{path} {}", command.get_name());
        if command.get_name() == "help" {
            return;
        }
        let help = command.get_after_help().map(ToString::to_string);
        assert!(
            help.is_some_and(|text| text.contains("Example")),
            "`{name} --help` has no example"
        );
        for child in command.get_subcommands() {
            walk(child, &name);
        }
    }
    walk(&Args::command(), "");
}

#[test]
fn every_example_can_be_parsed() {
    fn walk(command: &clap::Command, lines: &mut Vec<String>) {
        if let Some(help) = command.get_after_help() {
            lines.extend(
                help.to_string()
                    .lines()
                    .filter_map(|line| line.trim().strip_prefix("sortie "))
                    .map(|line| line.split("   ").next().unwrap_or(line).to_owned()),
            );
        }
        for child in command.get_subcommands() {
            walk(child, lines);
        }
    }
    let mut lines = Vec::new();
    walk(&Args::command(), &mut lines);
    assert!(lines.len() > 20, "{lines:?}");
    for line in &lines {
        check_command(line);
    }
}

#[test]
fn every_command_of_the_documents_can_be_parsed() {
    let documents = [
        include_str!("../../../README.md"),
        include_str!("../../../docs/services.md"),
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
