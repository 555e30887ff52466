//! The `[limits]` section: what is bounded, by how much, and what happens at the bound.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::raw::between;
use crate::decision::limit;
use crate::pressure;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    /// Connections at once; beyond it new ones are closed at accept.
    pub(super) connections_max: usize,
    /// Connections of one address at once; beyond it new ones are closed at accept.
    pub(super) connections_per_source_max: usize,
    /// Connections of one session at once; beyond it `too_many`.
    pub(super) connections_per_session_max: usize,
    /// Connections of one tenant at once; beyond it `too_many`.
    pub(super) connections_per_tenant_max: usize,
    /// Bytes of a head before the caller is known; beyond it `head_too_large`.
    pub(super) head_bytes_max: usize,
    /// Bytes of a head inside a tunnel; beyond it `head_too_large`.
    pub(super) tunnel_head_bytes_max: usize,
    /// How long a head may take in all, in milliseconds; then `head_timeout`.
    pub(super) head_deadline_ms: u64,
    /// How long a handshake may take, in milliseconds; then the connection ends.
    pub(super) handshake_deadline_ms: u64,
    /// How long a connection may be idle between requests, in seconds; then it ends.
    pub(super) idle_seconds: u64,
    /// How long an agent may take nothing of an answer, in milliseconds; then the connection or the stream ends.
    pub(super) write_timeout_ms: u64,
    /// HTTP/2 streams of a connection at once; the client is told.
    pub(super) streams_max: u32,
    /// Hosts without a service that a session gets leaves for in ten minutes; then `too_many`.
    pub(super) refused_hosts_max: u32,
    /// Requests of one session that are open at once; beyond it `too_many`.
    pub(super) requests_per_session_max: NonZeroU32,
    /// Requests of one vault that are open at once; beyond it `too_many`.
    pub(super) requests_per_vault_max: NonZeroU32,
    /// Requests that are open at once; beyond it tenants that use their share or more get `overloaded`.
    pub(super) requests_max: NonZeroU32,
    /// Memory that the process may take, in bytes; 0 is what its control group or the machine has. From 92 % on tenants
    /// that use their share or more get `overloaded`, from 95 % on all do, and new connections are closed.
    pub(super) memory_max_bytes: u64,
    /// How far worker threads may be behind, in milliseconds, on average; then, if several tenants are at work, those
    /// that use their share or more get `overloaded`.
    pub(super) lag_max_ms: u64,
    /// Buckets of limits on requests and bytes that are kept; the least used begin full again.
    pub(super) buckets_max: u64,
    /// Leaf certificates that are kept; others are signed again.
    pub(super) leaves_max: u64,
    /// Tenants whose intermediates are kept; others are signed again.
    pub(super) tenants_max: u64,
    /// Verified tokens that are remembered; others are verified again.
    pub(super) tokens_max: u64,
    /// Addresses whose failures are counted.
    pub(super) failing_sources_max: u64,
    /// Failed authentications of an address in a minute; then `too_many`.
    pub(super) failures_per_minute: u32,
    /// Credentials that are open at once; the least used are closed first.
    pub(super) open_credentials_max: u64,
    /// How long a credential stays open without use, in seconds.
    pub(super) open_credential_idle_seconds: u64,
}

const SESSION_REQUESTS: NonZeroU32 = NonZeroU32::new(256).expect("not zero");
const VAULT_REQUESTS: NonZeroU32 = NonZeroU32::new(8_192).expect("not zero");
const REQUESTS: NonZeroU32 = NonZeroU32::new(20_000).expect("not zero");

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 50_000,
            connections_per_source_max: 10_000,
            connections_per_session_max: 1_000,
            connections_per_tenant_max: 45_000,
            head_bytes_max: 16 * 1024,
            tunnel_head_bytes_max: 64 * 1024,
            head_deadline_ms: 10_000,
            handshake_deadline_ms: 5_000,
            idle_seconds: 120,
            write_timeout_ms: 120_000,
            streams_max: 100,
            refused_hosts_max: 256,
            requests_per_session_max: SESSION_REQUESTS,
            requests_per_vault_max: VAULT_REQUESTS,
            requests_max: REQUESTS,
            memory_max_bytes: 0,
            lag_max_ms: 1_000,
            buckets_max: 200_000,
            leaves_max: 50_000,
            tenants_max: 10_000,
            tokens_max: 200_000,
            failing_sources_max: 100_000,
            failures_per_minute: 300,
            open_credentials_max: 10_000,
            open_credential_idle_seconds: 300,
        }
    }
}

