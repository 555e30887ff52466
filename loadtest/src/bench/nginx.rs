//! NGINX as a plain TLS-to-TLS reverse proxy: one worker, keep-alive to the upstream, no log, no session resumption.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use tokio::process::Command;

use super::process::{Process, start_listening};
use super::stand::HOST;
use crate::cpus::Apart;
use crate::upstream::certificate;

/// Starts it in a folder that holds the upstream's authority.
///
/// # Errors
/// When it cannot be started or does not listen.
pub async fn start(
    program: &Path,
    folder: &Path,
    (listen, upstream): (SocketAddr, u16),
    apart: &Apart,
) -> Result<Process> {
    certificate::write_pem(folder, &[HOST.to_owned()], "nginx")?;
    let config = folder.join("nginx.conf");
    std::fs::write(&config, configuration(folder, listen, upstream))?;
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&config)
        .arg("-e")
        .arg("stderr");
    start_listening(("nginx", folder), &mut command, (listen, apart)).await
}

fn configuration(folder: &Path, listen: SocketAddr, upstream: u16) -> String {
    let folder = folder.display();
    // As root the worker would become another user, who may not read the folder.
    let user = if nix::unistd::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n"))
        .concat();
    format!(
        r#"{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 16384; }}
http {{
    access_log off;
{temporary}
    upstream up {{
        server 127.0.0.1:{upstream};
        keepalive 128;
        keepalive_requests 100000000;
    }}
    server {{
        listen {listen} ssl http2;
        server_name {HOST};
        ssl_certificate {folder}/nginx.pem;
        ssl_certificate_key {folder}/nginx.key;
        ssl_protocols TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;
        keepalive_requests 100000000;
        location / {{
            proxy_pass https://up;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host {HOST}:{upstream};
            proxy_set_header Authorization "Bearer not-a-secret-but-as-long-as-one";
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {folder}/ca.pem;
            proxy_ssl_name {HOST};
            proxy_ssl_server_name on;
        }}
    }}
}}
"#
    )
}
