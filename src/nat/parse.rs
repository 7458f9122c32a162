//! A NAT as a user writes it: a preset, knobs, or knobs on top of a preset
//! (`mapping=apdm,ports=sequential+2`, `openwrt,hold=6s`).

use std::fmt;
use std::str::FromStr;

use super::behaviour::{
    Answer, Assignment, Behaviour, Fallback, HELD_AT_MOST, Knobs, Pooling, Sharing, Unsolicited,
};
use super::preset::{Device, Nat, PRESETS, Preset};
use super::words::{CrossingSegment, Filtering, Hairpinning, Mapping};
use crate::time::Duration;

/// Why a text names no NAT, with what would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadNat {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub hint: String,
}

impl fmt::Display for BadNat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for BadNat {}

impl FromStr for Nat {
    type Err = BadNat;

    fn from_str(text: &str) -> Result<Self, BadNat> {
        let mut words = text.split(',').map(str::trim).peekable();
        let preset = words.next_if(|first| !first.contains('='));
        let knobs: Vec<_> = words.collect();
        let device = match preset {
            Some(name) => Preset::named(name).ok_or_else(|| unknown_preset(name))?.device(),
            None => Device::Modelled(vec![behaviour(Knobs::rfc5382())?]),
        };
        let device = if knobs.is_empty() { device } else { turned(device, &knobs, text)? };
        Ok(Self { name: text.to_owned(), device })
    }
}

/// The device with the knobs of its innermost NAT turned. Only their last position has to be one
/// that can exist.
fn turned(device: Device, words: &[&str], text: &str) -> Result<Device, BadNat> {
    let Device::Modelled(mut behaviours) = device else {
        return Err(BadNat {
            what: format!("'{text}' turns knobs of a kernel's NAT, which has none"),
            hint: "turn those of its model: 'linux' or 'openwrt'".to_owned(),
        });
    };
    let mut knobs = behaviours[0].knobs().clone();
    words.iter().try_for_each(|word| turn(&mut knobs, word))?;
    behaviours[0] = behaviour(knobs)?;
    Ok(Device::Modelled(behaviours))
}

fn behaviour(knobs: Knobs) -> Result<Behaviour, BadNat> {
    Behaviour::try_from(knobs).map_err(|why| BadNat {
        what: format!("no NAT can be like that: {why}"),
        hint: "turn the other knob too, or leave one out".to_owned(),
    })
}

fn turn(knobs: &mut Knobs, word: &str) -> Result<(), BadNat> {
    let (knob, value) = word.split_once('=').ok_or_else(|| unknown_knob(word))?;
    let turned = match knob {
        "mapping" => set(&mut knobs.mapping, mapping(value)),
        "filtering" => {
            set(&mut knobs.filtering_established, filtering(value));
            set(&mut knobs.filtering, filtering(value))
        }
        "filtering-established" => set(&mut knobs.filtering_established, filtering(value)),
        "ports" => set(&mut knobs.ports, assignment(value)),
        "clash" => set(&mut knobs.on_clash, fallback(value)),
        "range" => set(&mut knobs.range, range(value)),
        "parity" => set(&mut knobs.parity, either(value, "kept", "ignored")),
        "pooling" => set(&mut knobs.pooling, pooling(value)),
        "hairpinning" => set(&mut knobs.hairpinning, hairpinning(value)),
        "unsolicited" => set(&mut knobs.unsolicited, unsolicited(value)),
        "hold" => hold(&mut knobs.unsolicited, value),
        "blocked-at" => set(&mut knobs.blocks, blocked_at(value)),
        "isn" => set(&mut knobs.rewrites_isn, either(value, "rewritten", "kept")),
        "options" => set(&mut knobs.strips_options, either(value, "stripped", "kept")),
        "syn-timeout" => set(&mut knobs.timeouts.partially_open, duration(value)),
        _ => return Err(unknown_knob(knob)),
    };
    turned.ok_or_else(|| bad_value(knob, value))
}

