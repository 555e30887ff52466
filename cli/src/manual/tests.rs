use clap::CommandFactory as _;

use super::*;
use crate::args::Args;
use crate::output::Format;

#[test]
fn there_is_a_page_for_each_verb_and_it_holds_the_examples() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("man1");
    let options = Man {
        folder: folder.clone(),
    };
    man(&options, Args::command(), Output::new(Format::Json)).unwrap();
    let page = std::fs::read_to_string(folder.join("sortie-credential-set.1")).unwrap();
    assert!(page.contains("GITHUB_TOKEN"), "{page}");
    assert!(folder.join("sortie.1").exists());
    assert!(!folder.join("sortie-help.1").exists());
}

#[test]
fn each_shell_is_told_the_verbs() {
    for shell in Shell::value_variants() {
        let mut text = Vec::new();
        let mut command = Args::command();
        clap_complete::generate(Generator::from(*shell), &mut command, "sortie", &mut text);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("credential") && text.contains("completions"));
    }
}
