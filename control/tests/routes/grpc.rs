use serde_json::json;
use sortie_control::api::grpc::admin;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::admin_client::AdminClient;
use tonic::Request;
use tonic_types::StatusExt;

use crate::support::Control;

#[tokio::test]
async fn grpc_does_what_rest_does() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let mut client = AdminClient::new(admin::service(control.state().clone()));
    let vault = |vault: &str| {
        let mut request = Request::new(v1::GetVaultRequest {
            tenant: "-".to_owned(),
            vault: vault.to_owned(),
        });
        let header = format!("Bearer {}", owner.key).parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        request
    };
    let view = client.get_vault(vault("v")).await.unwrap().into_inner();
    let rest = owner.get("/v1/tenants/-/vaults/v").await.expect(200);
    assert_eq!(json!(view), rest);
    let status = client.get_vault(vault("none")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    assert_eq!(status.metadata().get("sortie-code").unwrap(), "not_found");
    assert_eq!(status.get_details_error_info().unwrap().reason, "not_found");
    let stranger = v1::GetVaultRequest::default();
    let status = client.get_vault(stranger).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
}
