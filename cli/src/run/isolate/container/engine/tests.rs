use super::*;

#[test]
fn files_made_inside_belong_to_the_caller_with_every_engine() {
    let caller = format!("--user={}:{}", geteuid(), getegid());
    let user = |kind, rootless| {
        let engine = Engine {
            program: "engine".into(),
            kind,
            rootless,
        };
        engine.user()
    };
    assert_eq!(user(Kind::Docker, false), ["--userns=host", &caller]);
    assert_eq!(user(Kind::Docker, true), ["--user=0:0"]);
    assert_eq!(user(Kind::Podman, false), [caller.as_str()]);
    assert_eq!(user(Kind::Podman, true), ["--userns=keep-id", &caller]);
}

#[tokio::test]
async fn what_is_no_engine_is_told_from_one_that_does_not_answer() {
    let error = Engine::find(Some(Path::new("/nowhere/docker"))).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("/nowhere/docker: No such file"), "{error}");
    let error = Engine::find(Some(Path::new("/bin/true"))).await;
    let error = error.unwrap_err().to_string();
    assert_eq!(
        error,
        "no container engine answers: /bin/true: its daemon does not answer"
    );
}
