use std::collections::HashMap;

use super::*;
use crate::fixture;

#[test]
fn behind_it_the_rest_of_a_record_makes_the_whole_of_it() {
    let tenant = fixture::tenant();
    let mut vault = fixture::vault(&tenant, vec![]);
    let mut claims = fixture::session(&mut vault);
    claims.user = Some("ann".to_owned());
    claims.labels = [
        ("team".to_owned(), "a".to_owned()),
        ("run".to_owned(), "7".to_owned()),
    ]
    .into();
    let caller = Caller::for_test(claims.clone());
    let (target, _path) = fixture::target("https://a.test:8443/");
    let mut bytes = Origin::new(&caller, Some(&target)).as_bytes().to_vec();
    let rest = v1::Use {
        vault_id: vault.vault.id.to_bytes(),
        method: "GET".to_owned(),
        path: "/x".to_owned(),
        ..v1::Use::default()
    };
    rest.encode(&mut bytes).unwrap();
    let whole = v1::Use {
        tenant_id: claims.tenant.to_bytes(),
        session_id: claims.session.to_bytes(),
        agent_id: claims.agent.to_bytes(),
        user: "ann".to_owned(),
        labels: HashMap::from([
            ("team".to_owned(), "a".to_owned()),
            ("run".to_owned(), "7".to_owned()),
        ]),
        scheme: "https".to_owned(),
        host: "a.test".to_owned(),
        port: 8443,
        source: "127.0.0.1".to_owned(),
        ..rest
    };
    assert_eq!(v1::Use::decode(bytes.as_slice()).unwrap(), whole);
    let unknown = Origin::new(&caller, None);
    assert_eq!(v1::Use::decode(unknown.as_bytes()).unwrap().host, "");
}
