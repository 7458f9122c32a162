//! The rules that keep the crate readable, read off its source: who imports whom, which crates stay
//! behind which fence, how long things are, and that nothing that decides asks a clock.
//!
//! rustfmt's layout is relied on: a function ends at the first line that is its indentation and a
//! closing brace.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules in order: each imports only what stands before it.
const ORDER: [&str; 19] = [
    "time",
    "wire",
    "tcp",
    "nat",
    "engine",
    "rendezvous",
    "probe",
    "punch",
    "capture",
    "verdict",
    "sim",
    "os",
    "live",
    "doctor",
    "lab",
    "report",
    "serve",
    "cli",
    "main",
];

/// The last module that decides something and therefore is handed the time.
const LAST_TIMELESS: &str = "sim";

/// Crates with the one module that imports them.
const FENCES: [(&str, &str); 26] = [
    ("maud", "report"),
    ("flate2", "os"),
    ("hashbrown", "capture"),
    ("smallvec", "capture"),
    ("stun_types", "wire"),
    ("etherparse", "wire"),
    ("pcap_parser", "capture"),
    ("comfy_table", "report"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
    ("ipnetwork", "cli"),
    ("nix", "os"),
    ("pcap", "os"),
    ("pnet", "os"),
    ("ring", "punch"),
    ("rustls", "os"),
    ("rustls_native_certs", "os"),
    ("fast_socks5", "serve"),
    ("futures_util", "serve"),
    ("httparse", "serve"),
    ("tokio_tungstenite", "serve"),
    ("rand_chacha", "punch"),
    ("spake2", "punch"),
    ("tokio", "serve"),
    ("tokio_rustls", "serve"),
];

/// What depends on the moment or on the process, in words of the source.
const UNREPEATABLE: [&str; 6] =
    ["HashMap", "HashSet", "SystemTime", "std::time::Instant", "thread::sleep", "Instant::now"];

const LONGEST_FUNCTION: usize = 70;
const LONGEST_FILE: usize = 400;
const LONGEST_MAIN: usize = 10;

#[test]
fn modules_import_only_what_stands_before_them() {
    expect_none("imports upwards; move what is shared down, or the importer up", |file| {
        file.lines_with("crate::", |line| {
            let named = line.split("crate::").skip(1).map(first_word);
            named.filter(|module| !file.may_import(module)).map(str::to_owned).collect()
        })
    });
}

#[test]
fn a_module_reaches_others_by_their_full_path_alone() {
    expect_none(
        "hides what it imports; write one 'use crate::module::…' for each module",
        |file| {
            let grouped = file.lines_with("crate::{", |_| vec!["crate::{".to_owned()]);
            let is_root = file.is_module_root();
            let root = file.lines_with("super::", |_| {
                is_root.then(|| "super::".to_owned()).into_iter().collect()
            });
            [grouped, root].concat()
        },
    );
}

#[test]
fn every_module_has_its_place_in_the_order() {
    expect_none("is of a module without a place; add it to ORDER in tests/structure.rs", |file| {
        let known = ORDER.contains(&file.module.as_str()) || file.module == "lib";
        if known { Vec::new() } else { vec![(1, file.module.clone())] }
    });
}

#[test]
fn fenced_crates_stay_behind_their_fence() {
    for (name, module) in FENCES {
        expect_none(&format!("is imported outside src/{module}"), |file| {
            let path = format!("{name}::");
            file.lines_with(&path, |line| {
                let uses = file.module != module && has_word(line, &path);
                uses.then(|| name.to_owned()).into_iter().collect()
            })
        });
    }
}

#[test]
fn what_decides_is_handed_the_time_and_repeats() {
    let last = rank(LAST_TIMELESS);
    for word in UNREPEATABLE {
        expect_none("differs from run to run; take it as an argument, or use a BTreeMap", |file| {
            let decides = rank(&file.module) <= last;
            file.lines_with(word, |_| decides.then(|| word.to_owned()).into_iter().collect())
        });
    }
}

#[test]
fn unsafe_stands_in_os_alone() {
    expect_none("is allowed in src/os alone", |file| {
        file.lines_with("unsafe", |line| {
            let found = file.module != "os" && has_word(line, "unsafe ");
            found.then(|| "unsafe".to_owned()).into_iter().collect()
        })
    });
}

#[test]
fn functions_are_short() {
    expect_none(&format!("is longer than {LONGEST_FUNCTION} lines"), |file| {
        let starts = file.all.iter().enumerate().filter(|(_, line)| is_function(line));
        let long = starts.filter_map(|(start, line)| {
            let length = function_length(&file.all[start..], line)?;
            let name = line.split("fn ").nth(1).unwrap_or_default();
            let name = name.split(['(', '<']).next().unwrap_or_default();
            (length > LONGEST_FUNCTION).then(|| (start + 1, format!("{name} ({length} lines)")))
        });
        long.collect()
    });
}

#[test]
fn files_are_short_without_their_tests() {
    expect_none(&format!("is over {LONGEST_FILE} lines without its tests"), |file| {
        let length = file.code.len();
        if length <= LONGEST_FILE { Vec::new() } else { vec![(1, format!("{length} lines"))] }
    });
}

#[test]
fn main_is_a_short_story() {
    let lines = source("main").all.len();
    assert!(
        lines <= LONGEST_MAIN,
        "src/main.rs has {lines} lines; at most {LONGEST_MAIN} are enough"
    );
}

/// Runs a rule over every file, and fails with all that breaks it.
fn expect_none(complaint: &str, rule: impl Fn(&Source) -> Vec<(usize, String)>) {
    let files = sources();
    let broken = files.iter().flat_map(|file| {
        let places = rule(file);
        places.into_iter().map(|(line, what)| format!("{}:{line}: {what} {complaint}", file.path))
    });
    let broken: Vec<_> = broken.collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// One file of the crate.
struct Source {
    /// From the crate's root on.
    path: String,
    /// Its module, one of [`ORDER`].
    module: String,
    /// Its lines up to its tests.
    code: Vec<String>,
    /// All its lines.
    all: Vec<String>,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a source file can be read");
        let all: Vec<_> = text.lines().map(str::to_owned).collect();
        let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("it is of this crate");
        let module = path.iter().nth(1).unwrap_or_default().to_string_lossy();
        let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
        let code = all.iter().take_while(|line| !is_test && line.trim() != "#[cfg(test)]");
        Self {
            code: code.cloned().collect(),
            module: module.trim_end_matches(".rs").to_owned(),
            path: path.to_string_lossy().into_owned(),
            all,
        }
    }

    /// The lines of code, comments aside, that hold this text, with what the rule finds in each.
    fn lines_with(&self, text: &str, find: impl Fn(&str) -> Vec<String>) -> Vec<(usize, String)> {
        let numbered = self.code.iter().enumerate();
        let relevant = numbered
            .filter(|(_, line)| line.contains(text) && !line.trim_start().starts_with("//"));
        let found = relevant
            .flat_map(|(index, line)| find(line).into_iter().map(move |what| (index + 1, what)));
        found.collect()
    }

    fn may_import(&self, module: &str) -> bool {
        !ORDER.contains(&module) || rank(module) <= rank(&self.module)
    }

    /// Whether `super` is the crate's root here.
    fn is_module_root(&self) -> bool {
        let depth = Path::new(&self.path).components().count();
        depth == 2 || depth == 3 && self.path.ends_with("/mod.rs")
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    paths.sort();
    paths.iter().map(|path| Source::read(path)).collect()
}

fn source(module: &str) -> Source {
    sources().into_iter().find(|file| file.module == module).expect("the module is there")
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a source directory can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// A module's place in the order; one without comes last.
fn rank(module: &str) -> usize {
    ORDER.iter().position(|known| *known == module).unwrap_or(ORDER.len())
}

fn first_word(text: &str) -> &str {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
}

/// Whether the text stands there as a word, and not as the end of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let ends_word = |before: &str| {
        before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':')
    };
    line.match_indices(word).any(|(at, _)| !ends_word(&line[..at]))
}

