//! The runtimes: how each is asked for one request, and what it reads.

use std::fs;
use std::path::Path;

use reqwest::Url;

use super::super::variables::RUN;
use crate::error::{Error, Result};

/// How a runtime tells what arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Our program prints one line.
    Line,
    /// It shows the header of the answer among other things.
    Headers,
    /// It has words of its own for an answer.
    Words,
}

/// A runtime with its HTTP client.
#[derive(Debug)]
pub(super) struct Runtime {
    /// What its row is called.
    pub(super) name: &'static str,
    pub(super) program: &'static str,
    arguments: &'static [&'static str],
    /// What is set for it besides the environment.
    pub(super) environment: &'static [(&'static str, &'static str)],
    pub(super) speaks: Speaks,
    /// The variable that it finds the proxy by.
    pub(super) proxy: &'static str,
    /// The variable that says what it trusts; empty if there is none.
    trust: &'static str,
    /// Whether the folder in which it is started has settings for it.
    pub(super) looks_around: bool,
}

/// Where the URL stands among the arguments.
const URL: &str = "{url}";

/// What Cargo calls a registry of files over HTTP.
const SPARSE: &str = "sparse+";

const PLAIN: Runtime = Runtime {
    name: "",
    program: "",
    arguments: &[],
    environment: &[],
    speaks: Speaks::Line,
    proxy: "HTTPS_PROXY",
    trust: "SSL_CERT_FILE",
    looks_around: false,
};

pub(super) const RUNTIMES: [Runtime; 18] = [
    Runtime {
        name: "curl",
        program: "curl",
        arguments: &[
            "--silent",
            "--show-error",
            "--suppress-connect-headers",
            "--dump-header",
            "-",
            "--output",
            "/dev/null",
            "--max-time",
            "20",
            URL,
        ],
        speaks: Speaks::Headers,
        trust: "CURL_CA_BUNDLE",
        ..PLAIN
    },
    Runtime {
        name: "wget",
        program: "wget",
        arguments: &[
            "--server-response",
            "--output-document=/dev/null",
            "--tries=1",
            "--timeout=20",
            "--max-redirect=0",
            URL,
        ],
        speaks: Speaks::Headers,
        proxy: "https_proxy",
        trust: "",
        ..PLAIN
    },
    Runtime {
        name: "git",
        program: "git",
        arguments: &["ls-remote", URL],
        environment: &[
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "true"),
            ("GIT_TRACE_CURL", "1"),
            ("GIT_TRACE_CURL_NO_DATA", "1"),
            ("GIT_TRACE_REDACT", "1"),
        ],
        speaks: Speaks::Headers,
        trust: "GIT_SSL_CAINFO",
        looks_around: true,
        ..PLAIN
    },
    Runtime {
        name: "python3 urllib",
        program: "python3",
        arguments: &["reach.py", "urllib.request", URL],
        ..PLAIN
    },
    Runtime {
        name: "python3 requests",
        program: "python3",
        arguments: &["reach.py", "requests", URL],
        trust: "REQUESTS_CA_BUNDLE",
        ..PLAIN
    },
    Runtime {
        name: "python3 httpx",
        program: "python3",
        arguments: &["reach.py", "httpx", URL],
        ..PLAIN
    },
    Runtime {
        name: "node",
        program: "node",
        arguments: &["reach.mjs", URL],
        trust: "NODE_EXTRA_CA_CERTS",
        ..PLAIN
    },
    Runtime {
        name: "npm",
        program: "npm",
        arguments: &[
            "ping",
            "--loglevel=http",
            "--fetch-retries=0",
            "--registry",
            URL,
        ],
        environment: &[
            ("npm_config_update_notifier", "false"),
            ("npm_config_logs_max", "0"),
        ],
        speaks: Speaks::Words,
        trust: "npm_config_cafile",
        ..PLAIN
    },
    Runtime {
        name: "uv",
        program: "uv",
        arguments: &[
            "pip",
            "install",
            "--dry-run",
            "--no-cache",
            "--target",
            "uv",
            "--default-index",
            URL,
            "sortie-doctor",
        ],
        environment: &[("UV_HTTP_TIMEOUT", "20"), ("UV_NO_CONFIG", "1")],
        speaks: Speaks::Words,
        ..PLAIN
    },
    Runtime {
        name: "java",
        program: "java",
        arguments: &["Reach.java", URL],
        proxy: "JAVA_TOOL_OPTIONS",
        trust: "",
        ..PLAIN
    },
    Runtime {
        name: "go",
        program: "go",
        arguments: &["run", "reach.go", URL],
        // What the program is built with comes from this machine, whatever its settings say.
        environment: &[
            ("GOFLAGS", "-mod=mod"),
            ("GOTOOLCHAIN", "local"),
            ("GOPROXY", "off"),
            ("GOWORK", "off"),
        ],
        ..PLAIN
    },
    Runtime {
        name: "cargo",
        program: "cargo",
        arguments: &[
            "search",
            "--limit",
            "1",
            "--index",
            "sparse+{url}",
            "sortie-doctor",
        ],
        environment: &[
            ("CARGO_NET_RETRY", "0"),
            ("CARGO_HTTP_TIMEOUT", "20"),
            ("CARGO_TERM_COLOR", "never"),
        ],
        speaks: Speaks::Headers,
        trust: "CARGO_HTTP_CAINFO",
        ..PLAIN
    },
    Runtime {
        name: "ruby",
        program: "ruby",
        arguments: &["reach.rb", URL],
        ..PLAIN
    },
    Runtime {
        name: "php",
        program: "php",
        arguments: &["reach.php", URL],
        ..PLAIN
    },
    Runtime {
        name: "deno",
        program: "deno",
        arguments: &[
            "run",
            "--quiet",
            "--no-prompt",
            "--no-lock",
            "--allow-net",
            "reach.mjs",
            URL,
        ],
        trust: "DENO_CERT",
        ..PLAIN
    },
    Runtime {
        name: "bun",
        program: "bun",
        arguments: &["reach.mjs", URL],
        trust: "NODE_EXTRA_CA_CERTS",
        ..PLAIN
    },
    Runtime {
        name: "gh",
        program: "gh",
        arguments: &["api", "--include", URL],
        // It asks nothing without a token, and sends one to GitHub's own hosts alone.
        environment: &[("GH_TOKEN", "none"), ("GH_NO_UPDATE_NOTIFIER", "1")],
        speaks: Speaks::Headers,
        ..PLAIN
    },
    Runtime {
        name: "aws",
        program: "aws",
        arguments: &[
            "s3api",
            "list-buckets",
            "--no-sign-request",
            "--region=us-east-1",
            "--cli-connect-timeout=20",
            "--cli-read-timeout=20",
            "--endpoint-url",
            URL,
        ],
        environment: &[("AWS_MAX_ATTEMPTS", "1"), ("AWS_PAGER", "")],
        speaks: Speaks::Words,
        trust: "AWS_CA_BUNDLE",
        ..PLAIN
    },
];

