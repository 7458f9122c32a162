//! What a host's TCP answers while a connection opens: RFC 9293 §3.10.7, and what real stacks do
//! where the sequence rules get in the way of a simultaneous open (appendix A.2).

use super::State;
use crate::time::{Duration, Instant};
use crate::wire::{Flags, Options, Segment, Seq};

/// How a stack goes about a simultaneous open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// RFC 9293 §3.5 figure 7: the SYN,ACK of a crossing establishes; nothing follows it.
    Rfc9293,
    /// Linux since 6.11 (commit 23e89e8ee7be, back-ported to 6.1): the same, and an ACK follows with
    /// a D-SACK block of the SYN's octet (RFC 2883). Since 6.5 it repeats a SYN four times before it
    /// slows down (`tcp_syn_linear_timeouts`).
    Linux,
    /// Linux before that: a challenge ACK answers the SYN,ACK, which is dropped (RFC 5961 §4.2);
    /// the peer's challenge ACK establishes.
    LinuxOld,
    /// FreeBSD and XNU (tcp_input.c): the SYN is trimmed off the SYN,ACK, the rest establishes, and
    /// an ACK follows.
    Bsd,
    /// RFC 793 figure 8, last line: a bare ACK answers the crossing SYN.
    Rfc793LastLine,
}

impl Profile {
    /// Every one of them.
    pub const ALL: [Self; 5] =
        [Self::Rfc9293, Self::Linux, Self::LinuxOld, Self::Bsd, Self::Rfc793LastLine];
}

/// One end of one connection, up to its opening; ports are the caller's to fill in.
#[derive(Clone, Debug)]
pub struct Host {
    profile: Profile,
    state: State,
    /// The state that SYN-RECEIVED came from (RFC 9293 §3.5, MUST-11).
    origin: State,
    /// ISS: the number of our SYN.
    iss: Seq,
    /// RCV.NXT: the number expected next.
    expected: Seq,
    /// The peer's timestamp, to be echoed (RFC 7323 §4.3).
    echo: u32,
    /// When our SYN or SYN,ACK is repeated.
    repeats: Option<Instant>,
    /// How long to wait the next time.
    timeout: Duration,
    /// How often the SYN has been repeated.
    repeated: u32,
    gives_up: Instant,
}

impl Host {
    /// A closed host whose initial sequence number will be `iss`.
    pub const fn new(profile: Profile, iss: Seq) -> Self {
        Self {
            profile,
            state: State::Closed,
            origin: State::Closed,
            iss,
            expected: Seq(0),
            echo: 0,
            repeats: None,
            timeout: FIRST_TIMEOUT,
            repeated: 0,
            gives_up: Instant::START,
        }
    }

    /// Waits for a connection: passive OPEN (RFC 9293 §3.10.1).
    pub const fn listen(&mut self) {
        (self.state, self.origin) = (State::Listen, State::Listen);
    }

    /// Begins a connection: active OPEN (RFC 9293 §3.10.1). The SYN to send.
    pub fn open(&mut self, now: Instant) -> Segment {
        (self.state, self.origin) = (State::SynSent, State::SynSent);
        self.begin_timer(now);
        self.syn(now)
    }

    /// Takes a segment that arrived. What to send in answer.
    pub fn take(&mut self, now: Instant, segment: &Segment) -> Vec<Segment> {
        let answer = match self.state {
            State::Closed => (!segment.is_reset()).then(|| segment.reset_in_answer()),
            State::Listen => self.take_in_listen(now, segment),
            State::SynSent => self.take_in_syn_sent(now, segment),
            State::SynReceived => self.take_in_syn_received(segment),
            // It never sends a FIN, so no state lies beyond.
            _ => self.take_in_established(segment),
        };
        answer.into_iter().collect()
    }

    /// What it repeats now, if it is time; ask again until there is none.
    pub fn due(&mut self, now: Instant) -> Option<Segment> {
        self.repeats.filter(|at| *at <= now)?;
        if now >= self.gives_up {
            self.close();
            return None;
        }
        self.repeated += 1;
        if !self.repeats_at_one_pace() {
            self.timeout *= 2;
        }
        self.repeats = Some(now + self.timeout);
        // RFC 9293 §3.10.7.3: past SYN-SENT the SYN in the queue carries an ACK.
        Some(if self.state == State::SynSent { self.syn(now) } else { self.syn_ack(now) })
    }