fn is_function(line: &str) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    let before = words.iter().take_while(|word| **word != "fn");
    let modifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe"];
    words.contains(&"fn") && before.into_iter().all(|word| modifiers.contains(word))
}

/// From its first line to its closing brace; none for a declaration without a body.
fn function_length(lines: &[String], first: &str) -> Option<usize> {
    let indentation = &first[..first.len() - first.trim_start().len()];
    let opening = lines.iter().find(|line| line.ends_with(['{', ';', '}']))?;
    if !opening.ends_with('{') {
        return None;
    }
    let end = format!("{indentation}}}");
    lines.iter().position(|line| *line == end).map(|index| index + 1)
}

#[test]
fn the_rules_see_what_they_are_to_see() {
    assert!(is_function("    pub(crate) const fn f() {"));
    assert!(!is_function("    /// fn f() {"));
    assert!(!is_function("    show: fn(&T) -> String,"));
    assert!(has_word("use clap::Parser;", "clap::") && !has_word("use my_clap::P;", "clap::"));
    assert_eq!(first_word("wire::{Endpoint}"), "wire");
    let lines: Vec<_> = ["fn f() {", "    g();", "}"].map(str::to_owned).into();
    assert_eq!(function_length(&lines, &lines[0]), Some(3));
    assert_eq!(function_length(&["fn f();".to_owned()], "fn f();"), None);
    assert!(rank("wire") < rank("cli") && rank("none") > rank("cli"));
}
