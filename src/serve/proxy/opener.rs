//! Connections with peers, opened one after another or many at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::net::TcpStream;
use tokio::sync::{Mutex as Turn, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Errand, Hear, News};
use crate::engine::{Fact, Punched};
use crate::live::{self, Ended, Flows, Stop};
use crate::os::poll::Waker;
use crate::os::tls::Trust;
use crate::os::{self, entropy};
use crate::punch::{Code, Introduced, Introduction, Words};
use crate::rendezvous::introducer::{Code as Refusal, Ticket};
use crate::report::opened_in_words;
use crate::time::Duration;
use crate::verdict::{PunchVerdict, judge_punch};
use crate::wire::Endpoint;

/// Opens connections with peers.
pub struct Opener {
    server: Endpoint,
    tls: Option<Trust>,
    attempts: u32,
    patience: Duration,
    hear: Hear,
    /// So many openings at once.
    permits: Semaphore,
    /// A peer opens one connection at a time: those who want the same wait for each other. When the last
    /// was done, by room.
    turns: Mutex<BTreeMap<u32, Arc<Turn<Option<Instant>>>>>,
    /// What ends the openings that are under way.
    wakers: Mutex<Vec<Weak<Waker>>>,
    is_stopped: AtomicBool,
    reception: Mutex<Reception>,
}

/// How peers come to this end.
#[derive(Default)]
struct Reception {
    words: Option<Words>,
    room: Option<(u32, Ticket)>,
    /// The room that was told last.
    told: Option<u32>,
}

/// A connection with a peer, and what is known of its opening.
pub struct Reached {
    pub peer: TcpStream,
    pub verdict: PunchVerdict,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// Nobody waits under that code.
    NobodyThere,
    /// Somebody does, and the connection did not open.
    NotOpen,
    /// It could not be tried.
    NotTried,
}

impl Opener {
    pub fn new(errand: &Errand, hear: &Hear) -> Self {
        let Errand { server, attempts, patience, .. } = *errand;
        Self {
            server,
            tls: errand.tls.clone(),
            attempts,
            patience,
            hear: Arc::clone(hear),
            permits: Semaphore::new(MOST_AT_ONCE),
            turns: Mutex::default(),
            wakers: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            reception: Mutex::default(),
        }
    }

    pub fn tell(&self, news: News) {
        (self.hear)(news);
    }

