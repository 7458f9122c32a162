//! A verdict as JSON, and the schema that it keeps to.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

use crate::verdict::Verdict;

/// The schema's name; the number rises with every change that a reader may trip over.
pub const SCHEMA: &str = "tso-probe/classify/1";

/// The verdict as one JSON object, its schema's name first.
pub fn json(verdict: &Verdict) -> Value {
    object(&Answer { schema: SchemaName::Classify, verdict })
}

/// The JSON Schema of what [`json`] returns.
pub fn schema() -> Value {
    schema_of::<Answer<'_>>(SCHEMA)
}

/// An answer of any command as one JSON object.
///
/// # Panics
/// If it has keys that are no strings.
pub fn object(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).expect("an answer has string keys alone")
}

/// The JSON Schema of an answer, under its name.
pub fn schema_of<T: JsonSchema>(name: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("title".to_owned(), name.into());
    schema.to_value()
}

/// What `classify --json` answers.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    /// Which schema this keeps to.
    schema: SchemaName,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

#[derive(Serialize, JsonSchema)]
enum SchemaName {
    #[serde(rename = "tso-probe/classify/1")]
    Classify,
}

#[cfg(test)]
mod tests {
    use serde_json::json as expected;

    use super::*;
    use crate::report::testing::{known, unknown};
    use crate::verdict::{Unknown, Verdict};

    #[test]
    fn a_verdict_has_the_shape_that_was_promised() {
        let json = json(&known());
        assert_eq!(
            json.as_object().and_then(|json| json.keys().next()),
            Some(&"schema".to_owned())
        );
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(
            json["findings"]["mapping"],
            expected!({"value": "endpoint-independent", "evidence": [1, 2, 3, 7]})
        );
        assert_eq!(
            json["findings"]["on_port_clash"]["value"],
            expected!({"mapping": "address-and-port-dependent", "port_assignment": "random", "overlapping": false, "order_counts": false})
        );
        assert_eq!(json["findings"]["filtering"]["value"], "address-dependent");
        assert_eq!(json["findings"]["filtering"]["established"]["value"], "endpoint-independent");
        assert_eq!(json["findings"]["port_assignment"]["step"], 2);
        assert_eq!(
            json["findings"]["port_assignment"]["next"],
            expected!([{"port": 4011, "probability": 0.9}])
        );
        assert_eq!(
            json["findings"]["unsolicited_syn"]["filtered_port"],
            expected!({"value": "dropped", "evidence": [5, 6], "error_bound": 3e-10})
        );
        assert_eq!(json["findings"]["unsolicited_syn"]["icmp"], "3/3");
        assert_eq!(json["findings"]["simultaneous_open"]["blocked_at"], "syn-ack-out");
        assert_eq!(json["requirements"][1]["ruling"], "broken");
        assert_eq!(json["vantage"]["reflectors"][1], "[2001:db8::1]:5384");
        assert_eq!(json["plan"]["longest_s"], 9.5);
        assert_eq!(json["traversal"], expected!([]));
    }

    #[test]
    fn what_is_unknown_says_why() {
        let json = json(&unknown(Unknown::HiddenByOtherBehaviour));
        let finding =
            expected!({"value": null, "unknown": "hidden-by-other-behaviour", "evidence": []});
        assert_eq!(json["findings"]["mapping"], finding);
    }

    #[test]
    fn every_verdict_keeps_to_the_schema() {
        for verdict in verdicts() {
            let json = json(&verdict);
            let broken: Vec<_> = validator()
                .iter_errors(&json)
                .map(|e| format!("{e} at {}", e.instance_path()))
                .collect();
            assert!(broken.is_empty(), "{broken:#?}");
        }
    }

    #[test]
    fn every_set_of_values_is_closed() {
        let validator = validator();
        for verdict in verdicts() {
            let json = json(&verdict);
            for path in words(&json, String::new()) {
                let mut foreign = json.clone();
                *foreign.pointer_mut(&path).expect("the path was just found") =
                    "foreign-word".into();
                assert!(!validator.is_valid(&foreign), "{path} takes any word");
            }
        }
    }

    #[test]
    fn the_schema_in_the_docs_is_the_one_that_is_printed() {
        let written = include_str!("../../docs/classify.schema.json");
        let printed = serde_json::to_string_pretty(&schema()).expect("a schema is JSON") + "\n";
        let remedy = "cargo run -- classify --json-schema > docs/classify.schema.json";
        assert!(
            written == printed,
            "docs/classify.schema.json is out of date; write it anew: {remedy}"
        );
    }

    fn validator() -> jsonschema::Validator {
        jsonschema::draft202012::new(&schema()).expect("the schema is a schema")
    }

    fn verdicts() -> Vec<Verdict> {
        let whys = [
            Unknown::NoAnswer,
            Unknown::NotAsked,
            Unknown::NotWaited,
            Unknown::Contradicted,
            Unknown::NeedsReflector,
            Unknown::NeedsSecondAddress,
            Unknown::NeedsSecondInternal,
            Unknown::NeedsPrivilege,
            Unknown::LossyPath,
            Unknown::HostFirewall,
            Unknown::HiddenByOtherBehaviour,
        ];
        whys.into_iter().map(unknown).chain([known()]).collect()
    }

    /// The paths of all texts that are one of a set of words, which prose, names and addresses are not.
    fn words(json: &Value, path: String) -> Vec<String> {
        let free = ["/because", "/summary", "/id", "/icmp", "/interface"];
        match json {
            Value::String(_) if free.iter().any(|end| path.ends_with(end)) => Vec::new(),
            Value::String(_) if path.starts_with("/vantage") || path.starts_with("/troubles") => {
                Vec::new()
            }
            Value::String(_) => vec![path],
            Value::Array(all) => all
                .iter()
                .enumerate()
                .flat_map(|(at, value)| words(value, format!("{path}/{at}")))
                .collect(),
            Value::Object(all) => {
                all.iter().flat_map(|(key, value)| words(value, format!("{path}/{key}"))).collect()
            }
            _ => Vec::new(),
        }
    }
}