    /// When it will act on its own next.
    pub const fn wakes(&self) -> Option<Instant> {
        self.repeats
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// SND.NXT and RCV.NXT: the numbers of the first octets either way, once the SYNs are exchanged.
    pub fn numbers(&self) -> (Seq, Seq) {
        (self.iss + 1, self.expected)
    }

    /// RFC 9293 §3.10.7.2.
    fn take_in_listen(&mut self, now: Instant, segment: &Segment) -> Option<Segment> {
        if segment.is_reset() {
            return None;
        }
        if segment.flags.contains(Flags::ACK) {
            return Some(segment.reset_in_answer());
        }
        segment.is_bare_syn().then(|| {
            self.synchronise(segment, State::SynReceived);
            self.begin_timer(now);
            self.syn_ack(now)
        })
    }

    /// RFC 9293 §3.10.7.3.
    fn take_in_syn_sent(&mut self, now: Instant, segment: &Segment) -> Option<Segment> {
        let has_ack = segment.flags.contains(Flags::ACK);
        if has_ack && !self.is_acknowledged_by(segment) {
            return (!segment.is_reset()).then(|| segment.reset_in_answer());
        }
        if segment.is_reset() {
            // Second: a reset without an acceptable ACK is dropped.
            if has_ack {
                self.close();
            }
            return None;
        }
        if !segment.flags.contains(Flags::SYN) {
            return None;
        }
        if has_ack {
            self.synchronise(segment, State::Established);
            return Some(self.ack());
        }
        // Fourth: <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>.
        self.synchronise(segment, State::SynReceived);
        self.begin_timer(now);
        let is_bare = self.profile == Profile::Rfc793LastLine;
        Some(if is_bare { self.ack() } else { self.syn_ack(now) })
    }

    /// RFC 9293 §3.10.7.4, for SYN-RECEIVED.
    fn take_in_syn_received(&mut self, segment: &Segment) -> Option<Segment> {
        if segment.is_reset() {
            return self.take_reset(segment);
        }
        if segment.is_syn_ack() && segment.seq + 1 == self.expected {
            return self.take_crossing_syn_ack(segment);
        }
        // First: what lies outside of the window draws an ACK; a SYN does wherever it lies (RFC 5961
        // §4.2), also after a passive OPEN, which RFC 9293 would send back to LISTEN.
        if segment.flags.contains(Flags::SYN) || !self.is_in_window(segment) {
            return Some(self.ack());
        }
        // Fifth: without an ACK it is dropped.
        if !segment.flags.contains(Flags::ACK) {
            return None;
        }
        if !self.is_acknowledged_by(segment) {
            return Some(segment.reset_in_answer());
        }
        self.establish();
        None
    }

    /// The peer's SYN,ACK repeats the SYN: read literally, the sequence test of RFC 9293 §3.10.7.4
    /// fails. Appendix A.2 leaves the way out to each stack.
    fn take_crossing_syn_ack(&mut self, segment: &Segment) -> Option<Segment> {
        if self.profile == Profile::LinuxOld {
            return Some(self.ack());
        }
        if !self.is_acknowledged_by(segment) {
            return Some(segment.reset_in_answer());
        }
        self.establish();
        match self.profile {
            Profile::Linux => Some(Segment { options: d_sack(segment.seq), ..self.ack() }),
            Profile::Bsd => Some(self.ack()),
            _ => None,
        }
    }

    /// RFC 9293 §3.10.7.4, for ESTABLISHED: what does not belong there is answered by an ACK
    /// (RFC 5961 §4.2 for a SYN).
    fn take_in_established(&mut self, segment: &Segment) -> Option<Segment> {
        if segment.is_reset() {
            return self.take_reset(segment);
        }
        let is_strange = segment.flags.contains(Flags::SYN) || !self.is_in_window(segment);
        is_strange.then(|| self.ack())
    }

    /// RFC 9293 §3.10.7.4, first: only the exact number resets, one in the window is challenged.
    fn take_reset(&mut self, reset: &Segment) -> Option<Segment> {
        if reset.seq != self.expected {
            return self.is_in_window(reset).then(|| self.ack());
        }
        // MUST-11: a passive OPEN goes back to waiting.
        if (self.state, self.origin) == (State::SynReceived, State::Listen) {
            (self.state, self.repeats) = (State::Listen, None);
        } else {
            self.close();
        }
        None
    }

    fn synchronise(&mut self, segment: &Segment, state: State) {
        self.expected = segment.seq + 1;
        self.echo = segment.options.timestamps().map_or(0, |(value, _)| value);
        self.state = state;
        self.repeats = None;
    }

    const fn establish(&mut self) {
        (self.state, self.repeats) = (State::Established, None);
    }

    const fn close(&mut self) {
        (self.state, self.repeats) = (State::Closed, None);
    }

    fn begin_timer(&mut self, now: Instant) {
        (self.timeout, self.repeated) = (FIRST_TIMEOUT, 0);
        (self.repeats, self.gives_up) = (Some(now + FIRST_TIMEOUT), now + LONGEST_TRY);
    }

    fn repeats_at_one_pace(&self) -> bool {
        let is_linear = self.profile == Profile::Linux && self.state == State::SynSent;
        is_linear && self.repeated <= LINEAR_REPEATS
    }

    /// SND.UNA < SEG.ACK =< SND.NXT, of which a SYN alone leaves one number.
    fn is_acknowledged_by(&self, segment: &Segment) -> bool {
        segment.ack == self.iss + 1
    }

    /// The second test of RFC 9293 §3.4, table 6; nothing that opens a connection has a length.
    fn is_in_window(&self, segment: &Segment) -> bool {
        segment.seq - self.expected < WINDOW
    }

    fn syn(&self, now: Instant) -> Segment {
        Segment::syn(self.iss, stamp(now))
    }

    fn syn_ack(&self, now: Instant) -> Segment {
        Segment::syn_ack(self.iss, self.expected, stamp(now), self.echo)
    }

    fn ack(&self) -> Segment {
        Segment::ack(self.iss + 1, self.expected)
    }
}

/// A timestamp clock of one millisecond (RFC 7323 §5.4); never zero, which means none.
fn stamp(now: Instant) -> u32 {
    u32::try_from(now.as_nanos() / 1_000_000 % 0xffff_ffff).map_or(1, |millis| millis + 1)
}

/// A SACK option (RFC 2018 §3) whose one block is the octet at `seq`, which came twice (RFC 2883).
fn d_sack(seq: Seq) -> Options {
    let mut octets = [1, 1, 5, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    octets[4..8].copy_from_slice(&seq.0.to_be_bytes());
    octets[8..].copy_from_slice(&(seq + 1).0.to_be_bytes());
    Options::from_octets(&octets).unwrap_or_default()
}

/// RFC 6298 §2.1; doubled each time (§5.5).
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// Linux's `tcp_syn_linear_timeouts`.
const LINEAR_REPEATS: u32 = 4;

/// A SYN is repeated for at least three minutes (RFC 9293 §3.8.3, MUST-23).
const LONGEST_TRY: Duration = Duration::from_secs(180);

/// As in every segment of ours.
const WINDOW: u32 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_connected_to_in_three_steps() {
        let (mut client, mut server) = (host(Profile::Rfc9293, 100), host(Profile::Linux, 300));
        server.listen();
        let syn = client.open(NOW);
        let syn_ack = server.take(NOW, &syn);
        assert_eq!(shown(&syn_ack), ["S. 300 ack 101"]);
        let ack = client.take(NOW, &syn_ack[0]);
        assert_eq!(shown(&ack), [". 101 ack 301"]);
        assert!(server.take(NOW, &ack[0]).is_empty());
        assert_eq!([client.state(), server.state()], [State::Established; 2]);
    }

    #[test]
    fn each_profile_answers_a_crossing_in_its_own_way() {
        let ways = [
            (Profile::Rfc9293, ["S. 100 ack 301", ""], State::Established),
            (Profile::Linux, ["S. 100 ack 301", ". 101 ack 301"], State::Established),
            (Profile::LinuxOld, ["S. 100 ack 301", ". 101 ack 301"], State::SynReceived),
            (Profile::Bsd, ["S. 100 ack 301", ". 101 ack 301"], State::Established),
            (Profile::Rfc793LastLine, [". 101 ack 301", ""], State::Established),
        ];
        for (profile, answers, state) in ways {
            let mut host = host(profile, 100);
            host.open(NOW);
            let to_syn = host.take(NOW, &Segment::syn(Seq(300), 1)).remove(0);
            assert_eq!(host.state(), State::SynReceived);
            let to_syn_ack = host.take(NOW, &Segment::syn_ack(Seq(300), Seq(101), 1, 1));
            let given = [shown(&[to_syn]).remove(0), shown(&to_syn_ack).join("")];
            assert_eq!(given, answers, "{profile:?}");
            assert_eq!(host.state(), state, "{profile:?}");
        }
    }

    #[test]
    fn an_old_linux_is_established_by_the_peers_challenge() {
        let mut host = host(Profile::LinuxOld, 100);
        host.open(NOW);
        host.take(NOW, &Segment::syn(Seq(300), 1));
        host.take(NOW, &Segment::syn_ack(Seq(300), Seq(101), 1, 1));
        host.take(NOW, &Segment::ack(Seq(301), Seq(101)));
        assert_eq!(host.state(), State::Established);
    }

    #[test]
    fn a_canned_reset_refuses_a_syn_but_not_once_the_syns_have_crossed() {
        let reset = Segment::syn(Seq(100), 1).reset_in_answer();
        let mut refused = host(Profile::Linux, 100);
        refused.open(NOW);
        refused.take(NOW, &reset);
        assert_eq!(refused.state(), State::Closed);
        let mut crossed = host(Profile::Linux, 100);
        crossed.open(NOW);
        crossed.take(NOW, &Segment::syn(Seq(70_000), 1));
        assert!(crossed.take(NOW, &reset).is_empty());
        assert_eq!(crossed.state(), State::SynReceived);
    }

    #[test]
    fn a_reset_sends_a_passive_opening_back_to_waiting() {
        let mut host = host(Profile::Rfc9293, 100);
        host.listen();
        host.take(NOW, &Segment::syn(Seq(300), 1));
        host.take(NOW, &Segment { seq: Seq(301), flags: Flags::RST, ..Segment::default() });
        assert_eq!((host.state(), host.wakes()), (State::Listen, None));
    }

    #[test]
    fn a_bare_ack_does_not_open_a_connection() {
        let mut host = host(Profile::Rfc9293, 100);
        host.open(NOW);
        assert!(host.take(NOW, &Segment::ack(Seq(7), Seq(101))).is_empty());
        assert_eq!(shown(&host.take(NOW, &Segment::ack(Seq(7), Seq(99)))), ["R 99 ack 0"]);
        assert_eq!(host.state(), State::SynSent);
    }

    #[test]
    fn a_syn_is_repeated_ever_more_slowly_for_three_minutes() {
        let mut host = host(Profile::Rfc9293, 100);
        host.open(NOW);
        let mut repeats = Vec::new();
        while let Some(at) = host.wakes() {
            repeats.extend(host.due(at).map(|_| at.as_nanos() / 1_000_000_000));
        }
        assert_eq!(repeats, [1, 3, 7, 15, 31, 63, 127]);
        assert_eq!(host.state(), State::Closed);
    }

    #[test]
    fn a_linux_repeats_its_syn_four_times_before_it_slows_down() {
        let mut host = host(Profile::Linux, 100);
        host.open(NOW);
        let mut repeats = Vec::new();
        for _ in 0..8 {
            let at = host.wakes().expect("it goes on");
            host.due(at).expect("a SYN");
            repeats.push(at.as_nanos() / 1_000_000_000);
        }
        assert_eq!(repeats, [1, 2, 3, 4, 5, 7, 11, 19]);
    }

    const NOW: Instant = Instant::START;

    fn host(profile: Profile, iss: u32) -> Host {
        Host::new(profile, Seq(iss))
    }

    fn shown(segments: &[Segment]) -> Vec<String> {
        let line = |s: &Segment| format!("{} {} ack {}", s.flags, s.seq, s.ack);
        segments.iter().map(line).collect()
    }
}
