//! Compiles the wire definitions with protox, so that no `protoc` is needed.

use std::io::{Error, Result};

/// What the REST API answers is what gRPC answers, as JSON.
const JSON: &str = "#[derive(serde::Serialize, serde::Deserialize)] \
    #[cfg_attr(feature = \"openapi\", derive(utoipa::ToSchema))]";

/// Messages that control answers with.
const ANSWERS: [&str; 33] = [
    "Deleted",
    "Revoked",
    "Enforcement",
    "MissingGateway",
    "CreateTenantResponse",
    "TenantView",
    "ListTenantsResponse",
    "JoinTokenView",
    "GatewayView",
    "ListGatewaysResponse",
    "JournalAlarm",
    "ListJournalAlarmsResponse",
    "AuthorityView",
    "CreateApiKeyResponse",
    "ApiKeyView",
    "ListApiKeysResponse",
    "VaultView",
    "ListVaultsResponse",
    "CredentialView",
    "ListCredentialsResponse",
    "ServiceView",
    "ListServicesResponse",
    "CreateAgentResponse",
    "AgentView",
    "ListAgentsResponse",
    "GrantView",
    "MintSessionsResponse",
    "MintedSession",
    "EnvironmentFile",
    "SessionView",
    "ListSessionsResponse",
    "AuditEntry",
    "ListAuditResponse",
];

/// Those that callers send too: what is left out has its default, and what is not known is refused.
const SPECS: [&str; 8] = [
    "DestinationSpec",
    "ServiceSpec",
    "InjectionSpec",
    "PlaceholderSpec",
    "SessionSpec",
    "EnvironmentSpec",
    "LimitsSpec",
    "RateSpec",
];

/// Fields that JSON leaves out when they say nothing.
const OPTIONAL: [&str; 66] = [
    "Deleted.revision",
    "ListTenantsResponse.next_page_token",
    "ListGatewaysResponse.next_page_token",
    "ListJournalAlarmsResponse.next_page_token",
    "ListApiKeysResponse.next_page_token",
    "ListVaultsResponse.next_page_token",
    "ListCredentialsResponse.next_page_token",
    "ListServicesResponse.next_page_token",
    "ListAgentsResponse.next_page_token",
    "ListSessionsResponse.next_page_token",
    "ListAuditResponse.next_page_token",
    "GatewayView.acknowledged",
    "GatewayView.last_seen_at",
    "GatewayView.reported_at",
    "GatewayView.locked_at",
    "CredentialView.revoked_at",
    "GrantView.expires_at",
    "DestinationSpec.port",
    "DestinationSpec.path",
    "ServiceSpec.port",
    "ServiceSpec.placeholders",
    "ServiceView.warnings",
    "InjectionSpec.credential",
    "InjectionSpec.username",
    "InjectionSpec.name",
    "InjectionSpec.template",
    "MintSessionsResponse.environment",
    "MintSessionsResponse.proxy_variables",
    "MintSessionsResponse.files",
    "MintedSession.proxy_url",
    "MintedSession.environment",
    "MintedSession.files",
    "EnvironmentFile.encoding",
    "SessionView.user",
    "SessionView.parent",
    "SessionView.revoked_at",
    "AuditEntry.vault_id",
    "AuditEntry.session_id",
    "AuditEntry.agent_id",
    "AuditEntry.user",
    "AuditEntry.labels",
    "AuditEntry.action",
    "AuditEntry.subject",
    "AuditEntry.actor",
    "AuditEntry.service",
    "AuditEntry.credentials",
    "AuditEntry.method",
    "AuditEntry.url",
    "AuditEntry.outcome",
    "AuditEntry.code",
    "AuditEntry.status",
    "AuditEntry.request_bytes",
    "AuditEntry.response_bytes",
    "AuditEntry.duration_micros",
    "AuditEntry.gateway_id",
    "AuditEntry.decision_id",
    "TenantView.limits",
    "VaultView.limits",
    "VaultView.session_limits",
    "AgentView.limits",
    "AgentView.session_limits",
    "ServiceSpec.limits",
    "LimitsSpec.requests",
    "LimitsSpec.bytes",
    "LimitsSpec.concurrency",
    "RateSpec.burst",
];

fn main() -> Result<()> {
    let files =
        ["admin", "feed", "journal", "model"].map(|name| format!("wire/sortie/v1/{name}.proto"));
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(&files, ["wire"]).map_err(Error::other)?;
    let mut builder = tonic_prost_build::configure().build_transport(false);
    for message in ANSWERS {
        builder = builder.type_attribute(format!(".sortie.v1.{message}"), JSON);
    }
    for message in SPECS {
        let path = format!(".sortie.v1.{message}");
        builder = builder
            .type_attribute(&path, JSON)
            .type_attribute(&path, "#[serde(default, deny_unknown_fields)]");
    }
    for field in OPTIONAL {
        builder = builder.field_attribute(
            format!(".sortie.v1.{field}"),
            "#[serde(default, skip_serializing_if = \"crate::wire::is_default\")]",
        );
    }
    builder
        // One snapshot is sent to many: they share its bytes.
        .bytes(".sortie.v1.EncodedVault.snapshot")
        // Keys and values pass through these messages: their Debug would print them.
        .skip_debug([
            ".sortie.v1.CredentialPayload",
            ".sortie.v1.DataKey",
            ".sortie.v1.EncodedVault",
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
