//! What tests stand on: a database, the control plane over it, callers of its API, gateways that speak its wire.

mod caller;
mod control;
mod database;
mod fixture;
mod gateway;

pub(crate) use self::caller::Caller;
pub(crate) use self::control::{Control, config};
pub(crate) use self::database::{Bare, empty, folder, fresh, look, mode};
pub(crate) use self::fixture::{Fixture, completion_record, use_record};
pub(crate) use self::gateway::{Following, Gateway, beat};
