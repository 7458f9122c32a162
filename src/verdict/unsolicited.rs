//! What met an unsolicited SYN, and after how long (RFC 5382 REQ-4).

use std::collections::BTreeSet;

use super::filtering::reach;
use super::finding::{Answered, Finding, Frame, Proof, Unknown};
use super::liveness::Liveness;
use super::view::{Asked, At, REPETITIONS, Sight, View};
use crate::engine::{Effort, Place, Question};
use crate::nat::{HOLD, UnsolicitedSyn};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;
use crate::wire::control::Volley;

type Met = Finding<UnsolicitedSyn, Answered>;

/// To a port that is not mapped.
pub fn unmapped_port(view: &View<'_>, liveness: &Liveness) -> Result<Met, Unknown> {
    let meetings = view.asked(Question::UnsolicitedSyn).map(|asked| Meeting::of(view, asked, None));
    met(view, liveness, meetings.collect())
}

/// To a port that is mapped, but filtered.
pub fn filtered_port(view: &View<'_>, liveness: &Liveness) -> Result<Met, Unknown> {
    let remotes = view.remotes.ok_or_else(|| view.no_answer())?;
    let stranger = remotes.other_address.unwrap_or(remotes.other_port);
    if reach(view, liveness, Question::Filtering, stranger)?.got_in {
        return Err(Unknown::HiddenByOtherBehaviour);
    }
    let asked = view.asked(Question::Filtering);
    let meetings = asked.map(|asked| Meeting::of(view, asked, Some(stranger)));
    met(view, liveness, meetings.collect())
}

/// A port that unsolicited SYNs went to, and what answered them.
struct Meeting {
    from: Option<Endpoint>,
    sent: Vec<Sent>,
    answer: Option<Answer>,
}

type Sent = (Volley, Instant, Frame);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    value: UnsolicitedSyn,
    icmp: Option<String>,
    /// When the SYN left that it answers, and how long after that it came.
    asked: Instant,
    after: Duration,
    ttl: u8,
    /// The SYN that it answers, and the answer; the same of others like it.
    frames: Vec<Frame>,
}

impl Meeting {
    fn of(view: &View<'_>, asked: &Asked, stranger: Option<Endpoint>) -> Self {
        let from = |sight: &Sight<'_>| stranger.is_none_or(|stranger| sight.from == stranger);
        let shots: Vec<_> = view.syns(asked.probe, At::LeftReflector).filter(from).collect();
        let dated = |shot: &Sight<'_>| Some((shot.record.volley?, shot.record.at, shot.frame));
        Self {
            from: shots.first().map(|shot| shot.from),
            sent: shots.iter().filter_map(dated).collect(),
            answer: Answer::first(shots.iter().filter_map(|shot| answer_to(view, asked, shot))),
        }
    }

    /// Those whose answer would have been heard if it came in time for REQ-4.
    fn sent_until(&self, heard: Instant) -> Vec<Sent> {
        self.sent.iter().filter(|(_, at, _)| *at + HOLD <= heard).copied().collect()
    }
}

impl Answer {
    /// The first of these, with the frames of all that are like it.
    fn first(mut all: impl Iterator<Item = Self>) -> Option<Self> {
        let first = all.next()?;
        let alike = all.filter(|other| other.is_like(&first));
        let more: Vec<_> = alike.flat_map(|other| other.frames).collect();
        Some(Self { frames: [first.frames.clone(), more].concat(), ..first })
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.value, &self.icmp) == (other.value, &other.icmp)
    }
}

/// The first reset or ICMP error about this very SYN.
fn answer_to(view: &View<'_>, asked: &Asked, shot: &Sight<'_>) -> Option<Answer> {
    view.frames(asked.probe).iter().find_map(|&(frame, record)| {
        let (value, icmp) = match (record.packet.segment(), record.packet.icmp_error()) {
            _ if !record.inbound || record.place != shot.record.place => return None,
            (Some(segment), _) if segment.is_reset() && segment.ack == shot.segment.seq + 1 => {
                let back = record.packet.endpoints() == Some((shot.to, shot.from));
                (UnsolicitedSyn::Reset, back.then_some(None)?)
            }
            (_, Some(icmp)) if icmp.quote.seq == shot.segment.seq => {
                let back = (icmp.quote.source, icmp.quote.destination) == (shot.from, shot.to);
                let name = format!("{}/{}", icmp.kind, icmp.code);
                (UnsolicitedSyn::IcmpError, back.then_some(Some(name))?)
            }
            _ => return None,
        };
        let (after, ttl) = (record.at.since(shot.record.at), record.packet.ttl);
        let (asked, frames) = (shot.record.at, vec![shot.frame, frame]);
        Some(Answer { value, icmp, asked, after, ttl, frames })
    })
}

