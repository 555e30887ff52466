//! Compiles the wire definitions with protox, so that no `protoc` is needed.

use std::io::{Error, Result};

fn main() -> Result<()> {
    let files =
        ["admin", "feed", "journal", "model"].map(|name| format!("wire/sortie/v1/{name}.proto"));
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(&files, ["wire"]).map_err(Error::other)?;
    tonic_prost_build::configure()
        .build_transport(false)
        // Keys and values pass through these messages: their Debug would print them.
        .skip_debug([
            ".sortie.v1.CredentialPayload",
            ".sortie.v1.DataKey",
            ".sortie.v1.PutCredentialRequest",
            ".sortie.v1.EnrolRequest",
            ".sortie.v1.SignIntermediateRequest",
            ".sortie.v1.Subscribe",
            ".sortie.v1.CreateTenantResponse",
            ".sortie.v1.JoinTokenView",
            ".sortie.v1.CreateApiKeyResponse",
            ".sortie.v1.CreateAgentResponse",
            ".sortie.v1.MintedSession",
        ])
        .compile_fds(descriptors)
}
