//! Passes octets on between two connections: what two ends behind NATs agree over, where neither can
//! connect to the other.

use std::collections::VecDeque;

use crate::engine::{Event, Flow, How, Party, Step};
use crate::time::{Duration, Instant};

/// Joins the first two connections that come, and shows all others out.
#[derive(Debug, Default)]
pub struct Relay {
    ends: Vec<Flow>,
    /// What the first has said before there was a second.
    early: Vec<u8>,
    steps: VecDeque<Step>,
    is_over: bool,
}

impl Relay {
    fn joined(&mut self, flow: Flow) {
        if self.ends.len() == 2 {
            return self.steps.push_back(Step::Close(flow, How::Fin));
        }
        self.ends.push(flow);
        if self.ends.len() == 2 {
            self.steps.push_back(Step::Write(flow, std::mem::take(&mut self.early)));
        }
    }

    fn pass_on(&mut self, from: Flow, octets: Vec<u8>) {
        match self.ends[..] {
            [_] => self.early.extend(octets),
            [one, other] => {
                let to = if from == one { other } else { one };
                self.steps.push_back(Step::Write(to, octets));
            }
            _ => {}
        }
    }

    fn ended(&mut self, flow: Flow) {
        if self.ends.contains(&flow) {
            self.steps.extend(self.ends.iter().map(|end| Step::Close(*end, How::Fin)));
            self.ends.clear();
        }
    }
}

impl Party for Relay {
    fn poll(&mut self, now: Instant) -> Step {
        match self.steps.pop_front() {
            Some(step) => step,
            None if self.is_over => Step::Done,
            None => Step::Wait(now + IDLE),
        }
    }

    fn handle(&mut self, _now: Instant, event: Event) {
        match event {
            Event::Accepted { flow, .. } => self.joined(flow),
            Event::Read(flow, octets) => self.pass_on(flow, octets),
            Event::Ended(flow, _) => self.ended(flow),
            Event::Interrupted => self.is_over = true,
            _ => {}
        }
    }
}

/// It has nothing to do of its own.
const IDLE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ends_hear_each_other_and_a_third_is_shown_out() {
        let mut relay = Relay::default();
        let accepted = |number| {
            let end = "192.0.2.1:1".parse().expect("an endpoint");
            Event::Accepted { flow: Flow(number), local: end, remote: end }
        };
        let mut told = |event| {
            relay.handle(Instant::START, event);
            std::iter::from_fn(|| Some(relay.poll(Instant::START)))
                .take_while(|step| !matches!(step, Step::Wait(_)))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(accepted(1)), []);
        assert_eq!(told(Event::Read(Flow(1), b"early".to_vec())), []);
        assert_eq!(told(accepted(2)), [Step::Write(Flow(2), b"early".to_vec())]);
        assert_eq!(told(accepted(3)), [Step::Close(Flow(3), How::Fin)]);
        let answer = told(Event::Read(Flow(2), b"answer".to_vec()));
        assert_eq!(answer, [Step::Write(Flow(1), b"answer".to_vec())]);
        let ended = told(Event::Ended(Flow(1), crate::engine::End::Finished));
        assert_eq!(ended, [Step::Close(Flow(1), How::Fin), Step::Close(Flow(2), How::Fin)]);
    }
}
