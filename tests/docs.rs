//! What the documents say is so.

use std::fs;
use std::path::Path;

use tso_probe::nat::PRESETS;

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

fn document(name: &str) -> String {
    fs::read_to_string(path("docs").join(name)).expect("the document can be read")
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