impl Limits {
    fn check_sizes(&self, problems: &mut Vec<String>) {
        for (name, value, range) in [
            (
                "connections_max",
                self.connections_max as u64,
                1..=10_000_000,
            ),
            (
                "connections_per_source_max",
                self.connections_per_source_max as u64,
                1..=10_000_000,
            ),
            (
                "connections_per_session_max",
                self.connections_per_session_max as u64,
                1..=10_000_000,
            ),
            (
                "connections_per_tenant_max",
                self.connections_per_tenant_max as u64,
                1..=10_000_000,
            ),
            // A token of the longest kind, in Basic, needs 3 KiB.
            (
                "head_bytes_max",
                self.head_bytes_max as u64,
                4096..=1024 * 1024,
            ),
            (
                "tunnel_head_bytes_max",
                self.tunnel_head_bytes_max as u64,
                4096..=1024 * 1024,
            ),
            ("head_deadline_ms", self.head_deadline_ms, 100..=600_000),
            (
                "handshake_deadline_ms",
                self.handshake_deadline_ms,
                100..=600_000,
            ),
            ("idle_seconds", self.idle_seconds, 1..=86_400),
            (
                "write_timeout_ms",
                self.write_timeout_ms,
                1_000..=86_400_000,
            ),
            ("streams_max", u64::from(self.streams_max), 1..=10_000),
            (
                "refused_hosts_max",
                u64::from(self.refused_hosts_max),
                1..=1_000_000,
            ),
        ] {
            between(&format!("limits.{name}"), value, range, problems);
        }
    }

    fn check_caches(&self, problems: &mut Vec<String>) {
        for (name, value, range) in [
            ("lag_max_ms", self.lag_max_ms, 10..=60_000),
            ("buckets_max", self.buckets_max, 1..=10_000_000),
            ("leaves_max", self.leaves_max, 1..=10_000_000),
            ("tenants_max", self.tenants_max, 1..=1_000_000),
            ("tokens_max", self.tokens_max, 1..=10_000_000),
            (
                "failing_sources_max",
                self.failing_sources_max,
                1..=10_000_000,
            ),
            (
                "failures_per_minute",
                u64::from(self.failures_per_minute),
                1..=1_000_000,
            ),
            (
                "open_credentials_max",
                self.open_credentials_max,
                1..=1_000_000,
            ),
            (
                "open_credential_idle_seconds",
                self.open_credential_idle_seconds,
                1..=86_400,
            ),
        ] {
            between(&format!("limits.{name}"), value, range, problems);
        }
    }

    pub(super) const fn requests(&self) -> limit::Config {
        limit::Config {
            session_requests_max: self.requests_per_session_max,
            vault_requests_max: self.requests_per_vault_max,
            requests_max: self.requests_max,
            buckets_max: self.buckets_max,
        }
    }

    pub(super) fn pressure(&self) -> pressure::Config {
        pressure::Config {
            memory_max: (self.memory_max_bytes > 0).then_some(self.memory_max_bytes),
            lag_max: Duration::from_millis(self.lag_max_ms),
        }
    }

    /// Checks every bound.
    pub(super) fn check(self, problems: &mut Vec<String>) -> crate::client::Limits {
        self.check_sizes(problems);
        self.check_caches(problems);
        crate::client::Limits {
            connections_max: self.connections_max,
            connections_per_source_max: self.connections_per_source_max,
            connections_per_session_max: self.connections_per_session_max,
            connections_per_tenant_max: self.connections_per_tenant_max,
            head_bytes_max: self.head_bytes_max,
            tunnel_head_bytes_max: self.tunnel_head_bytes_max,
            head_deadline: Duration::from_millis(self.head_deadline_ms),
            handshake_deadline: Duration::from_millis(self.handshake_deadline_ms),
            idle: Duration::from_secs(self.idle_seconds),
            write_timeout: Duration::from_millis(self.write_timeout_ms),
            streams_max: self.streams_max,
            refused_hosts_max: self.refused_hosts_max,
        }
    }
}
