//! What the documents say is so.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tso_probe::nat::PRESETS;
use tso_probe::rendezvous::introducer::{Answer, Code, Request};
use tso_probe::{capture, report, verdict};

#[test]
fn every_preset_is_documented_with_what_it_stands_for() {
    let table: String = PRESETS
        .iter()
        .map(|preset| format!("| `{}` | {} | {} |\n", preset.name, preset.about, preset.cites))
        .collect();
    let written = document("presets.md");
    assert!(written.contains(&table), "docs/presets.md should hold this table:\n{table}");
}

#[test]
fn requirements_name_files_that_exist() {
    let written = document("requirements.md");
    let named = written.split('`').skip(1).step_by(2).filter(|name| name.starts_with("src/"));
    let missing: Vec<_> = named.filter(|name| !path(name).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_requirement_has_its_row() {
    let written = document("requirements.md");
    let requirements = [
        "REQ-1", "REQ-2", "REQ-2a", "REQ-3", "REQ-3a", "REQ-3b", "REQ-4", "REQ-4a", "REQ-5",
        "REQ-5a", "REQ-6", "REQ-7", "REQ-8", "REQ-8a", "REQ-9", "REQ-10", "§2", "§2.1", "§2.2",
        "§3", "§4", "§5", "§6", "§7", "§7.1", "§8", "§9", "§10", "§11", "§12",
    ];
    for requirement in requirements {
        let rows = written.lines().filter(|line| line.starts_with(&format!("| {requirement} ")));
        assert_eq!(rows.count(), 1, "{requirement}");
    }
}

#[test]
fn the_readme_links_to_what_is_there() {
    let written = fs::read_to_string(path("README.md")).expect("README.md can be read");
    let links = written.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let here = links.filter(|link| !link.starts_with("http"));
    let missing: Vec<_> = here.filter(|link| !path(link).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Whoever types a code from the documents or the help is not told that there is no such word.
#[test]
fn every_code_in_documents_and_help_is_one() {
    let mut texts = vec![document("protocol.md")];
    texts.extend(
        ["README.md", "CHANGELOG.md"].map(|name| fs::read_to_string(path(name)).expect(name)),
    );
    for command in ["punch", "proxy"] {
        let help = Command::new(env!("CARGO_BIN_EXE_tso-probe")).args([command, "--help"]).output();
        texts.push(String::from_utf8(help.expect("it runs").stdout).expect("help is text"));
    }
    let is_of_code = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let is_code = |word: &&str| {
        let mut parts = word.split('-');
        let is_room = parts.next().is_some_and(|room| room.parse::<u32>().is_ok());
        let words: Vec<_> = parts.collect();
        let is_word =
            |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
        is_room && words.len() > 1 && words.iter().all(is_word)
    };
    for text in texts {
        let codes: Vec<_> =
            text.split(|letter| !is_of_code(letter)).filter(is_code).map(str::to_owned).collect();
        assert!(!codes.is_empty(), "there is an example in each");
        for code in codes {
            assert_eq!(code.parse::<tso_probe::punch::Code>().err(), None, "{code}");
        }
    }
}

#[test]
fn the_picture_needs_nothing_from_elsewhere() {
    let picture = document("classify.svg").replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for reference in ["http:", "https:", "url(", "href", "@import", "@font-face", "<script"] {
        assert!(!picture.contains(reference), "{reference}");
    }
}

/// Frames and times differ from run to run; what follows from them does not.
#[test]
fn the_picture_shows_what_the_program_says() {
    let octets = fs::read(path("captures/openwrt-kernel.pcapng")).expect("the capture is there");
    let evidence = capture::read(&octets).expect("the capture is one of ours");
    let table = report::table(&verdict::judge(&evidence.run), 80, false);
    let (_, rulings) = table.split_once("  RFC 5382").expect("there are rulings");
    let (rulings, _) = rulings.split_once("Took").expect("the plan comes last");
    let picture = document("classify.svg");
    let shown: Vec<_> = picture.lines().filter_map(text_of).collect();
    for piece in rulings.lines().flat_map(|line| line.split("  ")).map(str::trim) {
        assert!(piece.is_empty() || shown.contains(&piece), "{piece}: run `make picture`");
    }
}

/// What a line of the picture shows.
fn text_of(line: &str) -> Option<&str> {
    line.strip_prefix("<text ")?.split_once('>')?.1.strip_suffix("</text>")
}

fn document(name: &str) -> String {
    fs::read_to_string(path("docs").join(name)).expect("the document can be read")
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Each message in a table of `docs/protocol.md` is one that the server takes or says, as it is written.
#[test]
fn messages_of_the_protocol_are_as_documented() {
    let page = document("protocol.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | `{"));
    let mut count = 0;
    for (who, rest) in rows {
        let text = format!("{{{}", rest.trim_end_matches("` |"));
        // What peers say to each other is held against its type where that is.
        if text.starts_with("{\"signal\"") {
            continue;
        }
        let written: Value = serde_json::from_str(&text).expect(&text);
        let read = if who.starts_with("server") {
            serde_json::from_str::<Answer>(&text).map(serde_json::to_value)
        } else {
            serde_json::from_str::<Request>(&text).map(serde_json::to_value)
        };
        assert_eq!(read.expect(&text).expect("it is JSON"), written);
        count += 1;
    }
    assert!(count >= 15, "only {count} messages were found");
}

#[test]
fn errors_of_the_protocol_are_as_documented() {
    let page = document("protocol.md");
    let table = page.split("| code | what happened | then |").nth(1).expect("the table of errors");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    let mut named = 0;
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        for name in cells[1].split(", ").map(|name| name.trim_matches('`')) {
            let code: Code = serde_json::from_value(name.into()).expect(name);
            assert_eq!(code.closes(), cells[3].ends_with("closes"), "{row}");
            named += 1;
        }
    }
    assert_eq!(named, Code::ALL.len());
}
