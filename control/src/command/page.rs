//! Pages of lists: a bounded size, and an opaque token that says where the next one begins.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sortie_proto::wire::v1;
use uuid::Uuid;

use crate::error::{Error, Result};

/// The size of a page that does not say.
const SIZE_DEFAULT: u16 = 100;
/// The largest page.
const SIZE_MAX: u16 = 1_000;

/// What a list is asked for.
#[derive(Debug)]
pub(super) struct Page<C> {
    size: u16,
    /// What the page comes behind.
    pub(super) after: Option<C>,
}

/// Where in a list a page ends.
pub(super) trait Cursor: Sized {
    fn to_bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Cursor for Uuid {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

impl Cursor for (Timestamp, Uuid) {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.0.as_microsecond().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.1.as_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (time, id) = bytes.split_first_chunk()?;
        let time = Timestamp::from_microsecond(i64::from_be_bytes(*time)).ok()?;
        Some((time, Uuid::from_slice(id).ok()?))
    }
}

impl<C: Cursor> Page<C> {
    /// Reads what a caller asks for.
    ///
    /// # Errors
    /// `invalid_argument` for a size out of bounds or a token that this API did not make.
    pub(super) fn read(page: Option<v1::Page>) -> Result<Self> {
        let page = page.unwrap_or_default();
        let mut problems = Vec::new();
        let size = match u16::try_from(page.page_size) {
            Ok(0) => SIZE_DEFAULT,
            Ok(size) if size <= SIZE_MAX => size,
            Ok(_) | Err(_) => {
                problems.push(("page_size".to_owned(), "must be 1 to 1,000".to_owned()));
                SIZE_DEFAULT
            }
        };
        let mut after = None;
        if !page.page_token.is_empty() {
            after = BASE64_URL_SAFE_NO_PAD
                .decode(&page.page_token)
                .ok()
                .and_then(|bytes| C::from_bytes(&bytes));
            if after.is_none() {
                let message = "is not a token from `next_page_token`".to_owned();
                problems.push(("page_token".to_owned(), message));
            }
        }
        match problems.as_slice() {
            [] => Ok(Self { size, after }),
            _ => Err(Error::fields(problems)),
        }
    }

    /// How many rows to read: one more than the page has, to see whether there is another page.
    pub(super) fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// Cuts what was read to the page, and makes the token of the next.
    pub(super) fn cut<T>(&self, rows: &mut Vec<T>, cursor: impl FnOnce(&T) -> C) -> String {
        if rows.len() <= usize::from(self.size) {
            return String::new();
        }
        rows.truncate(usize::from(self.size));
        rows.last().map_or_else(String::new, |last| {
            BASE64_URL_SAFE_NO_PAD.encode(cursor(last).to_bytes())
        })
    }
}
