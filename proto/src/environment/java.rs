//! What a JVM is told: it reads neither the variables of a proxy nor a bundle in PEM.

use super::{Bracketed, Surroundings};

/// The password of the PKCS#12 trust store: what is in it is no secret, but Java reads no store without one before 18.
pub const TRUST_STORE_PASSWORD: &str = "changeit";

/// The value of `JAVA_TOOL_OPTIONS`.
///
/// A JVM sends the token of a proxy only if the program sets an `Authenticator`, and `Basic` in front of a tunnel only
/// with `disabledSchemes` emptied. The token itself does not stand here, because a JVM prints these options.
pub(super) fn options(around: &Surroundings<'_>) -> String {
    let mut options = Vec::new();
    for scheme in ["http", "https"] {
        options.push(format!(
            "-D{scheme}.proxyHost={}",
            Bracketed(around.proxy.host())
        ));
        options.push(format!("-D{scheme}.proxyPort={}", around.proxy.port()));
    }
    let hosts = around.no_proxy.java_patterns().join("|");
    options.push(format!("-Dhttp.nonProxyHosts={}", quoted(&hosts)));
    if let Some(path) = &around.files.trust_store {
        options.push(format!("-Djavax.net.ssl.trustStore={}", quoted(path)));
        options.push("-Djavax.net.ssl.trustStoreType=PKCS12".to_owned());
        options.push(format!(
            "-Djavax.net.ssl.trustStorePassword={TRUST_STORE_PASSWORD}"
        ));
    }
    options.push("-Djdk.http.auth.tunneling.disabledSchemes=".to_owned());
    options.join(" ")
}

/// A JVM splits its options at white space, but not between quotes; there is no way to escape one.
fn quoted(text: &str) -> String {
    if !text.contains(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\'')) {
        return text.to_owned();
    }
    let quote = |piece: &str| match piece.contains('"') {
        true => format!("'{piece}'"),
        false => format!("\"{piece}\""),
    };
    text.split_inclusive(['"', '\''])
        .flat_map(|piece| match piece.char_indices().last() {
            // A quote stands between quotes of the other kind, what is before it between its own.
            Some((at, mark @ ('"' | '\''))) => [
                piece.get(..at).unwrap_or_default().to_owned(),
                mark.to_string(),
            ],
            _ => [piece.to_owned(), String::new()],
        })
        .filter(|piece| !piece.is_empty())
        .map(|piece| quote(&piece))
        .collect()
}
