//! `[redis]`: where gateways share limits.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sortie_proto::secret::Secret;

use super::between;
use crate::decision::limit::lease::redis;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRedis {
    /// `redis://` or `rediss://` (TLS), with name and password if it wants them. Without one, gateways share nothing.
    pub(super) url: Option<String>,
    /// A file with the address.
    url_file: Option<PathBuf>,
    /// How long a call may take, in milliseconds; then each gateway's own share of a limit counts. No request waits.
    budget_ms: u64,
}

impl Default for RawRedis {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            budget_ms: 5,
        }
    }
}

impl RawRedis {
    pub(super) fn check(self, problems: &mut Vec<String>) -> Option<redis::Config> {
        between("redis.budget_ms", self.budget_ms, 1..=1_000, problems);
        let text = match (self.url, self.url_file) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                problems.push("redis.url and redis.url_file are both set".to_owned());
                return None;
            }
            (Some(url), None) => url,
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) => {
                    problems.push(format!("redis.url_file {}: {error}", path.display()));
                    return None;
                }
            },
        };
        let url = Secret::new(text.trim().as_bytes().to_vec());
        if let Err(error) = redis::client(&url) {
            problems.push(format!("redis.url: {error}"));
            return None;
        }
        Some(redis::Config {
            url,
            budget: Duration::from_millis(self.budget_ms),
        })
    }
}
