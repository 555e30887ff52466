//! A tenant, as gateways see it.

use std::num::NonZeroU32;

use ipnet::IpNet;

use crate::id::TenantId;
use crate::limits::Limits;

/// The isolation boundary, as gateways see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Unique in the cluster.
    pub name: String,
    /// Rises with every change of the object.
    pub version: u64,
    /// Rises by revoking; a token that carries a lower one is refused.
    pub generation: u64,
    /// Whether anything of it is brokered.
    pub enabled: bool,
    /// Special-use ranges that its upstreams may live in. Empty: public addresses only.
    pub private_allow: Vec<IpNet>,
    /// What all its requests together may use.
    pub limits: Limits,
    /// Its part of an overloaded gateway, relative to other tenants'.
    pub weight: NonZeroU32,
}

/// The largest weight.
pub const WEIGHT_MAX: u32 = 1_000;
