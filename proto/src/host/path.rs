//! Request paths in canonical form, and patterns over them.
//!
//! A canonical path is for matching only: what is sent upstream are the raw bytes, for presigned URLs live on them. So
//! a raw path that an upstream may read in another way than we do is refused here, and never mended. Where the other way
//! is harmless on its own (empty segments, parameters) it is told, for whoever matches to compare: [`CanonicalPath::readings`].

use std::cmp::Ordering;
use std::fmt;

/// What stands for an encoded slash inside a segment. It cannot come from the path itself: NUL is refused there.
const OPAQUE_SLASH: char = '\0';

/// A path percent-decoded once, with dot segments refused: for matching only, never for sending.
///
/// Its segments are what stands between slashes, empty ones too. An encoded slash (`%2F`) is part of its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath {
    /// Decoded, without the first slash.
    decoded: String,
    encoded_slash: bool,
    /// These have none themselves.
    readings: Vec<Self>,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedPath {
    /// It does not start with a slash.
    #[error("a path starts with a slash")]
    Relative,
    /// A `.` or `..` segment, encoded or not, or with parameters behind it (`..;x`).
    #[error("dot segments are refused")]
    DotSegment,
    /// A percent sign that still encodes something after decoding once.
    #[error("double percent-encoding is refused")]
    DoubleEncoding,
    /// A percent sign without two hexadecimal digits behind it.
    #[error("a percent sign needs two hexadecimal digits")]
    Percent,
    /// A backslash, NUL or another control character, encoded or not.
    #[error("backslashes and control characters are refused")]
    Control,
    /// A `?` or `#` that is not encoded: the path ended before it.
    #[error("a path ends before ? and #")]
    Delimiter,
    /// The decoded bytes are not UTF-8.
    #[error("a path decodes to UTF-8")]
    Utf8,
}

impl CanonicalPath {
    /// Reads the path of a request target, without its query.
    ///
    /// # Errors
    /// [`RefusedPath`] says why no service may match it.
    pub fn parse(raw: &str) -> Result<Self, RefusedPath> {
        let rest = raw.strip_prefix('/').ok_or(RefusedPath::Relative)?;
        let decoded = decode(rest)?;
        let pieces = || decoded.split(['/', OPAQUE_SLASH]);
        if pieces().any(is_dot_segment) {
            return Err(RefusedPath::DotSegment);
        }
        if decoded.split('%').skip(1).any(starts_with_two_digits) {
            return Err(RefusedPath::DoubleEncoding);
        }
        let encoded_slash = decoded.contains(OPAQUE_SLASH);
        Ok(Self {
            readings: readings(&decoded),
            decoded,
            encoded_slash,
        })
    }

    /// How else servers may read the path, each way once: without empty segments (`//admin` → `/admin`; one at the end
    /// stays), and without parameters (`/admin;a/x` → `/admin/x`). Nearly all paths have no other reading, and this is
    /// empty.
    ///
    /// A decision about a path is one only if it is the same for all of these.
    #[must_use]
    pub fn readings(&self) -> &[Self] {
        &self.readings
    }

    /// Whether some `%2F` was left inside a segment.
    #[must_use]
    pub const fn encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    #[cfg(test)]
    pub(super) fn segments_for_test(&self) -> Vec<String> {
        self.segments().map(str::to_owned).collect()
    }

    /// The decoded segments, without the slashes between them. There is at least one: `/` has one that is empty.
    fn segments(&self) -> impl Iterator<Item = &str> {
        self.decoded.split('/')
    }
}

/// The other readings of a decoded path. Allocates nothing where there are none.
fn readings(decoded: &str) -> Vec<CanonicalPath> {
    let mut readings: Vec<CanonicalPath> = Vec::new();
    if !decoded.contains(';') && !has_empty_segment(decoded) {
        return readings;
    }
    let plain = without_parameters(decoded);
    for other in [
        without_empty_segments(decoded),
        without_empty_segments(&plain),
        plain,
    ] {
        if other != decoded && readings.iter().all(|known| known.decoded != other) {
            readings.push(CanonicalPath {
                encoded_slash: other.contains(OPAQUE_SLASH),
                decoded: other,
                readings: Vec::new(),
            });
        }
    }
    readings
}

fn has_empty_segment(decoded: &str) -> bool {
    decoded.starts_with('/') || decoded.contains("//")
}

fn without_parameters(decoded: &str) -> String {
    let name = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    decoded.split('/').map(name).collect::<Vec<_>>().join("/")
}

/// An empty segment at the end stays: with a slash there, it is another resource to most servers.
fn without_empty_segments(decoded: &str) -> String {
    let (inner, last) = decoded.rsplit_once('/').unwrap_or(("", decoded));
    inner
        .split('/')
        .filter(|segment| !segment.is_empty())
        .chain([last])
        .collect::<Vec<_>>()
        .join("/")
}

