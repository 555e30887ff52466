//! The only place that prints: answers go to standard output, everything else to standard error.
//!
//! Invariants: no colour codes where nobody sees colours (not a terminal, `NO_COLOR` set, JSON); a reader that went
//! away (`sortie … | head`) is no failure; control characters in what others wrote never reach a terminal.

use std::error::Error as _;
use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::config;
use crate::error::{Error, Result};

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables and sentences for people.
    Table,
    /// What control answered, for programs.
    Json,
    /// The same as YAML.
    Yaml,
}

/// A column: its title, and where its value stands in an object (RFC 6901).
pub(crate) type Column = (&'static str, &'static str);

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    colour: bool,
}

impl Output {
    /// Looks at the terminal once.
    pub(crate) fn new(format: Format) -> Self {
        let colour = format == Format::Table
            && std::io::stdout().is_terminal()
            && config::variable("NO_COLOR").is_none_or(|value| value.is_empty())
            && config::variable("TERM").is_none_or(|value| value != "dumb");
        Self { format, colour }
    }

    /// Whether programs read it: JSON, or YAML, which says the same.
    pub(crate) fn is_json(self) -> bool {
        self.format != Format::Table
    }

    /// A line of the answer.
    pub(crate) fn line(self, text: &str) {
        // A reader that went away has seen what it wanted.
        drop(writeln!(std::io::stdout().lock(), "{text}"));
    }

    /// A line of an answer that has no end of its own; false if nobody reads it any more.
    pub(crate) fn offer(self, text: &str) -> bool {
        writeln!(std::io::stdout().lock(), "{text}").is_ok()
    }

    /// A line about what is going on, which is no part of the answer.
    pub(crate) fn note(self, text: &str) {
        drop(writeln!(std::io::stderr().lock(), "{text}"));
    }

    /// An error, its causes, and what to do next.
    pub(crate) fn error(self, error: &Error) {
        self.note(&format!("sortie: {}", printable(&error.to_string(), true)));
        let mut cause = error.source();
        while let Some(inner) = cause {
            self.note(&format!(
                "  because: {}",
                printable(&inner.to_string(), false)
            ));
            cause = inner.source();
        }
        if let Some(next) = error.next() {
            self.note(&format!("  next: {next}"));
        }
    }

    /// A list of objects.
    pub(crate) fn list(self, objects: &[Value], columns: &[Column]) -> Result<()> {
        if self.is_json() {
            return self.json(&Value::from(objects));
        }
        if objects.is_empty() {
            self.note("none");
            return Ok(());
        }
        self.line(&table(objects, columns));
        Ok(())
    }

    /// One object: each field on a line.
    pub(crate) fn object(self, object: &Value, columns: &[Column]) -> Result<()> {
        if self.is_json() {
            return self.json(object);
        }
        let width = columns.iter().map(|(title, _)| title.len()).max();
        for (title, pointer) in columns {
            let text = cell(object, pointer);
            if !text.is_empty() {
                let title = format!("{title:width$}", width = width.unwrap_or(0));
                self.line(&format!("{}  {text}", self.dim(&title.to_lowercase())));
            }
        }
        Ok(())
    }

    /// A sentence for people, an object for programs.
    pub(crate) fn done(self, object: &Value, sentence: &str) -> Result<()> {
        if self.is_json() {
            return self.json(object);
        }
        self.line(sentence);
        Ok(())
    }

    /// A list that takes the place of the one before; false if nobody reads any more.
    ///
    /// For programs each is a document of its own: a line of JSON, or YAML after `---`.
    pub(crate) fn frame(self, objects: &[Value], columns: &[Column]) -> Result<bool> {
        if self.is_json() {
            return Ok(self.offer(&self.document(&Value::from(objects))?));
        }
        let table = match objects {
            [] => "none".to_owned(),
            _ => table(objects, columns),
        };
        // Home, then clear to the end: the terminal keeps what stood above.
        let begin = if self.colour { "\x1b[2J\x1b[H" } else { "" };
        Ok(self.offer(&format!("{begin}{table}\n")))
    }