fn met(view: &View<'_>, liveness: &Liveness, meetings: Vec<Meeting>) -> Result<Met, Unknown> {
    let tried: Vec<_> = meetings.iter().filter(|meeting| !meeting.sent.is_empty()).collect();
    if tried.len() < REPETITIONS {
        return Err(view.no_answer());
    }
    let answers: Vec<_> = tried.iter().filter_map(|meeting| meeting.answer.as_ref()).collect();
    if answers.is_empty() {
        return silence(view, liveness, &tried);
    }
    let some_for_all = view.effort != Effort::Quick && view.complete && is_limited(&answers);
    if answers.len() < tried.len() && !some_for_all {
        // One port answered and another did not: loss explains it, or a contradiction.
        return Err(silence(view, liveness, &tried).err().unwrap_or(Unknown::Contradicted));
    }
    // Once a NAT that holds SYNs may be full, answers that come early say nothing of the others.
    let mut early = answers.iter().filter(|answer| answer.after < HOLD).peekable();
    if early.peek().is_some() && early.all(|answer| held_at_most(view, answer) > SURELY_HELD) {
        let quick = view.effort == Effort::Quick;
        return Err(if quick { Unknown::NotWaited } else { Unknown::LossyPath });
    }
    answered(&answers)
}

/// Whether answers are limited in rate, as those with ICMP errors are (RFC 1812 §4.3.2.8): then some
/// for all is what was to be seen. One alone may come from a second NAT behind the first, which has
/// mapped that very port meanwhile.
fn is_limited(answers: &[&Answer]) -> bool {
    answers.len() > 1 && answers.iter().all(|answer| answer.value == UnsolicitedSyn::IcmpError)
}

/// How many SYNs a NAT may hold when that comes which met this answer: those of strangers, and our own
/// knocks, which a second NAT may send back to the first. The full one answers at once, so the SYN was
/// on its way for half as long as the answer took.
fn held_at_most(view: &View<'_>, answer: &Answer) -> usize {
    let strangers = STRANGERS.iter().flat_map(|question| view.asked(*question));
    let strangers = strangers.flat_map(|asked| view.syns(asked.probe, At::LeftReflector));
    let strangers = strangers.filter(|syn| syn.record.at <= answer.asked);
    let came = answer.asked + (answer.after / 2).min(LONGEST_WAY);
    let knocks = view.knocks().filter(|knock| knock.record.at <= came);
    strangers.chain(knocks).map(|syn| (syn.from, syn.to)).collect::<BTreeSet<_>>().len()
}

/// The answers are all that was to come: alike, after about the same time.
fn answered(answers: &[&Answer]) -> Result<Met, Unknown> {
    let mut after: Vec<_> = answers.iter().map(|answer| answer.after).collect();
    after.sort_unstable();
    let (first, median) = (answers[0], after[after.len() / 2]);
    let alike = answers.iter().all(|other| other.is_like(first));
    if !alike || after[after.len() - 1] - after[0] > ALIKE {
        return Err(Unknown::Contradicted);
    }
    let mut evidence: Vec<_> = answers.iter().flat_map(|answer| answer.frames.clone()).collect();
    evidence.sort_unstable();
    let after_ms = u64::try_from(median.as_millis()).ok();
    let (icmp, ttl) = (first.icmp.clone(), Some(first.ttl));
    let details = Answered { after_ms, icmp, ttl };
    let proof = Proof { evidence, error_bound: 0.0 };
    Ok(Finding::Known { value: first.value, details, proof })
}

/// Whether any SYN of a reflector was answered with an ICMP error.
fn sends_icmp_errors(view: &View<'_>) -> bool {
    let mut frames = view.probes().flat_map(|asked| view.frames(asked.probe));
    frames.any(|(_, record)| {
        record.place != Place::Prober && record.inbound && record.packet.icmp_error().is_some()
    })
}

/// No answer at all: silence, if we listened long enough and would have heard.
fn silence(view: &View<'_>, liveness: &Liveness, tried: &[&Meeting]) -> Result<Met, Unknown> {
    if view.effort == Effort::Quick {
        return Err(Unknown::NotWaited);
    }
    // Who sends ICMP errors at all limits their rate, which may have swallowed all for these ports.
    if sends_icmp_errors(view) {
        return Err(Unknown::Contradicted);
    }
    let heard = view.listened.min(liveness.last_seen_out()).filter(|_| view.complete);
    let heard = heard.ok_or_else(|| view.no_answer())?;
    let waited: Vec<_> = tried.iter().map(|meeting| meeting.sent_until(heard)).collect();
    let dated = |sent: &Vec<Sent>| sent.iter().map(|(volley, at, _)| (*volley, *at)).collect();
    let ports: Vec<_> = waited.iter().map(dated).collect();
    let from = tried.iter().find_map(|meeting| meeting.from).ok_or_else(|| view.no_answer())?;
    let error_bound = liveness.silence_in_and_out(from.ip(), &ports)?;
    let evidence = waited.iter().flatten().map(|(.., frame)| *frame).collect();
    let proof = Proof { evidence, error_bound };
    Ok(Finding::Known { value: UnsolicitedSyn::Dropped, details: Answered::default(), proof })
}

/// Whose SYNs come from strangers.
const STRANGERS: [Question; 3] =
    [Question::UnsolicitedSyn, Question::Filtering, Question::FilteringEstablished];

/// Who holds SYNs holds as many (Jool, the reference for RFC 6146, holds ten).
const SURELY_HELD: usize = 10;

/// Packets are seldom longer on their way in.
const LONGEST_WAY: Duration = Duration::from_millis(200);

/// Answers to SYNs that met the same fate differ by no more than jitter does, each way, over two
/// tries.
const ALIKE: Duration = Duration::from_millis(500);
