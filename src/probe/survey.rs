//! Which ports do this host and its NAT choose? Connections to STUN servers one after another, each
//! from a port of the host's choice, show it (RFC 4787 §4.2, RFC 6056 §3.3).

use super::stun::{StunProbe, StunSetting};
use crate::engine::{Event, Fact, Party, Step};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// Whom to ask, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveySetting {
    /// The servers, asked in turn. One that names another address is asked at all its endpoints.
    pub servers: Vec<Endpoint>,
    /// How often each is asked.
    pub rounds: u32,
    /// How long each may take, connection included.
    pub patience: Duration,
    /// What transactions are drawn from.
    pub seed: u64,
}

/// A party that asks them.
pub struct Survey {
    setting: SurveySetting,
    /// How many of the servers' turns have begun.
    turns: u32,
    current: StunProbe,
    failed: bool,
}

impl Survey {
    /// One that has not begun.
    pub fn new(setting: SurveySetting) -> Self {
        let current = turn(&setting, 0);
        Self { setting, turns: 1, current, failed: false }
    }

    fn is_last(&self) -> bool {
        let turns = u64::from(self.setting.rounds) * self.setting.servers.len() as u64;
        self.failed || u64::from(self.turns) >= turns
    }
}

impl Party for Survey {
    fn poll(&mut self, now: Instant) -> Step {
        let step = self.current.poll(now);
        match &step {
            Step::Done if !self.is_last() => {
                self.current = turn(&self.setting, self.turns);
                self.turns += 1;
                return self.current.poll(now);
            }
            Step::Note(fact) => self.failed |= matches!(**fact, Fact::Trouble(_)),
            _ => {}
        }
        step
    }

    fn handle(&mut self, now: Instant, event: Event) {
        self.current.handle(now, event);
    }
}

/// A server's turn, from whatever port the host chooses.
fn turn(setting: &SurveySetting, number: u32) -> StunProbe {
    let place = number as usize % setting.servers.len().max(1);
    let servers = setting.servers.get(place).copied().into_iter().collect();
    let (local, patience) = (Vec::new(), setting.patience);
    let seed = setting.seed.wrapping_add(u64::from(number));
    StunProbe::new(StunSetting { servers, local, patience, seed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Bind, Trouble, Unreached};

    #[test]
    fn servers_are_asked_in_turn_each_from_a_port_of_the_hosts_choice() {
        let servers = ["192.0.2.1:3478", "192.0.2.2:3478"].map(|end| end.parse().expect("one"));
        let setting = setting(servers.to_vec(), 2);
        let mut survey = Survey::new(setting);
        let mut asked = Vec::new();
        loop {
            match survey.poll(Instant::START) {
                Step::Open { flow, from, to, .. } => {
                    assert_eq!(from, Bind::Kernel);
                    asked.push(to);
                    survey.handle(Instant::START, Event::Failed(flow, Unreached::Refused));
                }
                Step::Done => break,
                _ => {}
            }
        }
        assert_eq!(asked, [servers, servers].concat());
    }

    #[test]
    fn an_interrupted_survey_ends() {
        let mut survey = Survey::new(setting(vec!["192.0.2.1:3478".parse().expect("one")], 9));
        while !matches!(survey.poll(Instant::START), Step::Wait(_)) {}
        survey.handle(Instant::START, Event::Interrupted);
        let steps: Vec<_> = std::iter::from_fn(|| Some(survey.poll(Instant::START)))
            .take_while(|step| *step != Step::Done)
            .collect();
        let interrupted = Step::Note(Fact::Trouble(Trouble::Interrupted).into());
        assert!(steps.contains(&interrupted) && steps.len() < 4, "{steps:?}");
    }

    fn setting(servers: Vec<Endpoint>, rounds: u32) -> SurveySetting {
        SurveySetting { servers, rounds, patience: Duration::from_secs(1), seed: 3 }
    }
}