    /// Ends what is under way, and lets nothing more begin.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        locked(&self.wakers).iter().filter_map(Weak::upgrade).for_each(|waker| waker.wake());
    }

    /// Opens a connection with the peer of a code; `watch` sees every fact. One who is busy with
    /// somebody else is asked again for a while.
    pub async fn reach(
        self: &Arc<Self>,
        code: &Code,
        watch: impl Fn(&Fact) + Clone + Send + 'static,
    ) -> Result<Reached, Unreached> {
        let turn = self.turn(code.room);
        let mut last = turn.lock().await;
        if let Some(last) = *last {
            sleep_until(last + TO_COME_BACK).await;
        }
        let reached = self.reach_in_turn(code, watch).await;
        *last = Some(Instant::now());
        reached
    }

    fn turn(&self, room: u32) -> Arc<Turn<Option<Instant>>> {
        let mut turns = locked(&self.turns);
        if turns.len() > MOST_TURNS {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(turns.entry(room).or_default())
    }

    async fn reach_in_turn(
        self: &Arc<Self>,
        code: &Code,
        watch: impl Fn(&Fact) + Clone + Send + 'static,
    ) -> Result<Reached, Unreached> {
        let (mut pauses, mut held) = (PAUSES.iter(), 0);
        loop {
            let permit = self.permits.acquire().await.map_err(|_| Unreached::NotTried)?;
            let introduction = self.introduction(Some(code.room), None, code.words.clone());
            let tried = self.open(introduction, watch.clone()).await;
            drop(permit);
            let refusal = tried.as_ref().ok().and_then(|(introduced, _)| introduced.refusal());
            match (refusal, pauses.as_slice()) {
                (Some(Refusal::NoSuchRoom), []) => {
                    self.tell(News::Failed(format!("nobody waits in room {}", code.room)));
                    return Err(Unreached::NobodyThere);
                }
                (Some(Refusal::NoSuchRoom), [pause, ..]) => {
                    pauses.next();
                    sleep(*pause).await;
                }
                (Some(Refusal::TooManyJoins), _) if held < MOST_HELD => {
                    if held == 0 {
                        self.tell(News::Held(
                            "the rendezvous server lets this address enter no \
                                              more rooms for a minute"
                                .to_owned(),
                        ));
                    }
                    held += 1;
                    sleep(WHILE_HELD).await;
                }
                _ => return self.settle(tried.map(|(_, ended)| ended)),
            }
        }
    }

    /// Waits for a peer to come by this end's code, which is told, and opens a connection with it.
    pub async fn receive(self: &Arc<Self>) -> Result<Reached, Unreached> {
        let (words, claim) = self.words();
        let introduction = self.introduction(None, claim, words.clone());
        let opener = Arc::clone(self);
        let watch = move |fact: &Fact| {
            if let Fact::Punch { what: Punched::Waits { room }, .. } = fact {
                opener.waits(&Code { room: *room, words: words.clone() });
            }
        };
        let tried = self.open(introduction, watch).await;
        let is_elsewhere =
            |introduced: &Introduced| introduced.refusal() == Some(Refusal::RoomTaken);
        locked(&self.reception).room = match &tried {
            Ok((introduced, _)) => introduced.room().filter(|_| !is_elsewhere(introduced)),
            Err(_) => claim,
        };
        if tried.as_ref().is_ok_and(|(introduced, _)| is_idle(introduced)) {
            return Err(Unreached::NobodyThere);
        }
        self.settle(tried.map(|(_, ended)| ended))
    }

    /// The words of this end's own code, and the room that it has had.
    fn words(&self) -> (Words, Option<(u32, Ticket)>) {
        let mut reception = locked(&self.reception);
        let room = reception.room;
        let fresh = || Words::four(entropy::secret().unwrap_or_default());
        (reception.words.get_or_insert_with(fresh).clone(), room)
    }

    /// The room is kept from one peer to the next: it is told once.
    fn waits(&self, code: &Code) {
        if locked(&self.reception).told.replace(code.room) != Some(code.room) {
            self.tell(News::Waits(code.clone()));
        }
    }

    fn introduction(
        &self,
        room: Option<u32>,
        claim: Option<(u32, Ticket)>,
        words: Words,
    ) -> Introduction {
        let Self { server, attempts, patience, .. } = *self;
        let (port, wait, secret, seed) = (None, ANSWER, [0; 32], 0);
        Introduction { server, room, claim, words, port, attempts, wait, patience, secret, seed }
    }

    /// On a thread that may block; its sources of randomness are its own.
    async fn open(
        self: &Arc<Self>,
        introduction: Introduction,
        watch: impl Fn(&Fact) + Send + 'static,
    ) -> os::Result<(Introduced, Ended)> {
        let waker = Arc::new(Waker::new()?);
        self.will_end_with(&waker);
        let tls = self.tls.clone();
        let opening = spawn_blocking(move || {
            let seed = entropy::seed()?;
            let (port, secret) = (Some(live::free_port(seed)?), entropy::secret()?);
            let introduction = Introduction { port, secret, seed, ..introduction };
            let mut introduced = Introduced::new(introduction);
            let mut watch = |fact: &Fact| watch(fact);
            let (stop, flows) = (Stop::Waker(&waker), Flows::default().sealed(tls));
            let ended =
                live::punch_introduced(&mut introduced, flows, stop, &mut watch, &mut |_, _| {})?;
            Ok((introduced, ended))
        });
        opening.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
    }

    fn will_end_with(&self, waker: &Arc<Waker>) {
        let mut wakers = locked(&self.wakers);
        wakers.retain(|waker| waker.strong_count() > 0);
        wakers.push(Arc::downgrade(waker));
        if self.is_stopped.load(Ordering::SeqCst) {
            waker.wake();
        }
    }

    /// What came of it, told in words.
    fn settle(&self, tried: os::Result<Ended>) -> Result<Reached, Unreached> {
        let fails = |why: String, how| {
            self.tell(News::Failed(why));
            Err(how)
        };
        let Ended { run, connection } = match tried {
            Ok(ended) => ended,
            Err(why) => return fails(why.to_string(), Unreached::NotTried),
        };
        let verdict = judge_punch(&run);
        let peer = connection.and_then(|connection| {
            connection.set_nonblocking(true).and_then(|()| TcpStream::from_std(connection)).ok()
        });
        match (peer, verdict.troubles.first(), &verdict.diagnosis) {
            (Some(peer), ..) => {
                let with = peer.peer_addr().map_or("a peer".to_owned(), |peer| peer.to_string());
                let how = opened_in_words(&verdict);
                self.tell(News::Opened(format!("{with}: {how}")));
                Ok(Reached { peer, verdict })
            }
            (None, Some(trouble), _) => fails(trouble.clone(), Unreached::NotTried),
            (None, None, Some(why)) => fails(why.because.clone(), Unreached::NotOpen),
            (None, None, None) => fails("it did not open".to_owned(), Unreached::NotOpen),
        }
    }
}

/// Whether nobody has come for as long as the server lets anybody wait, which is no news.
fn is_idle(introduced: &Introduced) -> bool {
    introduced.refusal() == Some(Refusal::WaitedTooLong)
}

/// What a thread that panicked has left is as good as before: each change here is one step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many openings at once: each spins for a moment before its SYN.
const MOST_AT_ONCE: usize = 8;

/// A peer that has just opened one connection needs so long, commonly, to be in its room again.
const TO_COME_BACK: Duration = Duration::from_millis(500);

/// One who is not there may be busy with somebody else, or be looking for a server that was restarted. Each
/// attempt counts among those that the server allows in a minute.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
];

/// A server that has had enough has for a minute.
const WHILE_HELD: Duration = Duration::from_secs(10);
const MOST_HELD: u32 = 7;

/// Codes whose last connection is remembered.
const MOST_TURNS: usize = 64;

/// How long the server, or the peer, may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);
