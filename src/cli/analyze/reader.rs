//! A capture on two cores: one reads it and picks out the packets that may matter, the other puts them
//! together.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::copy::pass;
use super::sink::Sink;
use crate::capture::{Batch, FlawKind, Openings, Screen, Surveyed};
use crate::cli::failure::Failure;
use crate::os;
use crate::os::octets::Octets;
use crate::report::CaptureAccount;

/// Reads the capture of that number, and hands its connections on.
///
/// # Errors
/// If it cannot be read at all.
pub fn read(file: &Path, number: usize, sink: &mut Sink) -> Result<CaptureAccount, Failure> {
    let is_stdin = file == Path::new("-");
    let octets = Octets::open((!is_stdin).then_some(file))?;
    let mut openings = Openings::new(MOST_UNDER_WAY);
    let (filled, batches) = sync_channel(BATCHES);
    let (spent, empty) = channel();
    let surveyed = thread::scope(|scope| {
        // What it sends to is closed once it has read all.
        let reader = scope.spawn(move || pick(octets, &filled, &empty));
        take(&batches, &spent, &mut openings, number, sink);
        drop(batches);
        reader.join().expect("reading does not panic")
    })?;
    openings.end(surveyed.last.unwrap_or_default());
    hand_on(&mut openings, number, sink);
    let file = file.display().to_string();
    Ok(CaptureAccount::new(file, &surveyed, openings.strays(), openings.unfinished()))
}

/// Puts the packets together until there are no more, or nobody wants to know.
fn take(
    batches: &Receiver<Batch>,
    spent: &Sender<Batch>,
    openings: &mut Openings,
    number: usize,
    sink: &mut Sink,
) {
    for mut batch in batches {
        if batch.has_interfaces {
            sink.expect_several_points();
        }
        openings.take(&mut batch);
        if let Some(latest) = batch.live {
            openings.time_goes_on(latest);
        }
        hand_on(openings, number, sink);
        if sink.is_deaf() {
            return;
        }
        // Once all is read, nobody wants it back.
        let _ = spent.send(batch);
    }
}

/// Hands on what is decided.
pub fn hand_on(openings: &mut Openings, number: usize, sink: &mut Sink) {
    while let Some(opening) = openings.decided() {
        sink.take(opening, number);
    }
    sink.flush();
}

/// Reads to the end, or until nobody takes what is read.
fn pick(
    mut octets: Octets,
    filled: &SyncSender<Batch>,
    empty: &Receiver<Batch>,
) -> os::Result<Surveyed> {
    let (mut screen, mut skip, mut batch) = (Screen::new(), 0, Batch::default());
    while more(&mut octets, &mut screen)? {
        skip = pass(&mut octets, skip);
        if skip == 0 {
            let used = screen.read(octets.at_hand(), &mut batch);
            skip = pass(&mut octets, used);
        }
        // Whoever waits for what comes through a pipe wants it as it comes.
        if octets.is_scarce() {
            batch.live = screen.latest();
        }
        let is_due = batch.is_full() || batch.live.is_some() || screen.is_broken();
        if is_due && filled.send(std::mem::take(&mut batch)).is_err() || screen.is_broken() {
            return Ok(screen.end(octets.at_hand()));
        }
        if is_due {
            batch = next_batch(&mut screen, empty);
        }
    }
    // Nobody may want it any more.
    let _ = filled.send(batch);
    Ok(screen.end(octets.at_hand()))
}

/// An empty one: the last of all that came back, or else a new one.
fn next_batch(screen: &mut Screen, empty: &Receiver<Batch>) -> Batch {
    let mut next = Batch::default();
    for mut batch in empty.try_iter() {
        screen.take_back(&mut batch);
        next = batch;
    }
    next
}

/// Whether there are more octets. What cannot be read any more is no reason to forget what was.
fn more(octets: &mut Octets, screen: &mut Screen) -> os::Result<bool> {
    match octets.more() {
        Err(why) if !screen.is_at_start() => {
            screen.fail(FlawKind::Unreadable(why.io_kind()));
            Ok(false)
        }
        Ok(false) if octets.has_rubbish() => {
            screen.fail(FlawKind::NotPacked);
            Ok(false)
        }
        done => done,
    }
}

/// So that one can be filled while another is taken; with more on their way, more packets would pass that
/// need not.
const BATCHES: usize = 2;

/// Some 40 megabytes if each has sent one SYN, as in a flood.
pub const MOST_UNDER_WAY: usize = 1 << 17;
