//! What the parts of Sortie say to each other, and what the words mean. No IO, no runtime.
//!
//! | word | meaning |
//! |---|---|
//! | tenant | The isolation boundary. Nothing crosses it. |
//! | vault | A boundary inside a tenant: credentials, services, grants. |
//! | credential | A named secret with versions, bound to destinations. Goes in, never comes out. |
//! | service | An allowed destination and how to authenticate to it. |
//! | agent | A machine identity that holds roles on vaults. |
//! | session | What one sandbox run gets: a signed token. |
//! | placeholder | A string that names a credential without being one. |
//! | gateway | A data-plane node. Stateless. |
//! | control | The control plane: API, database, feed. |
//! | upstream | The API that the agent calls. |
//! | revision | A position in the total order of changes. |
//! | generation | A number on an agent, vault or tenant, and one for all users and sessions of a tenant; raised by revoking. |
//! | lease | How long a gateway may serve a vault without hearing from control. |
//!
//! Suggested reading order: [`id`], [`service`], [`token`], [`change`], [`code`], [`wire`].

pub mod id;
pub mod revision;
pub mod secret;
pub mod sealed;
pub mod host;
pub mod limits;
pub mod tenant;
pub mod vault;
pub mod agent;
pub mod credential;
pub mod service;
pub mod matching;
pub mod catalog;
pub mod token;
pub mod key;
pub mod change;
pub mod capability;
pub mod chain;
pub mod code;
pub mod environment;
pub mod wire;