fn set<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn mapping(value: &str) -> Option<Mapping> {
    Some(match value {
        "eim" | "endpoint-independent" => Mapping::EndpointIndependent,
        "adm" | "address-dependent" => Mapping::AddressDependent,
        "apdm" | "address-and-port-dependent" => Mapping::AddressAndPortDependent,
        _ => return None,
    })
}

fn filtering(value: &str) -> Option<Filtering> {
    Some(match value {
        "eif" | "endpoint-independent" => Filtering::EndpointIndependent,
        "adf" | "address-dependent" => Filtering::AddressDependent,
        "apdf" | "address-and-port-dependent" => Filtering::AddressAndPortDependent,
        _ => return None,
    })
}

fn assignment(value: &str) -> Option<Assignment> {
    Some(match value {
        "preservation" => Assignment::Preservation(Sharing::Exclusive),
        "overlapping" => Assignment::Preservation(Sharing::Overlapping),
        "overlapping-reuse" => Assignment::Preservation(Sharing::OverlappingReuse),
        "random" => Assignment::Random,
        "overloading" => Assignment::Overloading,
        _ => Assignment::Sequential(sequential(value)?),
    })
}

fn fallback(value: &str) -> Option<Fallback> {
    if value == "random" {
        return Some(Fallback::Random);
    }
    sequential(value).map(Fallback::Sequential)
}

/// `sequential`, `sequential+2`, `sequential-1`.
fn sequential(value: &str) -> Option<i32> {
    let step = value.strip_prefix("sequential")?;
    if step.is_empty() { Some(1) } else { step.parse::<i16>().ok().map(i32::from) }
}

fn range(value: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (low, high) = value.split_once('-')?;
    Some(low.parse().ok()?..=high.parse().ok()?)
}

fn either(value: &str, yes: &str, no: &str) -> Option<bool> {
    (value == yes || value == no).then_some(value == yes)
}

fn pooling(value: &str) -> Option<Pooling> {
    Some(match value {
        "paired" => Pooling::Paired,
        "arbitrary" => Pooling::Arbitrary,
        _ => return None,
    })
}

fn hairpinning(value: &str) -> Option<Hairpinning> {
    Some(match value {
        "unsupported" => Hairpinning::Unsupported,
        "internal-source" => Hairpinning::InternalSource,
        "external-source" => Hairpinning::ExternalSource,
        _ => return None,
    })
}

/// `dropped`, `reset`, `icmp-13`, each with a delay behind an at sign: `reset@3s`.
fn unsolicited(value: &str) -> Option<Unsolicited> {
    let (answer, after) = match value.split_once('@') {
        Some((answer, after)) => (answer, duration(after)?),
        None => (value, Duration::ZERO),
    };
    let answer = match answer {
        "dropped" => Answer::Silence,
        "reset" => Answer::Reset,
        "icmp" => Answer::Unreachable(3),
        _ => Answer::Unreachable(answer.strip_prefix("icmp-")?.parse().ok()?),
    };
    Some(Unsolicited { answer, after, holds: None })
}

/// `6s`, `6s/4` for four at most, `no`.
fn hold(unsolicited: &mut Unsolicited, value: &str) -> Option<()> {
    if value == "no" {
        unsolicited.holds = None;
        return Some(());
    }
    let (time, most) = match value.split_once('/') {
        Some((time, most)) => (time, most.parse().ok()?),
        None => (value, HELD_AT_MOST),
    };
    let answer = match unsolicited.answer {
        Answer::Silence => Answer::Unreachable(3),
        answer => answer,
    };
    *unsolicited = Unsolicited { answer, after: duration(time)?, holds: Some(most) };
    Some(())
}

fn blocked_at(value: &str) -> Option<Option<CrossingSegment>> {
    Some(match value {
        "nothing" => None,
        "syn-in" => Some(CrossingSegment::SynIn),
        "syn-ack-out" => Some(CrossingSegment::SynAckOut),
        "syn-ack-in" => Some(CrossingSegment::SynAckIn),
        _ => return None,
    })
}

