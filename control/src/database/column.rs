//! Columns whose type in the database is not the type that has meaning, and how objects are named in a path.

use std::str::FromStr;

use prost::Message;
use sortie_proto::limits::Limits;
use sortie_proto::wire::v1;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::{Error, Result};

/// An object as a caller names it: by id or by name. Exactly one is there.
///
/// Statements read `(id = $2 OR name = $3)`; the one that is missing is NULL and matches nothing.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    /// The id.
    pub id: Option<Uuid>,
    /// The name.
    pub name: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Reads what stands in a path. What has the form of an id is one: names of that form are not accepted.
    pub fn read<Id: FromStr>(text: &'a str, uuid: impl FnOnce(Id) -> Uuid) -> Self {
        match text.parse().ok().map(uuid) {
            Some(id) => Self {
                id: Some(id),
                name: None,
            },
            None => Self {
                id: None,
                name: Some(text),
            },
        }
    }

    /// The object of an id that is known.
    #[must_use]
    pub const fn id(id: Uuid) -> Self {
        Self {
            id: Some(id),
            name: None,
        }
    }
}

/// A `bigint` that is never negative.
pub(super) fn unsigned(row: &Row, column: &str) -> Result<u64> {
    u64::try_from(row.try_get::<_, i64>(column)?).map_err(Error::internal)
}

/// An `integer` that is never negative.
pub(super) fn small(row: &Row, column: &str) -> Result<u32> {
    u32::try_from(row.try_get::<_, i32>(column)?).map_err(Error::internal)
}

/// A number for a `bigint`.
pub(super) fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(Error::internal)
}

/// An id from a `uuid`.
pub(super) fn id<Id: From<Uuid>>(row: &Row, column: &str) -> Result<Id> {
    Ok(row.try_get::<_, Uuid>(column)?.into())
}

/// A number for an `integer`.
pub(super) fn small_signed(number: u32) -> Result<i32> {
    i32::try_from(number).map_err(Error::internal)
}

/// Limits, kept as the message that gateways get. What does not read is an error, never no limit.
///
/// # Errors
/// `internal`.
pub fn limits(row: &Row, column: &str) -> Result<Limits> {
    read_limits(row.try_get(column)?)
}

/// The same of a value that was read already.
///
/// # Errors
/// `internal`.
pub fn read_limits(stored: Option<&[u8]>) -> Result<Limits> {
    let wire = stored.map(v1::Limits::decode).transpose();
    Ok(wire.map_err(Error::internal)?.try_into()?)
}

/// Limits for a `bytea`; none at all are NULL.
pub(super) fn stored_limits(limits: &Limits) -> Option<Vec<u8>> {
    Option::<v1::Limits>::from(limits).map(|wire| wire.encode_to_vec())
}
