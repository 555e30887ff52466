use std::collections::BTreeSet;

use crate::support::Control;

const ADMIN: &str = include_str!("../../../proto/wire/sortie/v1/admin.proto");

#[tokio::test]
async fn the_description_is_complete() {
    let control = Control::start().await;
    let document = control.caller("").get("/openapi.json").await.expect(200);
    let rpcs: BTreeSet<_> = ADMIN
        .lines()
        .filter_map(|line| line.trim().strip_prefix("rpc "))
        .map(|rest| rest.split('(').next().unwrap().to_owned())
        .collect();
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(operations.insert(id.to_owned()), "{id} comes twice");
            assert!(
                operation["summary"].is_string(),
                "{method} {path} says what it does"
            );
        }
    }
    assert_eq!(operations, rpcs, "each call is there in REST and in gRPC");
    insta::assert_json_snapshot!(document);
}
