//! The routers, and the comparison.

use std::time::Instant;

use serde_json::Value;

use crate::network::{Network, PATIENCE, Running, Scratch};

/// A router of the kernel's own.
pub struct Router {
    pub name: &'static str,
    /// Whether another router that masquerades stands before it.
    pub behind_another: bool,
    /// The edge's rules.
    rules: &'static str,
    /// How much patience to classify it with.
    effort: &'static [&'static str],
    /// What a classification may leave unknown, and why.
    may_be_unknown: &'static [(&'static str, &'static str)],
    /// Some of what sockets must find, lest a script that finds nothing agrees with everything.
    must_be: &'static [(&'static str, &'static str)],
    /// The exit code: 3 where a core finding may stay unknown.
    exit: i32,
}

macro_rules! masquerade {
    ($how:literal) => {
        concat!(
            "table ip nat { chain out { type nat hook postrouting priority 100; ",
            "oifname wan ",
            $how,
            "\n}\n}\n"
        )
    };
}

macro_rules! input {
    ($how:literal) => {
        concat!(
            "table inet door { chain in { type filter hook input priority 0; ",
            "iifname wan ct state new,invalid ",
            $how,
            "\n}\n}\n"
        )
    };
}

pub const MASQUERADE_AND_DROP: &str = concat!(masquerade!("masquerade"), input!("drop"));

macro_rules! forward {
    ($rule:literal) => {
        concat!(
            "table inet hall { chain across { type filter hook forward priority 0; ",
            $rule,
            "\n}\n}\n"
        )
    };
}

macro_rules! one_to_one {
    ($inward:literal, $outward:literal) => {
        concat!(
            "table ip nat {\n",
            "chain in { type nat hook prerouting priority -100\n",
            $inward,
            " ip daddr 198.51.100.1 dnat to 192.168.1.2\n",
            $inward,
            " ip daddr 198.51.100.2 dnat to 192.168.1.3\n}\n",
            "chain out { type nat hook postrouting priority 100\n",
            $outward,
            " ip saddr 192.168.1.2 snat to 198.51.100.1\n",
            $outward,
            " ip saddr 192.168.1.3 snat to 198.51.100.2\n}\n}\n"
        )
    };
}

