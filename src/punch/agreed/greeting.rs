//! What follows from the other end's hello: where to aim.

use super::super::appointment::{Appointment, Meet, Role};
use super::super::direct::Aim;
use super::super::prospect::{Choice, Prospect, choose};
use super::super::signal::{Signal, VERSION};
use super::measuring::Measuring;
use super::{Agreed, Phase};
use crate::engine::{Punched, Step};
use crate::tcp::Side;
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

impl Agreed {
    pub(super) fn greeted(
        &mut self,
        now: Instant,
        version: u16,
        (port, external): (u16, Option<Endpoint>),
        prospect: Option<Prospect>,
    ) {
        let Phase::Greeting { local, remote } = self.phase else { return };
        if version != VERSION {
            return self.give_up(format!("the peer speaks version {version}, this is {VERSION}"));
        }
        if let Meet::Via(_, Role::Parts) | Meet::Over(Role::Parts) = self.appointment.meet {
            self.phase = Phase::Over;
            return self.say(&Signal::Done);
        }
        let own = self.prospect.take();
        let choice = own.as_ref().zip(prospect.as_ref()).and_then(|(own, peer)| choose(own, peer));
        let seen = remote.map(|address| Endpoint::new(address, port));
        let known = self.appointment.peer.or(choice.as_ref().map(|choice| choice.remote));
        let Some(peer) = known.or(external).or(seen) else {
            return self.give_up("the peer does not say where it is".to_owned());
        };
        let also = choice.as_ref().map(|choice| choice.also.clone()).unwrap_or_default();
        let Appointment { mut patience, seed, .. } = self.appointment;
        if let Some((own, choice)) = own.zip(choice) {
            // A port that the host chooses is another with each SYN, of which there is one.
            let is_one_shot = local.port() == 0 || port == 0;
            patience = patience.min(self.patience(choice.chance, is_one_shot));
            self.foresaw(own, choice, prospect.is_some_and(|peer| peer.steady));
        }
        let (side, remote, tries) = (self.side(), peer, (local.port() == 0).then_some(1));
        let aim = Aim { side, local, remote, also, first: now, patience, tries, seed };
        let measuring = Measuring::new(aim, now);
        // Before there is any hurry.
        self.steps.push_back(Step::Watch { local, towards: peer });
        if self.side() == Side::A {
            self.say(&measuring.question());
        }
        self.phase = Phase::Measuring(measuring);
    }

    fn foresaw(&mut self, own: Prospect, choice: Choice, steady: bool) {
        let Choice { remote, also, chance } = choice;
        let (peer, rule) = ([vec![remote], also].concat(), own.rule);
        self.note(Punched::Foresaw { own: own.external, peer, steady, chance, rule });
    }

    /// How long an attempt is worth it that another may follow.
    fn patience(&self, chance: Option<u16>, is_one_shot: bool) -> Duration {
        match (self.goes_on, is_one_shot) {
            (false, _) => Duration::MAX,
            (true, _) if chance.is_some_and(|chance| chance < LONG_ODDS) => BRIEFLY,
            (true, true) => ONE_SHOT,
            (true, false) => Duration::MAX,
        }
    }
}

/// A chance of less than so many thousandths.
const LONG_ODDS: u16 = 20;

/// Long enough to learn, and short enough for what was learnt: Linux shuffles its ports every 10 s.
const BRIEFLY: Duration = Duration::from_secs(1);

/// A SYN that is lost is sent again after one second, and after three (RFC 6298 §2).
const ONE_SHOT: Duration = Duration::from_millis(3_500);
