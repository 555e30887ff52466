use super::*;

/// What is found, as (line, key, host, value), and what stands there once each that is sure is replaced by `PUT`.
fn check(format: Format, text: &str, expect: &[(usize, &str, &str, &str)], after: &str) {
    let found = format.find(text.as_bytes());
    let seen: Vec<_> = found
        .iter()
        .map(|found| {
            let value = String::from_utf8(found.value.expose().to_vec()).unwrap();
            (
                found.line,
                found.key.clone(),
                found.host.clone().unwrap_or_default(),
                value,
            )
        })
        .collect();
    let seen: Vec<_> = seen
        .iter()
        .map(|(line, key, host, value)| (*line, key.as_str(), host.as_str(), value.as_str()))
        .collect();
    assert_eq!(seen, expect, "{text}");
    let parts = found
        .into_iter()
        .filter(|found| found.unsure.is_none())
        .map(|found| (found.at, found.encoding.write("PUT")));
    let spliced = crate::import::record::splice(text.as_bytes(), parts.collect()).unwrap();
    assert_eq!(String::from_utf8(spliced).unwrap(), after);
}

#[test]
fn dotenv_with_every_kind_of_quote() {
    let text = "\u{feff}# comment=no\nA=plain # comment\nexport B = \"dou#ble\\n\\\"x\\\"\" # c\r\nC='sin gle'\n\
                D=`back`\nE=a#b\nF=\nG=\"two\nlines\"\nnot an assignment\n1bad key=x\nH=last";
    check(
        Format::Dotenv,
        text,
        &[
            (2, "A", "", "plain"),
            (3, "B", "", "dou#ble\n\"x\""),
            (4, "C", "", "sin gle"),
            (5, "D", "", "back"),
            (6, "E", "", "a#b"),
            (8, "G", "", "two\nlines"),
            (12, "H", "", "last"),
        ],
        "\u{feff}# comment=no\nA=PUT # comment\nexport B = \"PUT\" # c\r\nC='PUT'\nD=`back`\nE=PUT\nF=\nG=\"PUT\"\n\
         not an assignment\n1bad key=x\nH=PUT",
    );
}

#[test]
fn dotenv_leaves_references_and_broken_quotes() {
    let text = "A=${OTHER}\nB=\"x$NAME\"\nC=$(command)\nE='$kept'\nF=\"\\$kept\"\nG=pa$5word\n\
                H=sk-__OPENAI_API_KEY__\nD=\"never closed\n";
    check(
        Format::Dotenv,
        text,
        &[
            (4, "E", "", "$kept"),
            (5, "F", "", "$kept"),
            (6, "G", "", "pa$5word"),
            (8, "D", "", "never closed"),
        ],
        "A=${OTHER}\nB=\"x$NAME\"\nC=$(command)\nE='PUT'\nF=\"PUT\"\nG=PUT\nH=sk-__OPENAI_API_KEY__\nD=\"never closed\n",
    );
}

#[test]
fn dotenv_says_what_it_is_not_sure_of() {
    let text = "A=pa$$word0123\nB=\"x${NAME}-01234567\"\nC=\"never closed 01\nD=`pass show x`\nE=$NAME\nF=${N}short\nG=sure";
    let found = Format::Dotenv.find(text.as_bytes());
    let seen: Vec<_> = found
        .iter()
        .map(|found| (found.key.as_str(), found.unsure.is_some()))
        .collect();
    assert_eq!(
        seen,
        [
            ("A", true),
            ("B", true),
            ("C", true),
            ("D", true),
            ("G", false)
        ]
    );
}

#[test]
fn direnv_is_read_as_well() {
    for name in [".env", ".envrc", ".env.local"] {
        assert_eq!(Format::of(Path::new(name)), Some(Format::Dotenv));
    }
    assert_eq!(Format::of(Path::new(".envrc.example")), None);
}

#[test]
fn npmrc_tokens_passwords_and_pairs() {
    let text = "; c\n//registry.npmjs.org/:_authToken=npm_abc\n//npm.example.com:8443/x/:_password = \"c2VjcmV0\"\n\
                _auth=dXNlcjpwYXNz\n//r.example/:_authToken=${NPM_TOKEN}\nregistry=https://r.example/\n";
    check(
        Format::Npmrc,
        text,
        &[
            (2, "_authToken", "registry.npmjs.org", "npm_abc"),
            (3, "_password", "npm.example.com:8443", "secret"),
            (4, "_auth", "registry.npmjs.org", "dXNlcjpwYXNz"),
        ],
        "; c\n//registry.npmjs.org/:_authToken=PUT\n//npm.example.com:8443/x/:_password = \"UFVU\"\n\
         _auth=PUT\n//r.example/:_authToken=${NPM_TOKEN}\nregistry=https://r.example/\n",
    );
}