const ROUTERS: &[Router] = &[
    Router {
        name: "masquerade_and_drop",
        rules: MASQUERADE_AND_DROP,
        effort: &[],
        must_be: &[
            ("/mapping/value", "endpoint-independent"),
            ("/filtering/value", "address-and-port-dependent"),
            ("/port_assignment/value", "preservation"),
            ("/on_port_clash/value/mapping", "address-and-port-dependent"),
            ("/unsolicited_syn/value", "dropped"),
            ("/simultaneous_open/value", "supported"),
            ("/hairpinning/value", "unsupported"),
        ],
        ..Router::PLAIN
    },
    Router {
        name: "masquerade_and_reset",
        rules: concat!(masquerade!("masquerade"), input!("meta l4proto tcp reject with tcp reset")),
        must_be: &[
            ("/unsolicited_syn/value", "reset"),
            ("/unsolicited_syn/filtered_port/value", "reset"),
        ],
        ..Router::PLAIN
    },
    Router {
        name: "masquerade_and_icmp_port_unreachable",
        rules: concat!(masquerade!("masquerade"), input!("reject with icmp port-unreachable")),
        effort: &[],
        must_be: &[("/unsolicited_syn/icmp", "3/3")],
        ..Router::PLAIN
    },
    Router {
        name: "masquerade_and_icmp_host_prohibited",
        rules: concat!(masquerade!("masquerade"), input!("reject with icmp host-prohibited")),
        effort: &[],
        must_be: &[("/unsolicited_syn/icmp", "3/10")],
        ..Router::PLAIN
    },
    Router {
        name: "masquerade_and_icmp_admin_prohibited",
        rules: concat!(masquerade!("masquerade"), input!("reject with icmp admin-prohibited")),
        effort: &[],
        must_be: &[("/unsolicited_syn/icmp", "3/13")],
        ..Router::PLAIN
    },
    Router {
        name: "masquerade_and_no_rule_for_what_comes_in",
        rules: masquerade!("masquerade"),
        must_be: &[("/unsolicited_syn/value", "reset")],
        ..Router::PLAIN
    },
    Router {
        name: "masquerade_fully_random",
        rules: concat!(masquerade!("masquerade fully-random"), input!("drop")),
        effort: &[],
        // No knock can be known to have found its way.
        may_be_unknown: &[("/hairpinning", "hidden-by-other-behaviour")],
        must_be: &[
            ("/mapping/value", "address-and-port-dependent"),
            ("/port_assignment/value", "random"),
        ],
        ..Router::PLAIN
    },
    Router {
        name: "one_to_one",
        rules: one_to_one!("iifname wan", "oifname wan"),
        effort: &[],
        // Nothing is filtered; and with two external addresses, silence says nothing of hairpinning.
        may_be_unknown: &[
            ("/unsolicited_syn/filtered_port", "hidden-by-other-behaviour"),
            ("/hairpinning", "hidden-by-other-behaviour"),
        ],
        must_be: &[
            ("/mapping/value", "endpoint-independent"),
            ("/filtering/value", "endpoint-independent"),
            ("/filtering/established/value", "endpoint-independent"),
            ("/on_port_clash/value/mapping", "endpoint-independent"),
        ],
        ..Router::PLAIN
    },
    Router {
        name: "one_to_one_hairpinning_with_the_external_source",
        rules: one_to_one!("", ""),
        // Nothing is filtered.
        may_be_unknown: &[("/unsolicited_syn/filtered_port", "hidden-by-other-behaviour")],
        must_be: &[("/hairpinning/value", "external-source")],
        ..Router::PLAIN
    },
    Router {
        name: "one_to_one_hairpinning_with_the_internal_source",
        rules: one_to_one!("", "oifname wan"),
        // Nothing is filtered.
        may_be_unknown: &[("/unsolicited_syn/filtered_port", "hidden-by-other-behaviour")],
        must_be: &[("/hairpinning/value", "internal-source")],
        ..Router::PLAIN
    },
    Router {
        name: "no_syn_comes_in_on_what_is_known",
        rules: concat!(
            masquerade!("masquerade"),
            input!("drop"),
            forward!("iifname wan tcp flags & (syn|ack) == syn drop")
        ),
        // Where no SYN at all comes in, this NAT and a path that loses SYNs are alike.
        may_be_unknown: &[
            ("/simultaneous_open", "lossy-path"),
            ("/filtering", "lossy-path"),
            ("/filtering/established", "lossy-path"),
            ("/unsolicited_syn/filtered_port", "lossy-path"),
            ("/hairpinning", "lossy-path"),
            ("/hairpinning", "hidden-by-other-behaviour"),
        ],
        must_be: &[("/simultaneous_open/blocked_at", "syn-in")],
        exit: 3,
        ..Router::PLAIN
    },
    Router {
        name: "no_syn_answers_a_syn",
        rules: concat!(
            one_to_one!("", ""),
            forward!("iifname wan ct direction reply tcp flags & (syn|ack) == syn drop")
        ),
        may_be_unknown: &[("/unsolicited_syn/filtered_port", "hidden-by-other-behaviour")],
        must_be: &[("/simultaneous_open/blocked_at", "syn-in")],
        ..Router::PLAIN
    },
    Router {
        name: "no_syn_ack_goes_out",
        rules: concat!(
            masquerade!("masquerade"),
            input!("drop"),
            forward!("iifname lan tcp flags & (syn|ack) == (syn|ack) drop")
        ),
        effort: &[],
        must_be: &[("/simultaneous_open/blocked_at", "syn-ack-out")],
        ..Router::PLAIN
    },
    Router {
        name: "two_levels",
        behind_another: true,
        rules: MASQUERADE_AND_DROP,
        must_be: &[("/filtering/value", "address-and-port-dependent")],
        ..Router::PLAIN
    },
    Router {
        name: "two_levels_the_outer_fully_random_and_with_resets",
        behind_another: true,
        rules: concat!(
            masquerade!("masquerade fully-random"),
            input!("meta l4proto tcp reject with tcp reset")
        ),
        // No knock can be known to have found its way.
        may_be_unknown: &[("/hairpinning", "hidden-by-other-behaviour")],
        must_be: &[("/port_assignment/value", "random"), ("/unsolicited_syn/value", "reset")],
        ..Router::PLAIN
    },
];

