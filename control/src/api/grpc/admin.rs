//! `sortie.v1.Admin`: the commands, as gRPC.

use std::collections::HashMap;
use std::future::Future;

use sortie_proto::code::Code;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::admin_server::{Admin, AdminServer};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::access::{self, Actor, Audit, Describe, Keys, Manage, Read, ReadAgent, Sessions};
use crate::api::State;
use crate::api::rest::CALL_MAX;
use crate::command::{
    agents, alarms, api_keys, audit, credentials, gateways, grants, revoke, services, sessions,
    tenants, vaults,
};
use crate::error::{Error, Result};

/// The largest message that is read, in bytes.
const MESSAGE_MAX: usize = 4 * 1024 * 1024;

/// The service.
#[derive(Debug)]
pub struct Calls {
    state: State,
}

/// The service, with its bounds.
#[must_use]
pub fn service(state: State) -> AdminServer<Calls> {
    AdminServer::new(Calls { state }).max_decoding_message_size(MESSAGE_MAX)
}

impl Calls {
    async fn actor(&self, metadata: &MetadataMap) -> Result<Actor> {
        let header = metadata.get("authorization");
        let header = header.map(tonic::metadata::MetadataValue::as_encoded_bytes);
        access::authenticate(&self.state.database, &self.state.keys, header).await
    }
}

async fn answer<T>(call: impl Future<Output = Result<T>>) -> Result<Response<T>, Status> {
    let elapsed = Err(Error::new(Code::Unavailable));
    let answer = tokio::time::timeout(CALL_MAX, call)
        .await
        .unwrap_or(elapsed);
    answer.map(Response::new).map_err(|error| status(&error))
}

/// An error as gRPC has it: the code's name as the reason of `google.rpc.ErrorInfo` and in the metadata, the fields as
/// `google.rpc.BadRequest` (AIP-193).
fn status(error: &Error) -> Status {
    error.log("an API call");
    let code = error.code();
    let mut details = ErrorDetails::new();
    details.set_error_info(code.name(), "sortie", HashMap::<String, String>::new());
    for (field, message) in error.field_errors() {
        details.add_bad_request_violation(field, message);
    }
    let mut status = Status::with_error_details(code.grpc(), error.detail(), details);
    if let Ok(name) = code.name().parse() {
        status.metadata_mut().insert("sortie-code", name);
    }
    status
}

/// Each line is a call: its messages, what the caller must be allowed, and the command.
macro_rules! calls {
    ($($rpc:ident($request:ident) -> $answer:ident, $action:ident => $noun:ident::$verb:ident(cx, by $($rest:tt)*);)*) => {
        #[tonic::async_trait]
        impl Admin for Calls {
            $(
                async fn $rpc(&self, message: Request<v1::$request>) -> Result<Response<v1::$answer>, Status> {
                    answer(async {
                        let actor = self.actor(message.metadata()).await?;
                        let request = message.into_inner();
                        let by = calls!(@allow self, actor, request, $action);
                        calls!(@run self, by, request, $noun::$verb $($rest)*)
                    })
                    .await
                }
            )*
        }
    };
    (@allow $self:ident, $actor:ident, $request:ident, operate) => {
        access::operate($actor)?
    };
    (@allow $self:ident, $actor:ident, $request:ident, $action:ident) => {
        access::authorize::<$action>(&$self.state.database, $actor, &$request.tenant).await?
    };
    (@run $self:ident, $by:ident, $request:ident, $noun:ident::$verb:ident) => {
        $noun::$verb(&$self.state, &$by).await
    };
    (@run $self:ident, $by:ident, $request:ident, $noun:ident::$verb:ident, request) => {
        $noun::$verb(&$self.state, &$by, $request).await
    };
    (@run $self:ident, $by:ident, $request:ident, $noun:ident::$verb:ident, &request.$field:ident) => {
        $noun::$verb(&$self.state, &$by, &$request.$field).await
    };
}