/// `250ms`, `6s`, `4m`.
fn duration(value: &str) -> Option<Duration> {
    let unit = value.find(|c: char| !c.is_ascii_digit())?;
    let count: u32 = value[..unit].parse().ok()?;
    Some(match &value[unit..] {
        "ms" => Duration::from_millis(count.into()),
        "s" => Duration::from_secs(count.into()),
        "m" => Duration::from_secs(u64::from(count) * 60),
        _ => return None,
    })
}

fn unknown_preset(name: &str) -> BadNat {
    let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
    BadNat {
        what: format!("no NAT is called '{name}'"),
        hint: format!("one of {}; or knobs such as mapping=apdm,filtering=adf", names.join(", ")),
    }
}

fn unknown_knob(knob: &str) -> BadNat {
    let names: Vec<_> = KNOBS.iter().map(|(name, _)| *name).collect();
    BadNat {
        what: format!("a NAT has no knob '{knob}'"),
        hint: format!("knobs are {}", names.join(", ")),
    }
}

fn bad_value(knob: &str, value: &str) -> BadNat {
    let values = KNOBS.iter().find(|(name, _)| *name == knob).map_or("", |(_, values)| values);
    BadNat {
        what: format!("'{value}' is no position of the knob '{knob}'"),
        hint: format!("{knob} takes {values}"),
    }
}

/// Every knob with the positions that it takes.
pub const KNOBS: &[(&str, &str)] = &[
    ("mapping", "eim, adm, apdm"),
    ("filtering", "eif, adf, apdf"),
    ("filtering-established", "eif, adf, apdf"),
    ("ports", "preservation, overlapping, overlapping-reuse, sequential+2, random, overloading"),
    ("clash", "random, sequential+1"),
    ("range", "two ports, as 1024-65535"),
    ("parity", "kept, ignored"),
    ("pooling", "paired, arbitrary"),
    ("hairpinning", "unsupported, internal-source, external-source"),
    ("unsolicited", "dropped, reset, icmp-13; each also after a delay, as reset@3s"),
    ("hold", "a time, as 6s; with the number held at most, as 6s/10; no"),
    ("blocked-at", "nothing, syn-in, syn-ack-out, syn-ack-in"),
    ("isn", "kept, rewritten"),
    ("options", "kept, stripped"),
    ("syn-timeout", "a time, as 120s"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(text: &str) -> Knobs {
        match text.parse::<Nat>().expect("a NAT").device {
            Device::Modelled(behaviours) => behaviours[0].knobs().clone(),
            Device::Kernel(_) => panic!("a model"),
        }
    }

    #[test]
    fn knobs_stand_alone_or_on_top_of_a_preset() {
        let alone = knobs("mapping=apdm,filtering=adf,ports=sequential+2");
        assert_eq!(alone.ports, Assignment::Sequential(2));
        let on_top = knobs("openwrt,hold=6s");
        assert_eq!(on_top.unsolicited.holds, Some(10));
        assert_eq!(on_top.unsolicited.answer, Answer::Reset);
    }

    #[test]
    fn only_the_last_position_of_all_knobs_has_to_be_possible() {
        assert_eq!(
            knobs("ports=overlapping,mapping=apdm").mapping,
            Mapping::AddressAndPortDependent
        );
        let error = "mapping=adm,ports=overloading".parse::<Nat>().expect_err("impossible");
        assert!(error.what.contains("port overloading keeps"), "{}", error.what);
    }

    #[test]
    fn an_error_names_what_would_be_right() {
        let error = "netgear".parse::<Nat>().expect_err("no such preset");
        assert!(error.hint.contains("openwrt-kernel"));
        let error = "mapping=symmetric".parse::<Nat>().expect_err("no such class");
        assert_eq!(error.hint, "mapping takes eim, adm, apdm");
        let error = "linux-kernel,mapping=eim".parse::<Nat>().expect_err("no knobs");
        assert!(error.hint.contains("'linux'"));
    }

    #[test]
    fn every_knob_named_can_be_turned() {
        for (knob, values) in KNOBS {
            let word = format!("{knob}=~");
            let error = word.parse::<Nat>().expect_err("no position");
            assert_eq!(error.hint, format!("{knob} takes {values}"));
        }
    }
}
