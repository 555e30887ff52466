//! A control alone: on its own PostgreSQL, with one tenant, vault and agent, and no gateway. For what is measured of
//! control itself, with nodes and callers that are simulated.

pub mod figures;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hyper::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::bench::process::Process;
use crate::bench::report::say;
use crate::bench::rest::Api;
use crate::bench::stand::free_address;

/// A running control.
#[derive(Debug)]
pub struct Alone {
    pub(crate) folder: PathBuf,
    pub(crate) control: Process,
    /// An operator's way in.
    pub(crate) operator: Api,
    /// The tenant owner's way in.
    pub(crate) owner: Api,
    /// The metrics.
    pub(crate) admin: Api,
}

impl Alone {
    /// Starts control and makes what is needed.
    ///
    /// # Errors
    /// When it does not start, or refuses a call.
    pub async fn start(program: &Path, more: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("sortie-alone-{}", std::process::id()));
        // It must be new: anyone may have put something of that name there.
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        say(&format!("logs are in {} until the end", folder.display()));
        let (api, feed, admin) = (free_address()?, free_address()?, free_address()?);
        let data = folder.join("control");
        let config = folder.join("control.toml");
        let text = format!(
            "data_dir = {data:?}\n[api]\nlisten = \"{api}\"\n[feed]\nlisten = \"{feed}\"\nadvertise = \"{feed}\"\n\
             [admin]\nlisten = \"{admin}\"\n{more}"
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(program);
        let mut control = Process::start("control", &folder, command.arg("--config").arg(&config))?;
        let admin = Api {
            address: admin,
            key: String::new(),
        };
        let is_ready = || async { admin.text("/readyz", "*/*").await.is_ok() };
        control.until(is_ready).await?;
        let key = std::fs::read_to_string(data.join("operator.key")).context("no operator.key")?;
        let operator = Api {
            address: api,
            key: key.trim().to_owned(),
        };
        let owner = populate(&operator).await?;
        Ok(Self {
            folder,
            control,
            operator,
            owner,
            admin,
        })
    }

    /// The process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.control
    }

    /// Control's data folder, in which its PostgreSQL is.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("control")
    }

    /// The sum of a metric over all its labels that hold a text.
    ///
    /// # Errors
    /// When control does not answer.
    pub async fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let text = self.admin.text("/metrics", "*/*").await?;
        let lines = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        // An empty sum of floats is -0.
        Ok(values.sum::<f64>() + 0.0)
    }

    /// Ends it, and removes its folder.
    pub async fn stop(self) {
        self.control.stop().await;
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            say(&format!("{} stays: {error}", self.folder.display()));
        }
    }
}

/// Makes a tenant with a vault and an agent that may use it; answers the owner's way in.
async fn populate(operator: &Api) -> Result<Api> {
    let tenant = json!({"name": "bench"});
    let tenant = operator.call(Method::POST, "/v1/tenants", &tenant).await?;
    let owner = Api {
        address: operator.address,
        key: text(&tenant, "/owner_key")?,
    };
    let grant = "/v1/tenants/-/vaults/bench/grants/bench";
    for (method, path, body) in [
        (
            Method::POST,
            "/v1/tenants/-/vaults",
            json!({"name": "bench"}),
        ),
        (
            Method::POST,
            "/v1/tenants/-/agents",
            json!({"name": "bench"}),
        ),
        (Method::PUT, grant, json!({"role": "user"})),
    ] {
        owner.call(method, path, &body).await?;
    }
    Ok(owner)
}

/// A text in an answer.
///
/// # Errors
/// When it is not there.
pub fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    Ok(found
        .with_context(|| format!("the answer has no {pointer}"))?
        .to_owned())
}
