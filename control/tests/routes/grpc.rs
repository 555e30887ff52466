use serde_json::json;
use sortie_control::api::grpc::admin;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::admin_client::AdminClient;
use tonic::Request;
use tonic_types::StatusExt;

use crate::cluster::Cluster;

#[tokio::test]
async fn grpc_does_what_rest_does() {
    let cluster = Cluster::start().await;
    let owner = cluster.vault("acme").await;
    let mut client = AdminClient::new(admin::service(cluster.state.clone()));
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

#[tokio::test]
async fn rows_of_another_tenant_are_not_there_for_the_database_either() {
    let cluster = Cluster::start().await;
    cluster.vault("acme").await;
    let stranger = cluster.tenant("stranger").await;
    let own = stranger.get("/v1/tenants/-").await.expect(200);
    let tenant = own["id"].as_str().unwrap().parse().unwrap();
    let tx = cluster.database.tenant(tenant).await.unwrap();
    for table in [
        "vaults",
        "agents",
        "sessions",
        "credentials",
        "services",
        "grants",
    ] {
        let sql = format!("SELECT count(*) FROM {table}");
        let found: i64 = tx.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(found, 0, "{table}");
    }
    let act = tx.execute("DELETE FROM audit_acts", &[]).await;
    assert!(act.is_err(), "acts are never rewritten");
}
