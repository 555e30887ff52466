use super::*;

fn tail(length: usize) -> String {
    "a1B2c3D4e5".chars().cycle().take(length).collect()
}

#[test]
fn well_known_secrets_are_seen_wherever_they_stand() {
    for (prefix, length, kind) in [
        ("ghp_", 36, "a GitHub token"),
        ("github_pat_", 82, "a GitHub token"),
        ("sk-ant-api03-", 90, "an Anthropic key"),
        ("sk-proj-", 48, "an OpenAI key"),
        ("sk-", 48, "a model provider's key"),
        ("AKIA", 16, "an AWS access key"),
        ("xoxb-", 20, "a Slack token"),
        ("glpat-", 20, "a GitLab token"),
        ("npm_", 36, "an npm token"),
        ("sortie_ses_", 100, "a session of Sortie"),
    ] {
        let value = format!("{prefix}{}", tail(length));
        let inside = format!("https://me:{value}@host.example/x");
        assert_eq!(secret_kind("X", &value), Some(kind), "{prefix}");
        assert_eq!(secret_kind("X", &inside), Some(kind), "{prefix} inside");
        assert_eq!(secret_kind("X", prefix), None, "{prefix} alone");
        let word = format!("a{value}");
        assert_eq!(secret_kind("X", &word), None, "{prefix} in a word");
    }
    assert_eq!(
        secret_kind("KEY", "-----BEGIN OPENSSH PRIVATE KEY-----\nAA=="),
        Some("a private key")
    );
}

#[test]
fn names_that_leave_no_doubt_count_too() {
    assert_eq!(
        secret_kind("AWS_SECRET_ACCESS_KEY", &tail(40)),
        Some("an AWS secret key")
    );
    assert_eq!(secret_kind("AWS_SECRET_ACCESS_KEY", ""), None);
    assert_eq!(secret_kind("AWS_REGION", "eu-central-1"), None);
}

#[test]
fn ordinary_values_are_left_alone() {
    for value in [
        "/usr/bin:/bin",
        "en_US.UTF-8",
        "__GITHUB_TOKEN__",
        "sk-learn",
        "npm_config",
        "ghp_short",
        "https://registry.npmjs.org/",
        "-----BEGIN CERTIFICATE-----",
    ] {
        assert_eq!(secret_kind("X", value), None, "{value}");
    }
}