#[test]
fn netrc_in_one_line_or_many() {
    let text = "# password no\nmachine github.com login me password tok1\nmachine a.example\n  login password\n  \
                password \"with \\\"space\" # c\nmacdef init\nmachine no password no\n\ndefault login x password tok2\n";
    check(
        Format::Netrc,
        text,
        &[
            (2, "password", "github.com", "tok1"),
            (5, "password", "a.example", "with \"space"),
            (9, "password", "", "tok2"),
        ],
        "# password no\nmachine github.com login me password PUT\nmachine a.example\n  login password\n  \
         password \"PUT\" # c\nmacdef init\nmachine no password no\n\ndefault login x password PUT\n",
    );
}

#[test]
fn aws_profiles_and_pypirc() {
    check(
        Format::Aws,
        "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s/e+c=\n[ dev ]\nAWS_SESSION_TOKEN=tok\n# x=y\n",
        &[
            (3, "aws_secret_access_key", "", "s/e+c="),
            (5, "aws_session_token_dev", "", "tok"),
        ],
        "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = PUT\n[ dev ]\nAWS_SESSION_TOKEN=PUT\n# x=y\n",
    );
    check(
        Format::Pypirc,
        "[distutils]\nindex-servers = pypi\n[pypi]\nusername = __token__\npassword = pypi-abc\n[own]\npassword: no\n",
        &[(5, "password", "upload.pypi.org", "pypi-abc")],
        "[distutils]\nindex-servers = pypi\n[pypi]\nusername = __token__\npassword = PUT\n[own]\npassword: no\n",
    );
}

#[test]
fn hosts_of_gh_with_accounts() {
    let text = "github.com:\n    user: me\n    oauth_token: gho_1\n    users:\n        me:\n            oauth_token: \"gho_1\"\n\
                ghe.example.com:\n    oauth_token: gho_2 \n    git_protocol: https\n";
    check(
        Format::Hosts,
        text,
        &[
            (3, "oauth_token", "github.com", "gho_1"),
            (6, "oauth_token", "github.com", "gho_1"),
            (8, "oauth_token", "ghe.example.com", "gho_2"),
        ],
        "github.com:\n    user: me\n    oauth_token: PUT\n    users:\n        me:\n            oauth_token: \"PUT\"\n\
         ghe.example.com:\n    oauth_token: PUT \n    git_protocol: https\n",
    );
}

#[test]
fn gits_store_is_percent_encoded() {
    let text = "https://me:p%40ss%2Fword@github.com\nhttps://u%3A:x@git.example.com:8443/repo\nhttps://nobody@h\nno url\n";
    check(
        Format::Store,
        text,
        &[
            (1, "password", "github.com", "p@ss/word"),
            (2, "password", "git.example.com:8443", "x"),
        ],
        "https://me:PUT@github.com\nhttps://u%3A:PUT@git.example.com:8443/repo\nhttps://nobody@h\nno url\n",
    );
}

#[test]
fn names_say_the_format() {
    let check = |path: &str, format| assert_eq!(Format::of(Path::new(path)), format, "{path}");
    check("x/.env", Some(Format::Dotenv));
    check(".env.local", Some(Format::Dotenv));
    check(".env.example", None);
    check(".env.sortie-import", None);
    check(".env~", None);
    check(".envrc", Some(Format::Dotenv));
    check("h/.aws/credentials", Some(Format::Aws));
    check("h/git/credentials", Some(Format::Store));
    check("h/other/credentials", None);
    check("gh/hosts.yml", Some(Format::Hosts));
    check("_netrc", Some(Format::Netrc));
}

#[test]
fn placeholders_are_known_again() {
    for text in [
        "__A__",
        "ghp___GITHUB_TOKEN__",
        "sk-ant-__ANTHROPIC_API_KEY__",
        "AC__TWILIO_ACCOUNT_SID__",
    ] {
        assert!(is_placeholder(text.as_bytes()), "{text}");
    }
    for text in [
        "",
        "__",
        "__a__",
        "__token__",
        "ghp_A__B",
        "____",
        "x__A__y",
    ] {
        assert!(!is_placeholder(text.as_bytes()), "{text}");
    }
}

