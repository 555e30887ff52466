//! Who calls, and whether they may.
//!
//! `authenticate` makes an [`Actor`] from a key, `authorize` makes an [`Authorized`] from an actor, an action and a
//! tenant. Both are proofs: their fields are private, and commands take nothing less. An object of another tenant is
//! `not_found`, whatever it is: who may not see it does not learn that it exists.
//!
//! It deliberately does not decide about single objects: whether a session is the agent's own is the command's to say.

mod authenticate;
mod authorize;

pub use self::authenticate::{Actor, Who, authenticate};
pub use self::authorize::{
    Action, Audit, Authorized, Describe, Keys, Manage, Operate, Operator, Read, ReadAgent, Role,
    Sessions, authorize, operate,
};
