//! A verdict → what people and programs read: a table, JSON and its schema, remarks on frames.
//!
//! [`Masker`] takes the addresses out of a verdict and its evidence alike.

mod analyze;
mod doctor;
mod json;
mod ladder;
mod mask;
mod meetings;
mod os_table;
mod placements;
mod picture;
mod ports;
mod presets;
mod progress;
mod punch;
mod remark;
mod stun;
mod table;
mod timing;
pub mod words;

pub use analyze::{
    Analysis, CaptureAccount, Judged, JudgedRun, analyze_page, analyze_schema, analyze_text,
    closing_json, connection_json, connection_picture, connection_text, merged_picture,
    merged_text, opening_json, remarks,
};
pub use doctor::{doctor_json, doctor_schema, doctor_table};
pub use json::{SCHEMA, json, schema};
pub use mask::Masker;
pub use meetings::Meetings;
pub use os_table::{HostPair, os_table_json, os_table_schema, os_table_text};
pub use placements::{Placement, placements_json, placements_schema, placements_text};
pub use ports::{ports_json, ports_schema, ports_text};
pub use presets::{presets_json, presets_table};
pub use progress::{busy, doors, progress, serving};
pub use punch::{
    lab_run_json, lab_run_schema, opened_in_words, punch_failed, punch_json, punch_picture,
    punch_schema, punch_text,
};
pub use remark::remark;
pub use stun::{stun_json, stun_schema, stun_table};
pub use table::table;
pub use timing::{Window, timing_json, timing_schema, timing_text};

/// Verdicts for the tests of whatever shows one.
#[cfg(test)]
pub(crate) mod testing {
    use crate::engine::{Effort, Trouble};
    use crate::nat::{
        CrossingSegment, Filtering, Hairpinning, Mapping, PortAssignment, SimultaneousOpen,
        UnsolicitedSyn,
    };
    use crate::verdict::*;

    /// Everything is known, with every detail there is.
    pub fn known() -> Verdict {
        Verdict {
            findings: known_findings(),
            requirements: vec![
                ruling("REQ-1", Level::Must, Decision::Met, "Its mapping is endpoint-independent."),
                ruling("REQ-2a", Level::Must, Decision::Broken, "Our SYN,ACK did not get out."),
                ruling(
                    "REQ-3",
                    Level::Should,
                    Decision::Undecided,
                    "The two sets of probes to 198.51.100.1 disagree.",
                ),
                ruling("REQ-10", Level::Must, Decision::NotAsked, "Not part of this run."),
            ],
            vantage: Vantage {
                internal: vec!["10.0.0.2".parse().expect("an address")],
                external: vec!["198.51.100.1".parse().expect("an address")],
                reflectors: vec![
                    "203.0.113.1:5383".parse().expect("an endpoint"),
                    "[2001:db8::1]:5384".parse().expect("an endpoint"),
                ],
                interface: Some("eth0".to_owned()),
                host_firewall: None,
                nat_levels: Some(1),
            },
            plan: PlanAccount {
                effort: Effort::Full,
                longest_s: 9.5,
                took_s: 1.234,
                round_trips: 6,
            },
            traversal: Vec::new(),
            summary: "A simultaneous open does not work through this NAT, since it drops the \
                      SYN,ACK that a host answers a crossing SYN with; an ordinary opening towards \
                      198.51.100.1 does, as its filtering is endpoint-independent."
                .to_owned(),
            troubles: vec!["Reflector 2 (203.0.113.1:5383) went away.".to_owned()],
            trouble: vec![Trouble::Gone { reflector: 1 }],
        }
    }

    fn known_findings() -> Findings {
        let clash = OnPortClash {
            mapping: Mapping::AddressAndPortDependent,
            port_assignment: PortAssignment::Random,
            overlapping: false,
            order_counts: false,
        };
        Findings {
            mapping: Finding::shown(Mapping::EndpointIndependent, vec![1, 2, 3, 7]),
            on_port_clash: Finding::shown(clash, vec![4]),
            filtering: FilteringFinding {
                after_syn: silent(Filtering::AddressDependent, NoDetails {}),
                established: Finding::shown(Filtering::EndpointIndependent, vec![9]),
            },
            port_assignment: Finding::Known {
                value: PortAssignment::Sequential,
                details: Ports {
                    step: Some(2),
                    range: [4001, 4009],
                    next: vec![Prediction { port: 4011, probability: 0.9 }],
                },
                proof: Proof { evidence: vec![1, 2], error_bound: 0.0 },
            },
            unsolicited_syn: UnsolicitedSynFinding {
                unmapped_port: Finding::Known {
                    value: UnsolicitedSyn::IcmpError,
                    details: Answered {
                        after_ms: Some(6002),
                        icmp: Some("3/3".to_owned()),
                        ttl: Some(63),
                    },
                    proof: Proof { evidence: vec![12, 14], error_bound: 0.0 },
                },
                filtered_port: silent(UnsolicitedSyn::Dropped, Answered::default()),
            },
            simultaneous_open: silent(
                SimultaneousOpen::Blocked,
                BlockedAt { blocked_at: Some(CrossingSegment::SynAckOut) },
            ),
            hairpinning: Finding::shown(Hairpinning::InternalSource, (20..60).step_by(2).collect()),
        }
    }

    fn silent<T, D>(value: T, details: D) -> Finding<T, D> {
        Finding::Known { value, details, proof: Proof { evidence: vec![5, 6], error_bound: 3e-10 } }
    }

    fn ruling(id: &'static str, level: Level, ruling: Decision, because: &str) -> Ruling {
        Ruling { id, level, ruling, because: because.to_owned(), evidence: vec![1, 2] }
    }

    /// Nothing is known, for one reason.
    pub fn unknown(why: Unknown) -> Verdict {
        let findings = Findings {
            mapping: Finding::unknown(why),
            on_port_clash: Finding::unknown(why),
            filtering: FilteringFinding {
                after_syn: Finding::unknown(why),
                established: Finding::unknown(why),
            },
            port_assignment: Finding::unknown(why),
            unsolicited_syn: UnsolicitedSynFinding {
                unmapped_port: Finding::unknown(why),
                filtered_port: Finding::unknown(why),
            },
            simultaneous_open: Finding::unknown(why),
            hairpinning: Finding::unknown(why),
        };
        Verdict { findings, trouble: Vec::new(), troubles: Vec::new(), ..known() }
    }
}