const PROGRAMS: [(&str, &str); 6] = [
    ("reach.py", include_str!("programs/reach.py")),
    ("reach.mjs", include_str!("programs/reach.mjs")),
    ("Reach.java", include_str!("programs/Reach.java")),
    ("reach.go", include_str!("programs/reach.go")),
    ("reach.rb", include_str!("programs/reach.rb")),
    ("reach.php", include_str!("programs/reach.php")),
];

/// Writes the programs that make the requests.
///
/// # Errors
/// [`Error::File`].
pub(super) fn write_programs(folder: &Path) -> Result<()> {
    PROGRAMS.iter().try_for_each(|(name, text)| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| Error::file("write", &path, source))
    })
}

impl Runtime {
    /// The same program, asked for nothing but its version.
    pub(super) const fn asked_for_its_version(
        program: &'static str,
        _argument: &'static str,
    ) -> Self {
        Self {
            name: program,
            program,
            ..PLAIN
        }
    }

    /// What it is started with.
    pub(super) fn arguments(&self, url: &Url) -> Vec<String> {
        self.arguments
            .iter()
            .map(|argument| match argument.strip_prefix(SPARSE) {
                // Cargo takes folders only.
                Some(_) => format!("{SPARSE}{}/", url.as_str().trim_end_matches('/')),
                None => argument.replace(URL, url.as_str()),
            })
            .collect()
    }

    /// What makes it trust the gateway.
    pub(super) fn trust_fix(&self, bundle: Option<&str>) -> String {
        if self.program == "java" {
            return "sortie trust install --store java".to_owned();
        }
        if self.program == "go" && cfg!(target_os = "macos") {
            return "sortie trust install --store system   # Go on macOS ignores SSL_CERT_FILE"
                .to_owned();
        }
        if self.program == "php" {
            let bundle = bundle.unwrap_or("SSL_CERT_FILE");
            return format!("php -d curl.cainfo=\"${bundle}\" …   # or set curl.cainfo in php.ini");
        }
        match (self.trust, bundle) {
            ("", Some(bundle)) => format!("{} --ca-certificate=\"${bundle}\" …", self.program),
            (name, Some(bundle)) if name != bundle => format!("export {name}=\"${bundle}\""),
            _ => RUN.to_owned(),
        }
    }
}
