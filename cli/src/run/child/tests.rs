use super::*;

fn ended(script: &str) -> ExitStatus {
    std::process::Command::new("sh")
        .args(["-c", script])
        .status()
        .unwrap()
}

#[test]
fn the_exit_code_is_the_commands() {
    let check = |script, code: u8| {
        assert_eq!(
            format!("{:?}", exit_code(ended(script))),
            format!("{:?}", ExitCode::from(code)),
            "{script}"
        );
    };
    check("exit 0", 0);
    check("exit 3", 3);
    check("kill -TERM $$", 143);
    check("kill -KILL $$", 137);
}
