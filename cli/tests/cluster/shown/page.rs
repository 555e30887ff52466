//! `docs/clients.md` as a list of sections, each with its steps: files to write, and commands with what they print.
//!
//! A fence behind a line that is only "`NAME`:" is a file. A fence of `console` holds commands behind `$ `, each with its
//! output. Any other fence is an error, so that nothing stands there that no test runs. `…` in a line of output stands for
//! one character or more.

/// What stands below one heading. Its commands share a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) steps: Vec<Step>,
}

/// Something to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write a file.
    File { name: String, text: String },
    /// Run a command, and compare.
    Command { line: String, output: Vec<String> },
}

/// The sections of a page that have steps.
pub(super) fn sections(page: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut named = None;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            if line.starts_with('#') {
                let title = line.trim_start_matches(['#', ' ']).to_owned();
                let steps = Vec::new();
                sections.push(Section { title, steps });
            }
            named = line
                .strip_prefix('`')
                .and_then(|rest| rest.strip_suffix("`:"))
                .map(str::to_owned);
            continue;
        };
        let fenced: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let steps = match (named.take(), language) {
            (Some(name), _) => {
                let text = fenced.join("\n") + "\n";
                vec![Step::File { name, text }]
            }
            (None, "console") => commands(&fenced),
            (None, other) => panic!("a fence of `{other}` that no test runs: {fenced:?}"),
        };
        sections.last_mut().unwrap().steps.extend(steps);
    }
    sections.retain(|section| !section.steps.is_empty());
    sections
}

fn commands(fenced: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for shown in fenced {
        if let Some(command) = shown.strip_prefix("$ ") {
            let (line, output) = (command.to_owned(), Vec::new());
            steps.push(Step::Command { line, output });
        } else if let Some(Step::Command { output, .. }) = steps.last_mut() {
            output.push((*shown).to_owned());
        } else {
            panic!("output without a command: {shown}");
        }
    }
    steps
}

/// Whether a line that was printed is the one that is shown.
pub(crate) fn is_shown(shown: &str, printed: &str) -> bool {
    let mut pieces = shown.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        let Some((at, _)) = rest.char_indices().nth(1) else {
            return !rest.is_empty() && piece.is_empty() && pieces.peek().is_none();
        };
        let behind = &rest[at..];
        if pieces.peek().is_none() {
            return behind.ends_with(piece);
        }
        let Some(found) = behind.find(piece) else {
            return false;
        };
        rest = &behind[found + piece.len()..];
    }
    true
}

#[test]
fn a_page_is_read_in_order_and_nothing_is_left_out() {
    let page = "# A\n## B\n`a.py`:\n```python\nprint(1)\n```\ntext\n```console\n$ one\n\nout …\n$ two\n```\n\
                ### C\n```console\n$ three\n```\n";
    let command = |line: &str, output: &[&str]| Step::Command {
        line: line.to_owned(),
        output: output.iter().map(|&line| line.to_owned()).collect(),
    };
    let file = Step::File {
        name: "a.py".to_owned(),
        text: "print(1)\n".to_owned(),
    };
    let section = |title: &str, steps| Section {
        title: title.to_owned(),
        steps,
    };
    let b = [file, command("one", &["", "out …"]), command("two", &[])];
    let expect = [
        section("B", b.into()),
        section("C", vec![command("three", &[])]),
    ];
    assert_eq!(sections(page), expect);
    assert!(std::panic::catch_unwind(|| sections("```sh\nls\n```\n")).is_err());
}

#[test]
fn an_ellipsis_stands_for_a_character_or_more() {
    for (shown, printed, expect) in [
        ("same", "same", true),
        ("same", "same ", false),
        ("a … c", "a b c", true),
        ("a … c", "a  c", false),
        ("a …", "a b", true),
        ("a …", "a ", false),
        ("… c", "b c", true),
        ("(ses_…)", "(ses_1)", true),
        ("(ses_…)", "(ses_1", false),
        ("… a … b", "x a y b", true),
        ("… a … b", "x y b", false),
        ("", "", true),
        ("", "a", false),
        ("a b", "x a b", false),
    ] {
        assert_eq!(is_shown(shown, printed), expect, "{shown:?} {printed:?}");
    }
}
