//! What passes an interface of this host, as it passes.

use std::time::SystemTime;

use super::sink::Sink;
use crate::capture::{Batch, Frame, Openings, Screen};
use crate::cli::failure::Failure;
use crate::os::capture::Capture;
use crate::os::clock;
use crate::os::poll::{self, Interest};
use crate::os::signals::Signals;
use crate::report::CaptureAccount;
use crate::time::Duration;

/// Watches an interface until a signal says to stop, and hands its connections on as they are decided.
///
/// # Errors
/// If it cannot be watched, or goes away.
pub fn watch(interface: &str, sink: &mut Sink) -> Result<CaptureAccount, Failure> {
    let signals = Signals::block()?;
    let mut capture = Capture::open(interface, FILTER)?;
    let mut openings = Openings::new(super::reader::MOST_UNDER_WAY);
    let (mut screen, mut batch, mut number) = (Screen::new(), Batch::default(), 0);
    while signals.read()?.is_none() && !sink.is_deaf() {
        while let Some(packet) = capture.next_packet()? {
            number += 1;
            let frame = Frame {
                number,
                at: u64::try_from(packet.at_realtime.as_nanos()).unwrap_or(u64::MAX),
                is_timed: true,
                interface: 0,
                link: RAW,
                inbound: None,
                octets: packet.packet,
                length: packet.packet.len(),
            };
            screen.take(&frame, &mut batch);
            if batch.is_full() {
                break;
            }
        }
        openings.take(&mut batch);
        screen.take_back(&mut batch);
        openings.time_goes_on(now());
        super::reader::hand_on(&mut openings, 1, sink);
        poll::wait(
            &[Interest::read(&capture), Interest::read(&signals)],
            Some(clock::monotonic() + PATIENCE),
        )?;
    }
    let surveyed = screen.end(&[]);
    openings.end(now());
    super::reader::hand_on(&mut openings, 1, sink);
    let (strays, unfinished) = (openings.strays(), openings.unfinished());
    Ok(CaptureAccount::new(interface.to_owned(), &surveyed, strays, unfinished))
}

/// In nanoseconds since 1970, as captures have it.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// All that may matter, also behind a VLAN tag.
const FILTER: &str = "tcp or icmp or icmp6 or vlan or pppoes";

/// The link type of raw IP packets.
const RAW: i32 = 101;

/// How long to wait for a packet before looking whether anybody still reads.
const PATIENCE: Duration = Duration::from_millis(200);
