//! One end of a punch, on this host's sockets.

use std::net::TcpStream;

use super::control::Control;
use super::driver::{Driver, Stop};
use super::flows::Flows;
use super::station::Station;
use crate::engine::{Fact, Flow, Party, Punched, Reader, Run};
use crate::os::link;
use crate::os::{self, Error, clock};
use crate::punch::{Agreed, Aim, Appointment, Direct, Introduced};
use crate::tcp::{Side, State};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// What to open, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivePunch {
    /// What this end is called.
    pub side: Side,
    /// The peer's endpoint, as it is reached from here.
    pub peer: Endpoint,
    /// The local port.
    pub local_port: u16,
    /// When the run began, by the kernel's monotonic clock.
    pub begun: Duration,
    /// When the first SYN is to leave, by the same clock.
    pub first: Duration,
    /// How long to try from then on.
    pub patience: Duration,
    /// How many SYNs at most; none for as many as there is time for.
    pub tries: Option<u32>,
    /// How far off this host's clock may be, if the two ends have no other in common; none within if
    /// nobody keeps it.
    pub clock_error: Option<Option<Duration>>,
    /// What to draw randomness from.
    pub seed: u64,
}

/// How a punch ended.
#[derive(Debug)]
pub struct Ended {
    /// What it left.
    pub run: Run,
    /// The connection, if one stands.
    pub connection: Option<TcpStream>,
}

/// Opens a connection with the peer at a moment. Without privilege it does so too, with fewer
/// witnesses, and says which are missing. `watch` sees every fact as it is noted.
///
/// # Errors
/// When this host cannot try: no route, the port is taken.
pub fn punch(live: &LivePunch, stop: Stop<'_>, watch: &mut dyn FnMut(&Fact)) -> os::Result<Ended> {
    let route = link::route_to(live.peer.ip())?;
    let local = Endpoint::new(route.source, live.local_port);
    let station = Station::plain().since(live.begun);
    let first = station.moment(live.first);
    let &LivePunch { side, peer: remote, patience, tries, seed, .. } = live;
    let mut direct =
        Direct::new(Aim { side, local, remote, also: Vec::new(), first, patience, tries, seed });
    let flows = Flows::default();
    let (mut ended, _) = drive(&mut direct, Direct::opened, (station, flows), stop, watch)?;
    if let Some(error) = live.clock_error {
        ended.run.note(Instant::START, Fact::Punch { side, what: Punched::Clock { error } });
    }
    ended.run.note(Instant::START, Fact::Through { interface: route.interface });
    Ok(ended)
}

/// The same once the two ends have agreed on where and when, over a connection of their own.
///
/// # Errors
/// As for [`punch`].
pub fn punch_agreed(
    appointment: &Appointment,
    stop: Stop<'_>,
    watch: &mut dyn FnMut(&Fact),
) -> os::Result<Ended> {
    let mut agreed = Agreed::new(*appointment);
    let with = (Station::plain(), Flows::default());
    drive(&mut agreed, Agreed::opened, with, stop, watch).map(|(ended, _)| ended)
}

/// The same with a peer that a rendezvous server brings, in as many attempts as it takes. `failed` sees
/// what each attempt has left that came to nothing, once another is begun after it. How connections are
/// made, over TLS for one, is up to `flows`.
///
/// # Errors
/// As for [`punch`].
pub fn punch_introduced(
    introduced: &mut Introduced,
    mut flows: Flows,
    stop: Stop<'_>,
    watch: &mut dyn FnMut(&Fact),
    failed: &mut dyn FnMut(u32, &Run),
) -> os::Result<Ended> {
    let begun = clock::monotonic();
    let mut last: Option<(u32, Ended)> = None;
    loop {
        let station = Station::plain().since(begun);
        let with = (station, flows);
        let mut untold = last.as_ref();
        let mut see = |fact: &Fact| {
            if is_aim(fact)
                && let Some((number, ended)) = untold.take()
            {
                failed(*number, &ended.run);
            }
            watch(fact);
        };
        let (ended, kept) = drive(introduced, Introduced::opened, with, stop, &mut see)?;
        // A peer that has left between two attempts has said all it had to with the last.
        let ended = match last {
            Some((_, last)) if !has_tried(&ended.run) => return Ok(last),
            _ => ended,
        };
        let attempt = introduced.attempt();
        if !introduced.again(Station::plain().since(begun).now()) {
            return Ok(ended);
        }
        (last, flows) = (Some((attempt, ended)), kept.deaf());
    }
}

fn has_tried(run: &Run) -> bool {
    run.facts.iter().any(|(_, fact)| is_aim(fact))
}

const fn is_aim(fact: &Fact) -> bool {
    matches!(fact, Fact::Punch { what: Punched::Aimed { .. }, .. })
}

/// Where a peer comes to again and again, each time to agree on a punch. Whoever comes between two
/// waits.
pub struct Door {
    on: Endpoint,
    flows: Flows,
}

impl Door {
    /// Listens there from now on.
    ///
    /// # Errors
    /// When it is taken or not this host's.
    pub fn open(on: Endpoint) -> os::Result<Self> {
        let mut flows = Flows::default();
        flows.listen(on, Reader::Party)?;
        Ok(Self { on, flows })
    }

    /// As [`punch_agreed`], with whoever comes here; the appointment is to listen here as well.
    ///
    /// # Errors
    /// As for [`punch`].
    pub fn punch(
        &mut self,
        appointment: &Appointment,
        stop: Stop<'_>,
        watch: &mut dyn FnMut(&Fact),
    ) -> os::Result<Ended> {
        let mut agreed = Agreed::new(*appointment);
        let with = (Station::plain(), std::mem::take(&mut self.flows));
        let (ended, flows) = drive(&mut agreed, Agreed::opened, with, stop, watch)?;
        self.flows = flows.door(self.on);
        Ok(ended)
    }
}

fn drive<P: Party>(
    party: &mut P,
    opened: impl Fn(&P) -> Option<Flow>,
    (station, flows): (Station, Flows),
    stop: Stop<'_>,
    watch: &mut dyn FnMut(&Fact),
) -> os::Result<(Ended, Flows)> {
    let driver = Driver::new(party, station, Control::default(), stop, watch).with(flows);
    let (mut run, mut flows) = driver.run_keeping()?;
    let stream = opened(party).and_then(|flow| flows.take(flow));
    if stream.is_none() {
        note_taken(&mut run);
    }
    let connection = stream.map(os::tcp::Stream::into_blocking).transpose();
    let connection = connection.map_err(|e| Error::text("hand over", "the connection", e))?;
    Ok((Ended { run, connection }, flows))
}

/// Notes in which state this host has another connection between the endpoints, if it has one.
fn note_taken(run: &mut Run) {
    let own = run.facts.iter().find_map(|(_, fact)| match fact {
        Fact::Punch { side, what: Punched::Aimed { local, remote, .. } } => {
            Some((*side, taken(*local, *remote)?))
        }
        _ => None,
    });
    if let Some((side, state)) = own {
        run.note(Instant::START, Fact::Punch { side, what: Punched::Taken { state } });
    }
}

fn taken(local: Endpoint, remote: Endpoint) -> Option<State> {
    let sockets = os::ports::sockets().unwrap_or_default();
    let between = sockets.iter().find(|socket| (socket.local, socket.remote) == (local, remote));
    between.map(|socket| socket.state)
}
