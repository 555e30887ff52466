use super::*;
use crate::import::format::Format;

fn candidates(files: &[(&str, &str)]) -> Vec<Candidate> {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| File {
            path: PathBuf::from(name),
            found: Format::of(std::path::Path::new(name))
                .unwrap()
                .find(text.as_bytes()),
            content: sortie_proto::secret::Secret::new(text.as_bytes().to_vec()),
        })
        .collect();
    known::candidates(&files, false)
}

#[test]
fn each_host_of_a_credential_gets_a_service_with_its_port() {
    let all = candidates(&[(
        ".netrc",
        "machine a.example login x password s3cret0123456\nmachine b.example login x password s3cret0123456\n",
    )]);
    let commands: Vec<_> = all.iter().flat_map(services).collect();
    assert_eq!(
        commands,
        [
            "sortie service set a-example-password --host a.example --placeholder A_EXAMPLE_PASSWORD",
            "sortie service set a-example-password-2 --host b.example --placeholder A_EXAMPLE_PASSWORD",
        ]
    );
    let all = candidates(&[(".npmrc", "//npm.example:8443/:_authToken=0123456789\n")]);
    let commands: Vec<_> = all.iter().flat_map(services).collect();
    assert_eq!(
        commands,
        [
            "sortie service set npm-example-8443-token --host npm.example --port 8443 --placeholder \
             NPM_EXAMPLE_8443_TOKEN"
        ]
    );
}

#[test]
fn a_bundle_gets_its_own_and_what_it_does_not_know_beside() {
    let all = candidates(&[
        (".env", "OPENAI_API_KEY=sk-0123456789abcdef\n"),
        (
            ".netrc",
            "machine mirror.example login x password sk-0123456789abcdef\n",
        ),
    ]);
    let commands: Vec<_> = all.iter().flat_map(services).collect();
    assert_eq!(
        commands,
        [
            "sortie service add openai",
            "sortie service set openai-api-key --host mirror.example --placeholder OPENAI_API_KEY",
        ]
    );
}
