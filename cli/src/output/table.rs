//! Tables for people: columns that line up, and that fit the terminal.
//!
//! Invariants: no cell is cut off. Where the columns do not fit, those go that are empty in every row; then cells are
//! broken over lines between words; then it is left out when objects were made, and the id of what has a name; then names
//! are broken between their parts; and where even that is too wide each object is a block of its own, with all its fields.
//! Without a terminal a row is one line with all columns. What is handed in has no control characters.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What stands between two columns.
const GAP: usize = 2;
/// A word that is longer than this may be broken anywhere: what agents write must not push all else aside.
const WORD_MAX: usize = 40;
/// The same inside of a URL, which is not copied as an identifier is.
const URL_WORD_MAX: usize = 20;
/// How many characters of a name stay with what follows them.
const BEGINNING_MAX: usize = 5;
/// How narrow the text of a block gets at least.
const TEXT_MIN: usize = 20;
/// The columns that are left out where there is no room for all: when something was made or changed.
const MADE: [&str; 2] = ["CREATED", "UPDATED"];

/// How a table is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The width of each column; none where it is left out.
    Columns(Vec<Option<usize>>),
    /// A block for each object.
    Blocks,
}

impl Shape {
    /// The shape for more rows below those that have this one; none if it shows too few columns for them, or if the
    /// terminal is narrower now.
    pub(super) fn with(self, rows: &[Vec<String>], room: Option<usize>) -> Option<Self> {
        let Self::Columns(mut widths) = self else {
            return Some(Self::Blocks);
        };
        let needed = |at: usize| rows.iter().filter_map(move |row| row.get(at));
        for (at, width) in widths.iter_mut().enumerate() {
            match (width, room) {
                (None, _) if needed(at).any(|text| !text.is_empty()) => return None,
                // A row is one line there: what is wider stands out, and those below go with it.
                (Some(width), None) => {
                    *width = needed(at).map(|text| text.width()).fold(*width, usize::max);
                }
                (None | Some(_), _) => {}
            }
        }
        let fits = room.is_none_or(|room| sum(widths.iter().flatten().copied()) <= room);
        fits.then_some(Self::Columns(widths))
    }
}

/// How a table with these titles and rows fits into so many cells of a terminal; without a terminal all fits.
pub(super) fn shape(titles: &[&str], rows: &[Vec<String>], room: Option<usize>) -> Shape {
    let ask = |breaks: Breaks| -> Vec<Column> {
        let titles = titles.iter().enumerate();
        titles
            .map(|(at, title)| Column::new(title, at, rows, breaks))
            .collect()
    };
    let all = ask(Breaks::Words);
    let whole = sum(all.iter().map(|it| it.whole));
    let Some(room) = room.filter(|room| whole > *room) else {
        return Shape::Columns(all.iter().map(|it| Some(it.whole)).collect());
    };
    let kept = |left_out: &[&str]| -> Vec<bool> {
        let columns = all.iter().zip(titles);
        columns
            .map(|(it, title)| !it.is_empty && !left_out.contains(title))
            .collect()
    };
    let (full, timeless) = (kept(&[]), kept(&MADE));
    let named = match titles.contains(&"NAME") {
        true => kept(&[MADE.as_slice(), &["ID"]].concat()),
        false => timeless.clone(),
    };
    let parts = ask(Breaks::Parts);
    fit(&all, &full, room)
        .or_else(|| fit(&all, &timeless, room))
        .or_else(|| fit(&all, &named, room))
        .or_else(|| fit(&parts, &named, room))
        .map_or(Shape::Blocks, Shape::Columns)
}

/// The widths of those columns that are kept; none if there is no room even for their longest words.
fn fit(all: &[Column], kept: &[bool], room: usize) -> Option<Vec<Option<usize>>> {
    let columns = || all.iter().zip(kept).filter(|(_, kept)| **kept);
    let mut spare = room.checked_sub(sum(columns().map(|(it, _)| it.least)))?;
    // Those that want little get it, so that one wide column leaves the others as they are.
    let mut wishes: Vec<(usize, usize)> = all
        .iter()
        .zip(kept)
        .enumerate()
        .filter(|(_, (_, kept))| **kept)
        .map(|(at, (it, _))| (it.whole - it.least, at))
        .collect();
    wishes.sort_unstable();
    let mut left = wishes.len();
    let mut widths = vec![None; all.len()];
    for (wish, at) in wishes {
        let given = wish.min(spare / left.max(1));
        spare -= given;
        left -= 1;
        if let (Some(width), Some(column)) = (widths.get_mut(at), all.get(at)) {
            *width = Some(column.least + given);
        }
    }
    Some(widths)
}

/// What one column asks for.
struct Column {
    /// Its widest cell, or its title.
    whole: usize,
    /// Its longest word that is not broken.
    least: usize,
    is_empty: bool,
}

