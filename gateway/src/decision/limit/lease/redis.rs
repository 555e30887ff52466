//! The shared buckets in Redis: one script, run once a bucket, all of them in one pipeline.
//!
//! A bucket is one key: the moment at which it is full again, in microseconds of Redis' own clock, so that no node's
//! clock matters. It goes away by itself once it is full. One node of Redis holds all keys: a primary with replicas, not
//! a cluster of Redis.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, cmd, pipe};
use sortie_proto::secret::Secret;

use super::{Failure, Question, Store};
use crate::decision::limit::rate::Grant;

/// How long a connection may take to be made. Nobody waits for it.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Charges what is owed, then grants of what is wanted what is there.
///
/// `KEYS[1]` the bucket; `ARGV` period in microseconds, tokens in it, burst, owed, wanted. Answers the tokens granted,
/// and in how many microseconds there will be one, 0 if some were granted.
const SCRIPT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local each = ARGV[1] / ARGV[2]
local window = ARGV[3] * each
local most = now + window + 86400000000
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
full = math.min(math.max(full + ARGV[4] * each, now), most)
local room = math.floor((now + window - full) / each + 0.000001)
local granted = math.max(math.min(room, tonumber(ARGV[5])), 0)
full = full + granted * each
if full > now then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1000)
else
  redis.call('DEL', KEYS[1])
end
local dry = 0
if granted == 0 then dry = math.max(math.ceil(full + each - now - window), 1) end
return {granted, string.format('%.0f', dry)}";

/// Which Redis.
#[derive(Debug)]
pub struct Config {
    /// `redis://` or `rediss://`, with name and password if it wants them.
    pub url: Secret,
    /// How long a call may take; later answers count as none.
    pub budget: Duration,
}

/// The address means nothing.
#[derive(Debug, thiserror::Error)]
#[error("the address is not redis://HOST:PORT or rediss://HOST:PORT")]
pub struct InvalidUrl;

/// The buckets in a Redis.
#[derive(Debug)]
pub struct Redis {
    client: Client,
    /// What the keys of this cluster begin with.
    prefix: String,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    connection: MultiplexedConnection,
    /// The name under which this Redis knows the script.
    script: String,
}

/// Reads the address; nothing is connected.
///
/// # Errors
/// [`InvalidUrl`], without what it is about: a password may stand in it.
pub fn client(url: &Secret) -> Result<Client, InvalidUrl> {
    let url = std::str::from_utf8(url.expose()).or(Err(InvalidUrl))?;
    Client::open(url).or(Err(InvalidUrl))
}

impl Redis {
    /// Makes one for a cluster's buckets.
    ///
    /// # Errors
    /// [`InvalidUrl`].
    pub fn new(url: &Secret, cluster: &str) -> Result<Self, InvalidUrl> {
        Ok(Self {
            client: client(url)?,
            prefix: format!("sortie:{cluster}:"),
            live: None,
        })
    }

    fn key(&self, name: [u8; 16]) -> Vec<u8> {
        let mut key = self.prefix.as_bytes().to_vec();
        key.extend(
            name.iter()
                .flat_map(|byte| format!("{byte:02x}").into_bytes()),
        );
        key
    }
}

impl Store for Redis {
    async fn connect(&mut self) -> Result<(), Failure> {
        if self.live.is_some() {
            return Ok(());
        }
        let connecting = async {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_MAX))
                .set_response_timeout(Some(CONNECT_MAX));
            let mut connection = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            let script = cmd("SCRIPT")
                .arg("LOAD")
                .arg(SCRIPT)
                .query_async(&mut connection)
                .await?;
            Ok::<_, redis::RedisError>(Live { connection, script })
        };
        let connected = tokio::time::timeout(CONNECT_MAX, connecting).await;
        // The error may name the address and who it was for: it is dropped unread.
        self.live = Some(connected.or(Err(Failure))?.or(Err(Failure))?);
        Ok(())
    }

    async fn lease(&mut self, questions: &[Question]) -> Result<Vec<Grant>, Failure> {
        let live = self.live.as_ref().ok_or(Failure)?;
        let mut pipeline = pipe();
        for question in questions {
            let rate = question.rate;
            pipeline
                .cmd("EVALSHA")
                .arg(&live.script)
                .arg(1)
                .arg(self.key(question.name))
                .arg(u64::try_from(rate.per().duration().as_micros()).unwrap_or(u64::MAX))
                .arg(rate.count().get())
                .arg(rate.burst().get())
                .arg(question.owed)
                .arg(question.wanted);
        }
        let mut connection = live.connection.clone();
        let asked: Result<Vec<(i64, u64)>, _> = pipeline.query_async(&mut connection).await;
        let answers = asked.or(Err(Failure))?;
        let grants = answers.into_iter().map(|(tokens, dry)| Grant {
            tokens,
            dry: Duration::from_micros(dry),
        });
        Ok(grants.collect())
    }

    fn give_up(&mut self) {
        self.live = None;
    }
}