/// Each router, classified and compared.
pub const TESTS: &[(&str, fn())] = &[
    ("masquerade_and_drop_is_classified_as_sockets_find_it", || compare("masquerade_and_drop")),
    ("masquerade_and_reset_is_classified_as_sockets_find_it", || compare("masquerade_and_reset")),
    ("masquerade_and_icmp_port_unreachable_is_classified_as_sockets_find_it", || {
        compare("masquerade_and_icmp_port_unreachable")
    }),
    ("masquerade_and_icmp_host_prohibited_is_classified_as_sockets_find_it", || {
        compare("masquerade_and_icmp_host_prohibited")
    }),
    ("masquerade_and_icmp_admin_prohibited_is_classified_as_sockets_find_it", || {
        compare("masquerade_and_icmp_admin_prohibited")
    }),
    ("masquerade_and_no_rule_for_what_comes_in_is_classified_as_sockets_find_it", || {
        compare("masquerade_and_no_rule_for_what_comes_in")
    }),
    ("masquerade_fully_random_is_classified_as_sockets_find_it", || {
        compare("masquerade_fully_random")
    }),
    ("one_to_one_is_classified_as_sockets_find_it", || compare("one_to_one")),
    ("one_to_one_hairpinning_with_the_external_source_is_classified_as_sockets_find_it", || {
        compare("one_to_one_hairpinning_with_the_external_source")
    }),
    ("one_to_one_hairpinning_with_the_internal_source_is_classified_as_sockets_find_it", || {
        compare("one_to_one_hairpinning_with_the_internal_source")
    }),
    ("no_syn_comes_in_on_what_is_known_is_classified_as_sockets_find_it", || {
        compare("no_syn_comes_in_on_what_is_known")
    }),
    ("no_syn_answers_a_syn_is_classified_as_sockets_find_it", || compare("no_syn_answers_a_syn")),
    ("no_syn_ack_goes_out_is_classified_as_sockets_find_it", || compare("no_syn_ack_goes_out")),
    ("two_levels_is_classified_as_sockets_find_it", || compare("two_levels")),
    ("two_levels_the_outer_fully_random_and_with_resets_is_classified_as_sockets_find_it", || {
        compare("two_levels_the_outer_fully_random_and_with_resets")
    }),
];

fn compare(name: &str) {
    let router = ROUTERS.iter().find(|router| router.name == name);
    router.unwrap().compare();
}

impl Router {
    const PLAIN: Self = Self {
        name: "",
        behind_another: false,
        rules: "",
        effort: &["--quick"],
        may_be_unknown: &[],
        must_be: &[],
        exit: 0,
    };

    /// Classifies it as often as is wanted; every finding must be what sockets find.
    pub fn compare(&self) {
        let network = self.build();
        let truth = self.truth(&network);
        let _reflector =
            network.serve("a", &["--listen", "203.0.113.10", "--alternate", "203.0.113.11"]);
        let scratch = Scratch::new();
        let evidence = scratch.path("nat.pcapng");
        let mut arguments = vec!["--reflector", "203.0.113.10", "--second-internal", "192.168.1.3"];
        arguments.extend(["--evidence", &evidence].iter().chain(self.effort));
        for round in 1..=repeat() {
            let begun = Instant::now();
            let answer = network.classify(&arguments);
            let json = answer.json();
            let wrong = differences(&truth, &json["findings"]).into_iter();
            let (unknown, wrong): (Vec<_>, Vec<_>) = wrong
                .filter(|wrong| !self.may_be_unknown(wrong.path, &wrong.found))
                .partition(|wrong| wrong.found["value"].is_null());
            let about = format!("{} round {round} in {:?}", self.name, begun.elapsed());
            assert!(wrong.is_empty(), "{about}: {wrong:#?}\n{}", answer.stderr);
            assert!(few_unknown(&unknown), "{about}: {unknown:#?}\n{}", answer.stderr);
            unknown.iter().for_each(|unknown| eprintln!("{about}: {unknown:?}"));
            let code = if unknown.is_empty() { self.exit } else { answer.code.unwrap_or(2) };
            assert_eq!(answer.code, Some(code), "{about}: {answer:?}");
            assert_ne!(code, 2, "{about}: {answer:?}");
            assert!(std::fs::metadata(&evidence).unwrap().len() > 10_000);
        }
    }

