//! A process that holds connections: started by [`memory`](super), told what to do line by line.
//!
//! | it reads | it does |
//! |---|---|
//! | `hold N` | opens as many as are missing to N, answers `held N` |
//! | `check` | looks whether each is still good, and makes a request on idle ones; answers `good N` |
//! | `drop` | closes all, answers `held 0` |

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rustls::ClientConfig;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::client;
use crate::cluster::{Cluster, write_tokens};
use crate::drive::wire::Route;
use crate::files::raise_file_limit;
use crate::hold::{Held, Holding};
use crate::plan::Protocol;

/// How many are opened, or asked, at once.
const AT_ONCE: usize = 32;
/// Open files besides the connections.
const SPARE: usize = 256;
/// A session has 256 open requests at most.
const PER_SESSION: usize = 200;
const _: () = assert!(PER_SESSION < 256, "the default of the gateway's limit");

/// What is held.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The gateway.
    #[arg(long)]
    proxy: SocketAddr,
    /// Host and port of the upstream.
    #[arg(long)]
    authority: String,
    /// The root of the gateway's leaves.
    #[arg(long)]
    root: PathBuf,
    /// A file with tokens, a line each.
    #[arg(long)]
    tokens: PathBuf,
    /// The most that are held.
    #[arg(long)]
    most: usize,
    /// How they do nothing.
    #[arg(long, value_enum)]
    kind: Holding,
}

/// Holds what it is told to, until it is told nothing more.
///
/// # Errors
/// When a connection cannot be opened.
pub fn run(options: &Options) -> Result<()> {
    raise_file_limit(options.most + SPARE)?;
    crate::block_on(1, serve(options))
}

/// What connections are opened with.
#[derive(Debug)]
struct Ways {
    kind: Holding,
    proxy: SocketAddr,
    host: String,
    port: u16,
    tokens: Vec<String>,
    tls: Arc<ClientConfig>,
}

impl Ways {
    async fn open(&self, index: usize) -> Result<Held> {
        let token = self.tokens.get(index % self.tokens.len().max(1));
        let route = Route {
            address: self.proxy,
            token: Some(token.context("no token")?.clone()),
            host: self.host.clone(),
            port: self.port,
            tls: Arc::clone(&self.tls),
            agent: index,
        };
        let held = Held::open(&route, self.kind).await;
        held.with_context(|| format!("connection {index}"))
    }
}

async fn serve(options: &Options) -> Result<()> {
    let (host, port) = options.authority.split_once(':').context("no port")?;
    let alpn = match options.kind.protocol() {
        Protocol::Http1 => "http/1.1",
        Protocol::Http2 => "h2",
    };
    let tokens = std::fs::read_to_string(&options.tokens)?;
    let ways = Ways {
        kind: options.kind,
        proxy: options.proxy,
        host: host.to_owned(),
        port: port.parse()?,
        tokens: tokens.lines().map(str::to_owned).collect(),
        tls: client::trusting(&options.root, &[alpn])?,
    };
    let mut held: Vec<Held> = Vec::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let said = match line.split_once(' ') {
            Some(("hold", count)) => {
                let missing = held.len()..count.parse()?;
                let opened = stream::iter(missing).map(|index| ways.open(index));
                let opened: Vec<_> = opened.buffer_unordered(AT_ONCE).try_collect().await?;
                held.extend(opened);
                format!("held {}", held.len())
            }
            _ if line == "check" => {
                let checked = stream::iter(&mut held).map(Held::check);
                let checked: Vec<_> = checked.buffer_unordered(AT_ONCE).collect().await;
                let good = checked.iter().filter(|one| one.is_ok()).count();
                format!("good {good}")
            }
            _ if line == "drop" => {
                held.clear();
                "held 0".to_owned()
            }
            _ => bail!("not understood: {line}"),
        };
        writeln!(std::io::stdout(), "{said}")?;
    }
    Ok(())
}

/// The other side of such a process.
#[derive(Debug)]
pub struct Holder {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    /// Starts one for a gateway, with sessions for the most that it may be told to hold.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(
        cluster: &Cluster,
        gateway: usize,
        (how, most): (Holding, usize),
    ) -> Result<Self> {
        let tenant = cluster.tenant(0)?;
        let sessions = tenant.mint(most.div_ceil(PER_SESSION).max(50)).await?;
        let file = cluster.folder().join(format!("tokens-{gateway}"));
        write_tokens(&file, &sessions)?;
        let kind = how.to_possible_value().context("a kind without a name")?;
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "hold",
                "--kind",
                kind.get_name(),
                "--most",
                &most.to_string(),
            ])
            .args(["--proxy", &cluster.gateway(gateway)?.proxy().to_string()])
            .args(["--authority", &cluster.authority(), "--root"])
            .arg(tenant.root())
            .arg("--tokens")
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let to = child.stdin.take().context("no standard input")?;
        let from = child.stdout.take().context("no standard output")?;
        Ok(Self {
            child,
            to,
            from: BufReader::new(from).lines(),
        })
    }

    /// Has it hold so many.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn hold(&mut self, count: usize) -> Result<()> {
        self.tell(&format!("hold {count}")).await.map(drop)
    }

    /// Has it close all.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn let_go(&mut self) -> Result<()> {
        self.tell("drop").await.map(drop)
    }

    /// Has it look at each, and answers how many are still good.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn check(&mut self) -> Result<usize> {
        self.tell("check").await
    }

    /// Ends it.
    pub async fn end(mut self) {
        drop(self.to);
        // Without more to read it ends; killed, if not.
        let _ended = self.child.wait().await;
    }

    async fn tell(&mut self, line: &str) -> Result<usize> {
        self.to.write_all(format!("{line}\n").as_bytes()).await?;
        let said = self.from.next_line().await?;
        let said = said.with_context(|| format!("the holder ended at: {line}"))?;
        let (_, number) = said.split_once(' ').context("not understood")?;
        Ok(number.parse()?)
    }
}