fn decode(raw: &str) -> Result<String, RefusedPath> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = bytes.next().zip(bytes.next());
                decoded.push(
                    match digits.and_then(from_hex).ok_or(RefusedPath::Percent)? {
                        b'/' => 0,
                        0 => return Err(RefusedPath::Control),
                        byte => byte,
                    },
                );
            }
            0 => return Err(RefusedPath::Control),
            b'?' | b'#' => return Err(RefusedPath::Delimiter),
            byte => decoded.push(byte),
        }
    }
    let decoded = String::from_utf8(decoded).or(Err(RefusedPath::Utf8))?;
    if decoded
        .chars()
        .any(|char| char == '\\' || (char.is_control() && char != OPAQUE_SLASH))
    {
        return Err(RefusedPath::Control);
    }
    Ok(decoded)
}

fn from_hex((high, low): (u8, u8)) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn starts_with_two_digits(text: &str) -> bool {
    matches!(text.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// Some servers take parameters off a segment before they resolve dots: `..;x` climbs there.
fn is_dot_segment(piece: &str) -> bool {
    let name = piece.split(';').next().unwrap_or_default();
    name == "." || name == ".."
}

/// A pattern over canonical paths: literal segments, `*` for one segment, `**` at the end for any number, none too.
///
/// `*` does not stand for an empty segment, which an upstream may drop. Literals are decoded as paths are: `/a%2Fb` is
/// one segment with an encoded slash, `/%2A` is a literal asterisk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    segments: Box<[Segment]>,
    /// Whether `**` stands at the end.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(Box<str>),
    One,
}

/// Why a text is not a path pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a path pattern: write / and segments, * for one segment, /** at the end for all below"
)]
pub struct InvalidPathPattern(());

#[cfg(test)]
impl InvalidPathPattern {
    pub(super) const fn for_test() -> Self {
        Self(())
    }
}

impl PathPattern {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`InvalidPathPattern`] if it is not one, or if it could match no path: one with dot segments, for example.
    pub fn parse(text: &str) -> Result<Self, InvalidPathPattern> {
        let rest = text.strip_prefix('/').ok_or(InvalidPathPattern(()))?;
        let (fixed, open) = match rest.strip_suffix("**") {
            None => (Some(rest), false),
            Some("") => (None, true),
            // Without a slash before them the asterisks are part of a segment, which is refused below.
            Some(before) => match before.strip_suffix('/') {
                Some(fixed) => (Some(fixed), true),
                None => (Some(rest), false),
            },
        };
        let segments = fixed
            .into_iter()
            .flat_map(|fixed| fixed.split('/'))
            .map(Segment::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self { segments, open })
    }

    /// Whether it covers a path.
    #[must_use]
    pub fn matches(&self, path: &CanonicalPath) -> bool {
        let mut parts = path.segments();
        let fixed = self
            .segments
            .iter()
            .all(|segment| parts.next().is_some_and(|part| segment.matches(part)));
        fixed && (self.open || parts.next().is_none())
    }

    /// Whether it covers a path however the path is read: what a pattern that allows something is asked.
    #[must_use]
    pub fn matches_all_readings(&self, path: &CanonicalPath) -> bool {
        self.matches(path) && path.readings().iter().all(|reading| self.matches(reading))
    }

    /// Whether there is a path that both cover.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let mut both = self.segments.iter().zip(&other.segments);
        let (own, others) = (self.segments.len(), other.segments.len());
        both.all(|(one, other)| one.meets(other))
            && (own <= others || other.open)
            && (others <= own || self.open)
    }

    /// How two patterns that cover one path are ordered: the greater one decides.
    ///
    /// More segments before the `**` win; then a pattern without `**`; then, from the left, a literal over `*`. Two
    /// different patterns that cover the same path never compare equal.
    #[must_use]
    pub fn specificity(&self, other: &Self) -> Ordering {
        (self.segments.len(), !self.open)
            .cmp(&(other.segments.len(), !other.open))
            .then_with(|| self.literals().cmp(other.literals()))
    }

    /// For each segment, whether it is a literal.
    fn literals(&self) -> impl Iterator<Item = bool> {
        self.segments
            .iter()
            .map(|segment| matches!(segment, Segment::Literal(_)))
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, InvalidPathPattern> {
        if text == "*" {
            return Ok(Self::One);
        }
        if text.contains('*') {
            return Err(InvalidPathPattern(()));
        }
        let path = CanonicalPath::parse(&format!("/{text}")).or(Err(InvalidPathPattern(())))?;
        Ok(Self::Literal(path.decoded.into()))
    }

    fn matches(&self, part: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *part,
            Self::One => !part.is_empty(),
        }
    }

    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One, Self::One) => true,
            (Self::One, Self::Literal(literal)) | (Self::Literal(literal), Self::One) => {
                !literal.is_empty()
            }
            (Self::Literal(one), Self::Literal(other)) => one == other,
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            f.write_str("/")?;
            match segment {
                Segment::One => f.write_str("*")?,
                Segment::Literal(literal) => write_literal(f, literal)?,
            }
        }
        f.write_str(if self.open { "/**" } else { "" })
    }
}

fn write_literal(f: &mut fmt::Formatter<'_>, literal: &str) -> fmt::Result {
    use fmt::Write as _;

    literal.chars().try_for_each(|char| match char {
        OPAQUE_SLASH => f.write_str("%2F"),
        '%' | '*' | '?' | '#' => write!(f, "%{:02X}", u32::from(char)),
        char => f.write_char(char),
    })
}