    /// More rows of one long table; false if nobody reads any more. `widths` holds what its columns need so far; empty
    /// at its beginning.
    pub(crate) fn rows(
        self,
        objects: &[Value],
        columns: &[Column],
        widths: &mut Vec<usize>,
    ) -> Result<bool> {
        if self.is_json() {
            for object in objects {
                if !self.offer(&self.document(object)?) {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let mut lines: Vec<Vec<String>> = Vec::new();
        if widths.is_empty() {
            *widths = vec![0; columns.len()];
            lines.push(
                columns
                    .iter()
                    .map(|(title, _)| (*title).to_owned())
                    .collect(),
            );
        }
        for object in objects {
            lines.push(
                columns
                    .iter()
                    .map(|(_, pointer)| cell(object, pointer))
                    .collect(),
            );
        }
        for line in &lines {
            for (text, width) in line.iter().zip(widths.iter_mut()) {
                *width = text.chars().count().max(*width);
            }
        }
        let lines: Vec<_> = lines.iter().map(|line| aligned(line, widths)).collect();
        Ok(lines.is_empty() || self.offer(&lines.join("\n")))
    }

    /// One of many: a line of JSON, or YAML after `---`.
    fn document(self, value: &Value) -> Result<String> {
        if self.format == Format::Yaml {
            return Ok(format!("---\n{}", yaml(value)?.trim_end()));
        }
        Ok(value.to_string())
    }

    fn json(self, value: &Value) -> Result<()> {
        let text = if self.format == Format::Yaml {
            yaml(value)?
        } else {
            serde_json::to_string_pretty(value)
                .map_err(|source| Error::system("write JSON", source.into()))?
        };
        self.line(text.trim_end());
        Ok(())
    }

    /// Bold, where there are colours.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Dim, where there are colours.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Red, where there are colours.
    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// Yellow, where there are colours.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Green, where there are colours.
    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A line of complaint from a place that has no [`Output`].
pub(crate) fn complain(text: &str) {
    drop(writeln!(
        std::io::stderr().lock(),
        "{}",
        printable(text, false)
    ));
}

/// A question: the answer stands on the same line.
pub(crate) fn prompt(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(write!(stderr, "{}", printable(text, false)).and_then(|()| stderr.flush()));
}

fn yaml(value: &Value) -> Result<String> {
    serde_norway::to_string(value)
        .map_err(|error| Error::system("write YAML", std::io::Error::other(error)))
}

/// A row, each cell as wide as its column.
fn aligned(cells: &[String], widths: &[usize]) -> String {
    let line = cells
        .iter()
        .zip(widths)
        .fold(String::new(), |line, (text, width)| {
            format!("{line}{text:width$}  ")
        });
    line.trim_end().to_owned()
}

fn table(objects: &[Value], columns: &[Column]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(if std::io::stdout().is_terminal() {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        })
        .set_header(columns.iter().map(|(title, _)| *title));
    for object in objects {
        table.add_row(columns.iter().map(|(_, pointer)| cell(object, pointer)));
    }
    table.trim_fmt()
}

/// A value as a reader wants to see it; what is not there is empty.
pub(crate) fn cell(object: &Value, pointer: &str) -> String {
    let text = match object.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => if *flag { "yes" } else { "no" }.to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Array(items)) => items.iter().map(word).collect::<Vec<_>>().join(", "),
        Some(Value::Object(fields)) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", word(value)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    printable(&text, false)
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => match (fields.get("host"), fields.get("port")) {
            (Some(Value::String(host)), Some(port))
                if port.as_u64().is_some_and(|port| port > 0) =>
            {
                format!("{host}:{port}")
            }
            (Some(Value::String(host)), _) => host.clone(),
            _ => value.to_string(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
    }
}

/// Text that cannot steer a terminal.
pub(crate) fn printable(text: &str, lines: bool) -> String {
    text.chars()
        .map(|c| match c {
            '\n' if lines => c,
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests;