impl Column {
    fn new(title: &str, at: usize, rows: &[Vec<String>], breaks: Breaks) -> Self {
        let cells = || rows.iter().filter_map(|row| row.get(at));
        let widest = cells().map(|text| text.width()).max().unwrap_or(0);
        let longest = |text: &String| {
            let most = match text.contains("://") {
                true => URL_WORD_MAX,
                false => WORD_MAX,
            };
            let widths = pieces(text, breaks).map(|piece| piece.trim_end().width());
            widths.max().unwrap_or(0).min(most)
        };
        let longest = cells().map(longest).max();
        let title = title.width();
        Self {
            whole: widest.max(title),
            least: longest.unwrap_or(0).max(title),
            is_empty: rows.is_empty() || cells().all(String::is_empty),
        }
    }
}

/// The width of columns with what stands between them.
fn sum(widths: impl Iterator<Item = usize>) -> usize {
    widths
        .map(|width| width + GAP)
        .sum::<usize>()
        .saturating_sub(GAP)
}

/// A row in columns, over as many lines as its cells need.
pub(super) fn row(cells: &[String], widths: &[Option<usize>]) -> String {
    let columns: Vec<(usize, Vec<String>)> = cells
        .iter()
        .zip(widths)
        .filter_map(|(text, width)| width.map(|width| (width, wrapped(text, width))))
        .collect();
    let height = columns.iter().map(|(_, lines)| lines.len()).max();
    let line = |at: usize| {
        let mut line = String::new();
        for (width, lines) in &columns {
            let text = lines.get(at).map_or("", String::as_str);
            line.push_str(text);
            let fill = width.saturating_sub(text.width()) + GAP;
            line.extend(std::iter::repeat_n(' ', fill));
        }
        line.trim_end().to_owned()
    };
    let lines: Vec<_> = (0..height.unwrap_or(0)).map(line).collect();
    lines.join("\n")
}

/// An object as a block: a line for each field that it has.
pub(super) fn block(titles: &[&str], cells: &[String], room: Option<usize>) -> String {
    let width = titles.iter().map(|title| title.width()).max().unwrap_or(0);
    let room = room.map_or(usize::MAX, |room| {
        room.saturating_sub(width + GAP).max(TEXT_MIN)
    });
    let indent = " ".repeat(width + GAP);
    let fields = titles
        .iter()
        .zip(cells)
        .filter(|(_, text)| !text.is_empty());
    let lines: Vec<_> = fields
        .map(|(title, text)| {
            let fill = " ".repeat(width.saturating_sub(title.width()) + GAP);
            let text = wrapped(text, room).join(&format!("\n{indent}"));
            format!("{}{fill}{text}", title.to_lowercase())
        })
        .collect();
    lines.join("\n")
}

/// The text in lines that are no wider than this. Words stay whole where they can.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Lines {
        width,
        done: Vec::new(),
        line: String::new(),
        used: 0,
    };
    for word in pieces(text, Breaks::Words) {
        if lines.takes(word) {
            continue;
        }
        for part in pieces(word, Breaks::Parts) {
            if !lines.takes(part) {
                part.chars().for_each(|c| lines.push(c));
            }
        }
    }
    lines.done.push(lines.line);
    for line in &mut lines.done {
        line.truncate(line.trim_end().len());
    }
    lines.done
}

/// Lines that are being filled.
struct Lines {
    width: usize,
    done: Vec<String>,
    line: String,
    /// How wide the line is by now: counted along, since a text of anybody's may be long.
    used: usize,
}

impl Lines {
    /// Puts a piece on this line or the next one, unless it is wider than a line.
    fn takes(&mut self, piece: &str) -> bool {
        let width = piece.trim_end().width();
        if width > self.width {
            return false;
        }
        if !self.line.is_empty() && self.used + width > self.width {
            self.end();
        }
        self.line.push_str(piece);
        self.used += piece.width();
        true
    }

    fn push(&mut self, c: char) {
        // What has no width belongs to what stands before it.
        let width = c.width().unwrap_or(0);
        if width > 0 && !self.line.is_empty() && self.used + width > self.width {
            self.end();
        }
        self.line.push(c);
        self.used += width;
    }

    fn end(&mut self) {
        self.done.push(std::mem::take(&mut self.line));
        self.used = 0;
    }
}

/// Where a line may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaks {
    /// Behind white space, and behind what parts URLs and lists.
    Words,
    /// Behind what joins the parts of names, too; but not behind a short beginning such as `ses_`.
    Parts,
}

/// The text in pieces that stay whole.
fn pieces(text: &str, breaks: Breaks) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut chars = rest.char_indices().peekable();
        let (mut before, mut length) = ('\0', 0);
        while let Some((at, c)) = chars.next() {
            length += 1;
            let after = chars.peek().map_or('\0', |(_, c)| *c);
            let ends = match c {
                ' ' | ',' | '/' | '?' | '&' | ';' => true,
                '=' | '@' => breaks == Breaks::Parts,
                // Not inside of times and numbers, nor between the two of `__NAME__`.
                '-' | '_' | '.' | ':' => {
                    breaks == Breaks::Parts
                        && length > BEGINNING_MAX
                        && before.is_alphabetic()
                        && after.is_alphanumeric()
                }
                _ => false,
            };
            if ends || after == '\0' {
                let (piece, left) = rest.split_at(at + c.len_utf8());
                rest = left;
                return Some(piece);
            }
            before = c;
        }
        None
    })
}

#[cfg(test)]
mod tests;
