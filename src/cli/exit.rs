//! Exit codes; that of `classify` follows from its verdict alone.

use crate::engine::{Effort, Trouble};
use crate::verdict::{Unknown, Verdict};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Asked and answered.
    Answered,
    /// Asked and answered, and the answer is no.
    No,
    /// It could not ask.
    CouldNotAsk,
    /// Asked, but a core finding is unknown.
    CoreUnknown,
    /// As the program ended that was to be run.
    Program(u8),
}

impl Exit {
    /// How a classification ended. The core findings are mapping, filtering, the simultaneous open
    /// and, unless the run was a quick one, what meets an unsolicited SYN.
    pub fn of(verdict: &Verdict) -> Self {
        let core = core(verdict);
        let unknown: Vec<_> = core.iter().copied().flatten().collect();
        let could_not_ask =
            |why: &Unknown| matches!(why, Unknown::NeedsReflector | Unknown::NeedsPrivilege);
        let nothing_known = unknown.len() == core.len();
        match unknown.as_slice() {
            [] => Self::Answered,
            whys if nothing_known && whys.iter().all(could_not_ask) => Self::CouldNotAsk,
            _ if nothing_known && spoiled(verdict) => Self::CouldNotAsk,
            _ => Self::CoreUnknown,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Answered => 0,
            Exit::No => 1,
            Exit::CouldNotAsk => 2,
            Exit::CoreUnknown => 3,
            Exit::Program(code) => code,
        })
    }
}

/// Whether trouble kept a run from asking: a STUN server that is of no use does not, beside one that
/// named an external endpoint.
fn spoiled(verdict: &Verdict) -> bool {
    let is_beside_others = |trouble: &Trouble| {
        matches!(trouble, Trouble::StunServer { .. }) && !verdict.vantage.external.is_empty()
    };
    verdict.trouble.iter().any(|trouble| !is_beside_others(trouble))
}

/// Why each core finding is unknown, or none where it is known.
fn core(verdict: &Verdict) -> Vec<Option<Unknown>> {
    let findings = &verdict.findings;
    let mut core = vec![
        findings.mapping.why(),
        findings.filtering.after_syn.why(),
        findings.simultaneous_open.why(),
    ];
    if verdict.plan.effort != Effort::Quick {
        core.push(findings.unsolicited_syn.unmapped_port.why());
    }
    core
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Unreached;
    use crate::report::testing::{known, unknown};
    use crate::verdict::Finding;

    #[test]
    fn with_every_core_finding_known_it_is_answered() {
        let mut verdict = known();
        verdict.findings.hairpinning = Finding::unknown(Unknown::NotAsked);
        verdict.findings.on_port_clash = Finding::unknown(Unknown::NeedsSecondInternal);
        assert_eq!(Exit::of(&verdict), Exit::Answered);
    }

    #[test]
    fn with_one_core_finding_unknown_it_is_not() {
        let mut verdict = known();
        verdict.findings.filtering.after_syn = Finding::unknown(Unknown::NeedsSecondAddress);
        assert_eq!(Exit::of(&verdict), Exit::CoreUnknown);
    }

    #[test]
    fn a_quick_run_need_not_know_what_meets_an_unsolicited_syn() {
        let mut verdict = known();
        verdict.findings.unsolicited_syn.unmapped_port = Finding::unknown(Unknown::NotWaited);
        assert_eq!(Exit::of(&verdict), Exit::CoreUnknown);
        verdict.plan.effort = Effort::Quick;
        assert_eq!(Exit::of(&verdict), Exit::Answered);
    }

    #[test]
    fn without_a_reflector_or_privilege_it_could_not_ask() {
        assert_eq!(Exit::of(&unknown(Unknown::NeedsReflector)), Exit::CouldNotAsk);
        assert_eq!(Exit::of(&unknown(Unknown::NeedsPrivilege)), Exit::CouldNotAsk);
    }

    #[test]
    fn with_nothing_known_it_depends_on_whether_something_went_wrong() {
        let mut verdict = unknown(Unknown::NoAnswer);
        assert_eq!(Exit::of(&verdict), Exit::CoreUnknown);
        let why = Unreached::Refused;
        verdict.trouble.push(Trouble::Unreachable { reflector: 0, why });
        assert_eq!(Exit::of(&verdict), Exit::CouldNotAsk);
    }

    #[test]
    fn a_stun_server_of_no_use_is_no_failure_beside_one_that_answered() {
        let mut verdict = unknown(Unknown::NeedsReflector);
        verdict.findings.mapping = Finding::unknown(Unknown::NeedsSecondAddress);
        let server = "192.0.2.1:3478".parse().expect("an endpoint");
        verdict.trouble.push(Trouble::StunServer { server, what: "silent".to_owned() });
        assert_eq!(Exit::of(&verdict), Exit::CoreUnknown);
        verdict.vantage.external.clear();
        assert_eq!(Exit::of(&verdict), Exit::CouldNotAsk);
        verdict.trouble.clear();
        assert_eq!(Exit::of(&verdict), Exit::CoreUnknown);
    }

    #[test]
    fn trouble_that_left_the_core_known_is_no_failure() {
        let mut verdict = known();
        verdict.trouble.push(Trouble::Gone { reflector: 1 });
        assert_eq!(Exit::of(&verdict), Exit::Answered);
    }
}