    fn build(&self) -> Network {
        let network =
            if self.behind_another { Network::with_two_routers() } else { Network::new() };
        if self.behind_another {
            network.rules("home", MASQUERADE_AND_DROP);
        }
        network.rules("edge", self.rules);
        network
    }

    /// What sockets find.
    fn truth(&self, network: &Network) -> Value {
        let mut script = std::process::Command::new("python3");
        let patience = if self.is_quick() { "2.5" } else { "7" };
        script.args([SCRIPT, network.prefix(), patience]);
        let answer = Running::start(crate::network::marked(script)).wait(PATIENCE);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        let truth = answer.json();
        for (path, value) in self.must_be {
            let found = truth.pointer(path).and_then(Value::as_str);
            assert_eq!(found, Some(*value), "{path} of {truth:#}");
        }
        truth
    }

    fn may_be_unknown(&self, path: &str, found: &Value) -> bool {
        let why = found["unknown"].as_str().unwrap_or_default();
        let of_quick: &[_] = if self.is_quick() { NOT_WAITED } else { &[] };
        of_quick.iter().chain(self.may_be_unknown).any(|allowed| *allowed == (path, why))
    }

    fn is_quick(&self) -> bool {
        self.effort.contains(&"--quick")
    }
}

/// A finding that is not what it must be.
#[derive(Debug)]
#[allow(dead_code, reason = "it is shown whole")]
pub struct Difference {
    path: &'static str,
    found: Value,
    must_be: Value,
}

/// Where findings are not what they must be.
pub fn differences(must_be: &Value, findings: &Value) -> Vec<Difference> {
    let pairs = FINDINGS.iter().map(|path| {
        let (must_be, found) = (must_be.pointer(path).unwrap(), findings.pointer(path).unwrap());
        Difference { path, found: short(found), must_be: short(must_be) }
    });
    let differ = |pair: &Difference| {
        DETAILS.iter().any(|detail| pair.must_be.get(detail) != pair.found.get(detail))
    };
    pairs.filter(differ).collect()
}

/// A finding without its long list of frames.
fn short(finding: &Value) -> Value {
    let mut finding = finding.clone();
    finding.as_object_mut().unwrap().remove("evidence");
    finding
}

/// Whether no more is unknown than one run may leave so. A machine that is too busy to send in time
/// loses packets; it must say so, not guess. And a kernel sends about one ICMP error a second
/// (net.ipv4.icmp_ratelimit): straight after a run it may have none left. What is unknown together with
/// what it is a part of is one finding: both rest on the same packets.
fn few_unknown(unknown: &[Difference]) -> bool {
    let is_part = |of: &Difference, whole: &Difference| {
        of.path.strip_prefix(whole.path).is_some_and(|rest| rest.starts_with('/'))
    };
    let wholes = unknown.iter().filter(|one| !unknown.iter().any(|other| is_part(one, other)));
    wholes.count() <= MOST_UNKNOWN
}

/// Of the findings, how many a busy machine may leave unknown in one run.
const MOST_UNKNOWN: usize = 1;

fn repeat() -> u32 {
    let wanted = std::env::var("TSO_PROBE_REPEAT");
    wanted.map_or(1, |times| times.parse().expect("TSO_PROBE_REPEAT is a number"))
}

/// Every finding of `classify`.
const FINDINGS: [&str; 9] = [
    "/mapping",
    "/port_assignment",
    "/on_port_clash",
    "/filtering",
    "/filtering/established",
    "/unsolicited_syn",
    "/unsolicited_syn/filtered_port",
    "/hairpinning",
    "/simultaneous_open",
];

/// What `--quick` may leave open: silence is not waited out.
const NOT_WAITED: &[(&str, &str)] = &[
    ("/unsolicited_syn", "not-waited"),
    ("/unsolicited_syn/filtered_port", "not-waited"),
    ("/hairpinning", "lossy-path"),
];

const DETAILS: [&str; 3] = ["value", "icmp", "blocked_at"];

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/routers/truth.py");
