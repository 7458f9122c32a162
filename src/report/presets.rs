//! The NATs that have a name, as a table and as JSON.

use comfy_table::ColumnConstraint;
use serde_json::{Value, json};

use super::table::{plain, text_of};
use crate::nat::{PRESETS, Preset};

/// The presets as text of this many columns.
pub fn presets_table(width: u16) -> String {
    let mut table = plain(width);
    table.set_header(["NAT", "What it is, and what it stands for"]);
    table.set_constraints([ColumnConstraint::ContentWidth]);
    for Preset { name, about, cites, .. } in PRESETS {
        table.add_row([(*name).to_owned(), format!("{about}\n  {cites}")]);
    }
    text_of(&table) + "\n"
}

/// The presets as one JSON object.
pub fn presets_json() -> Value {
    let preset = |preset: &Preset| json!({"name": preset.name, "about": preset.about, "cites": preset.cites});
    let presets: Vec<_> = PRESETS.iter().map(preset).collect();
    json!({"schema": "tso-probe/lab-list/1", "presets": presets})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_listed() {
        let (table, json) = (presets_table(80), presets_json());
        for (index, preset) in PRESETS.iter().enumerate() {
            assert!(table.contains(preset.name), "{table}");
            assert_eq!(json["presets"][index]["name"], preset.name);
        }
    }
}