/// A generator that gives the same texts each time: tests have to fail the same way twice.
struct Texts(u64);

impl Texts {
    fn next(&mut self) -> usize {
        // Knuth's MMIX constants.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.next() % from.len()]
    }
}

const ALL: [Format; 7] = [
    Format::Dotenv,
    Format::Npmrc,
    Format::Netrc,
    Format::Aws,
    Format::Pypirc,
    Format::Hosts,
    Format::Store,
];

/// What files are made of.
const PIECES: [&str; 36] = [
    "A",
    "TOKEN",
    "=",
    " = ",
    "\"",
    "'",
    "`",
    "\\",
    "\n",
    "\r\n",
    "#",
    " #",
    " ",
    "$",
    "${",
    "}",
    ":",
    "//",
    "/",
    "@",
    "%",
    "%4",
    "%40",
    "https://",
    "machine ",
    "password ",
    "login ",
    "macdef ",
    "default ",
    "[",
    "]",
    "_authToken",
    "_password",
    "oauth_token:",
    "aws_secret_access_key",
    "é",
];

/// Whatever a file holds: ranges stand in order inside it, and putting the raw bytes back gives the same file.
#[test]
fn no_text_breaks_a_parser() {
    let mut texts = Texts(7);
    for _ in 0..4_000 {
        let count = texts.next() % 24;
        let text: String = (0..count).map(|_| texts.pick(&PIECES)).collect();
        for format in ALL {
            let found = format.find(text.as_bytes());
            let mut from = 0;
            for found in &found {
                assert!(
                    found.at.start >= from && found.at.end >= found.at.start,
                    "{format:?} {text:?}"
                );
                from = found.at.end;
            }
            assert!(from <= text.len(), "{format:?} {text:?}");
            let parts = found.iter().map(|found| {
                let raw = String::from_utf8_lossy(slice(text.as_bytes(), &found.at)).into_owned();
                (found.at.clone(), raw)
            });
            let same = crate::import::record::splice(text.as_bytes(), parts.collect());
            assert_eq!(
                same.as_deref(),
                Some(text.as_bytes()),
                "{format:?} {text:?}"
            );
        }
    }
    // Bytes that are no text.
    for format in ALL {
        assert!(format.find(&[0xff; 64]).is_empty());
        assert!(format.find(b"").is_empty());
    }
}

/// What is written in a format is found in it, and once its place is taken, not any more.
#[test]
fn what_is_written_is_found_and_then_gone() {
    const VALUES: [&str; 6] = [
        "abcdefgh",
        "a-b_c.d~e",
        "a=b=c===",
        "a#b",
        "pass:word/x",
        "9f8e7d6c5b4a",
    ];
    let mut texts = Texts(11);
    for round in 0..600 {
        let value = format!("{}{round}", texts.pick(&VALUES));
        let before = texts.pick(&["", "# c\n", "\n\n", "X=1\n"]);
        for (format, text) in [
            (Format::Dotenv, format!("{before}K={value}\n")),
            (
                Format::Dotenv,
                format!("{before}export K=\"{value}\"\r\nL=2\n"),
            ),
            (Format::Dotenv, format!("K='{value}' # {value}")),
            (Format::Npmrc, format!("//h.example/:_authToken={value}\n")),
            (
                Format::Netrc,
                format!("machine h.example\n\tlogin x\n\tpassword {value}\n"),
            ),
            (
                Format::Netrc,
                format!("machine h.example login x password \"{value}\""),
            ),
            (
                Format::Aws,
                format!("[default]\naws_secret_access_key={value}\n"),
            ),
            (
                Format::Hosts,
                format!("h.example:\n  oauth_token: {value}\n"),
            ),
        ] {
            let found = format.find(text.as_bytes());
            let found: Vec<_> = found
                .iter()
                .filter(|found| found.value.same_as(value.as_bytes()))
                .collect();
            assert_eq!(found.len(), 1, "{format:?} {text:?}");
            let parts = vec![(found[0].at.clone(), found[0].encoding.write("__K__"))];
            let after = crate::import::record::splice(text.as_bytes(), parts).unwrap();
            let left = format.find(&after);
            assert!(
                !left
                    .iter()
                    .any(|found| found.value.same_as(value.as_bytes())),
                "{format:?}"
            );
        }
    }
}