calls! {
    create_tenant(CreateTenantRequest) -> CreateTenantResponse, operate => tenants::create(cx, by, request);
    get_tenant(GetTenantRequest) -> TenantView, Describe => tenants::get(cx, by);
    list_tenants(ListTenantsRequest) -> ListTenantsResponse, operate => tenants::list(cx, by, request);
    update_tenant(UpdateTenantRequest) -> TenantView, operate => tenants::update(cx, by, request);
    create_join_token(CreateJoinTokenRequest) -> JoinTokenView, operate => gateways::create_join(cx, by, request);
    list_gateways(ListGatewaysRequest) -> ListGatewaysResponse, operate => gateways::list(cx, by, request);
    lock_gateway(LockGatewayRequest) -> GatewayView, operate => gateways::lock(cx, by, request);
    unlock_gateway(UnlockGatewayRequest) -> GatewayView, operate => gateways::unlock(cx, by, request);
    list_journal_alarms(ListJournalAlarmsRequest) -> ListJournalAlarmsResponse, operate => alarms::list(cx, by, request);
    get_authority(GetAuthorityRequest) -> AuthorityView, Describe => tenants::authority(cx, by);
    revoke_tenant(RevokeTenantRequest) -> Revoked, Manage => revoke::tenant(cx, by, request);
    create_api_key(CreateApiKeyRequest) -> CreateApiKeyResponse, Keys => api_keys::create(cx, by, request);
    list_api_keys(ListApiKeysRequest) -> ListApiKeysResponse, Keys => api_keys::list(cx, by, request);
    delete_api_key(DeleteApiKeyRequest) -> Deleted, Keys => api_keys::delete(cx, by, &request.api_key);
    create_vault(CreateVaultRequest) -> VaultView, Manage => vaults::create(cx, by, request);
    get_vault(GetVaultRequest) -> VaultView, Read => vaults::get(cx, by, &request.vault);
    list_vaults(ListVaultsRequest) -> ListVaultsResponse, Read => vaults::list(cx, by, request);
    update_vault(UpdateVaultRequest) -> VaultView, Manage => vaults::update(cx, by, request);
    delete_vault(DeleteVaultRequest) -> Deleted, Manage => vaults::delete(cx, by, &request.vault);
    revoke_vault(RevokeVaultRequest) -> Revoked, Manage => vaults::revoke(cx, by, request);
    put_credential(PutCredentialRequest) -> CredentialView, Manage => credentials::put(cx, by, request);
    get_credential(GetCredentialRequest) -> CredentialView, Read => credentials::get(cx, by, request);
    list_credentials(ListCredentialsRequest) -> ListCredentialsResponse, Read => credentials::list(cx, by, request);
    delete_credential(DeleteCredentialRequest) -> Deleted, Manage => credentials::delete(cx, by, request);
    revoke_credential(RevokeCredentialRequest) -> Revoked, Manage => credentials::revoke(cx, by, request);
    put_service(PutServiceRequest) -> ServiceView, Manage => services::put(cx, by, request);
    get_service(GetServiceRequest) -> ServiceView, Read => services::get(cx, by, request);
    list_services(ListServicesRequest) -> ListServicesResponse, Read => services::list(cx, by, request);
    delete_service(DeleteServiceRequest) -> Deleted, Manage => services::delete(cx, by, request);
    create_agent(CreateAgentRequest) -> CreateAgentResponse, Manage => agents::create(cx, by, request);
    get_agent(GetAgentRequest) -> AgentView, ReadAgent => agents::get(cx, by, &request.agent);
    list_agents(ListAgentsRequest) -> ListAgentsResponse, ReadAgent => agents::list(cx, by, request);
    update_agent(UpdateAgentRequest) -> AgentView, Manage => agents::update(cx, by, request);
    delete_agent(DeleteAgentRequest) -> Deleted, Manage => agents::delete(cx, by, &request.agent);
    revoke_agent(RevokeAgentRequest) -> Revoked, Manage => agents::revoke(cx, by, request);
    put_grant(PutGrantRequest) -> GrantView, Manage => grants::put(cx, by, request);
    delete_grant(DeleteGrantRequest) -> Deleted, Manage => grants::delete(cx, by, request);
    mint_session(MintSessionRequest) -> MintedSession, Sessions => sessions::mint(cx, by, request);
    mint_sessions(MintSessionsRequest) -> MintSessionsResponse, Sessions => sessions::mint_batch(cx, by, request);
    renew_session(RenewSessionRequest) -> MintedSession, Sessions => sessions::renew(cx, by, request);
    list_sessions(ListSessionsRequest) -> ListSessionsResponse, Sessions => sessions::list(cx, by, request);
    revoke_session(RevokeSessionRequest) -> Revoked, Sessions => sessions::revoke(cx, by, request);
    revoke_sessions(RevokeSessionsRequest) -> Revoked, Sessions => revoke::sessions(cx, by, request);
    list_audit(ListAuditRequest) -> ListAuditResponse, Audit => audit::list(cx, by, request);
}
