//! The only place that prints: answers go to standard output, everything else to standard error.
//!
//! Invariants: no colour codes where nobody sees colours (not a terminal, `NO_COLOR` set, JSON); a reader that went
//! away (`sortie … | head`) is no failure; control characters in what others wrote never reach a terminal.

mod table;

use std::error::Error as _;
use std::io::{IsTerminal, Write};

use jiff::Timestamp;
use serde_json::Value;

pub(crate) use self::table::{Shape, wrapped};
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
        let mut stderr = std::io::stderr().lock();
        // Colours are chosen by where answers go; this may go to a file.
        drop(match self.colour && !stderr.is_terminal() {
            true => writeln!(stderr, "{}", plain(text)),
            false => writeln!(stderr, "{text}"),
        });
    }

    /// A line that tells a person why it takes a while; programs and files do not get it.
    pub(crate) fn progress(self, text: &str) {
        if !self.is_json() && std::io::stderr().is_terminal() {
            self.note(text);
        }
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
            self.note(&format!("  next: {}", printable(&next, true)));
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
        self.line(table_text(objects, columns, room()).trim_end());
        Ok(())
    }

    /// One object: each field on a line.
    pub(crate) fn object(self, object: &Value, columns: &[Column]) -> Result<()> {
        if self.is_json() {
            return self.json(object);
        }
        let cells = cells(object, columns);
        self.line(&table::block(&titles(columns), &cells, room()));
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
            _ => table_text(objects, columns, room()),
        };
        // Home, then clear to the end: the terminal keeps what stood above.
        let begin = if self.colour { "\x1b[2J\x1b[H" } else { "" };
        Ok(self.offer(&format!("{begin}{table}\n")))
    }

    /// More rows of one long table; false if nobody reads any more. `shape` is how it was laid out so far; none at its
    /// beginning.
    pub(crate) fn rows(
        self,
        objects: &[Value],
        columns: &[Column],
        shape: &mut Option<Shape>,
    ) -> Result<bool> {
        if self.is_json() {
            for object in objects {
                if !self.offer(&self.document(object)?) {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if objects.is_empty() {
            return Ok(true);
        }
        let rows: Vec<_> = objects.iter().map(|it| cells(it, columns)).collect();
        let text = more(&titles(columns), &rows, room(), shape);
        Ok(self.offer(&text))
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

/// The text without the codes of [`Output::bold`] and its like.
fn plain(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |plain, piece| {
        plain + piece.split_once('m').map_or(piece, |(_, rest)| rest)
    })
}

/// How wide the terminal is that answers go to; none if they go elsewhere.
pub(crate) fn room() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(std::io::stdout())?;
    // One that does not know says 0.
    Some(usize::from(width.0)).filter(|width| *width > 0)
}

fn titles(columns: &[Column]) -> Vec<&'static str> {
    columns.iter().map(|(title, _)| *title).collect()
}

fn cells(object: &Value, columns: &[Column]) -> Vec<String> {
    columns
        .iter()
        .map(|(_, pointer)| short(cell(object, pointer)))
        .collect()
}

/// A time to the second, as people write it, and a URL without the port that it has anyway; everything else as it is.
fn short(text: String) -> String {
    if let Some((host, path)) = text
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once(":443/"))
        .filter(|(host, _)| !host.contains(['/', '?']))
    {
        return format!("https://{host}/{path}");
    }
    let is_time = text.len() >= 20 && text.ends_with('Z') && text.get(10..11) == Some("T");
    match text.parse::<Timestamp>() {
        Ok(time) if is_time => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        _ => text,
    }
}

fn table_text(objects: &[Value], columns: &[Column], room: Option<usize>) -> String {
    let rows: Vec<_> = objects.iter().map(|it| cells(it, columns)).collect();
    more(&titles(columns), &rows, room, &mut None)
}

/// Rows below those that were shown, with a new head if they need other columns.
fn more(
    titles: &[&str],
    rows: &[Vec<String>],
    room: Option<usize>,
    shown: &mut Option<Shape>,
) -> String {
    let head: Vec<_> = titles.iter().map(|&title| title.to_owned()).collect();
    let mut lines = Vec::new();
    let shape = match shown.take().and_then(|old| old.with(rows, room)) {
        Some(old) => old,
        None => {
            let new = table::shape(titles, rows, room);
            if let Shape::Columns(widths) = &new {
                lines.push(table::row(&head, widths));
            }
            new
        }
    };
    match &shape {
        Shape::Columns(widths) => lines.extend(rows.iter().map(|row| table::row(row, widths))),
        Shape::Blocks => lines.extend(
            rows.iter()
                .map(|row| format!("{}\n", table::block(titles, row, room))),
        ),
    }
    *shown = Some(shape);
    lines.join("\n")
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

/// Text that cannot steer a terminal, nor show itself as other text than it is.
pub(crate) fn printable(text: &str, lines: bool) -> String {
    text.chars()
        .map(|c| match c {
            '\n' if lines => c,
            c if c.is_control() || misleads(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Whether a character is not seen itself, but changes how others are: it turns their direction (Unicode Technical
/// Report 36), has no width, or ends a line. The two joiners are part of how languages are written, and stay.
const fn misleads(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{ad}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests;
