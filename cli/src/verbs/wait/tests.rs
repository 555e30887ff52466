use serde_json::json;

use super::{Again, Wait};
use crate::error::Error;
use crate::output::{Format, Output};

/// What is to be done next, after an answer that leaves it open.
fn next(revoked: &serde_json::Value, again: Again) -> String {
    let wait = Wait { wait: Some(1) };
    match wait.done(Output::new(Format::Json), revoked, ("revoked", again)) {
        Err(Error::Failed { next, .. }) => next,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_may_revoke_again_is_told_what_that_ends() {
    let missing = json!({ "name": "edge-1", "id": "1", "fenced_at": "2030-01-01T00:00:00Z" });
    let silent = json!({ "enforcement": { "gateways": 1, "missing": [missing] } });
    for revoked in [json!({}), silent] {
        for (again, said) in [
            (Again::Nothing, "changes nothing"),
            (Again::Sessions, "sessions that were minted meanwhile"),
            (Again::Value, "a value that was set meanwhile"),
        ] {
            let next = next(&revoked, again);
            assert!(next.contains(said), "{next}");
        }
    }
}
