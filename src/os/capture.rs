//! Seeing the packets that pass an interface, both ways.

use std::{
    fmt,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use pcap::{Active, Precision};

use super::{Error, Kind, Result};
use crate::wire::link::{self, LinkType};

/// A live capture that never blocks. It sees inbound packets before this
/// host's packet filter does and outbound packets after it.
pub struct Capture {
    pcap: pcap::Capture<Active>,
    interface: String,
    link: LinkType,
    packet: Vec<u8>,
}

/// One IP packet as it passed the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured<'a> {
    /// When, by the realtime clock; see [`super::clock::Timeline`].
    pub at_realtime: Duration,
    /// From the IP header on, without link layer and padding. A packet longer
    /// than [`SNAPSHOT_BYTES`] is cut.
    pub packet: &'a [u8],
}

/// What a capture has seen and missed since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Packets that passed the filter.
    pub received: u32,
    /// Of these, lost because they were not read in time.
    pub dropped: u32,
    /// Lost by the interface or its driver.
    pub interface_dropped: u32,
}

impl Capture {
    /// Captures on an interface of the calling thread's namespace what passes
    /// a filter in pcap's language (pcap-filter(7); empty passes all).
    ///
    /// # Errors
    /// [`Kind::Privilege`] without `CAP_NET_RAW`; [`Kind::Gone`] without such
    /// an interface; [`Kind::Unsupported`] for a link layer unknown to us;
    /// [`Kind::Other`] for a filter that does not compile.
    pub fn open(interface: &str, filter: &str) -> Result<Self> {
        let mut pcap = open(interface).map_err(|e| failed("capture on", interface, &e))?;
        pcap.filter(filter, true)
            .map_err(|e| Error::text("use the capture filter", format!("`{filter}`"), e))?;
        let number = pcap.get_datalink().0;
        let link = LinkType::from_number(number).ok_or_else(|| {
            let why = format!("its link layer (type {number}) is unknown");
            Error::text("capture on", interface, why).of_kind(Kind::Unsupported)
        })?;
        Ok(Self { pcap, interface: interface.to_owned(), link, packet: Vec::new() })
    }

    /// The next IP packet, or `None` when there is none now.
    ///
    /// # Errors
    /// [`Kind::Gone`] when the interface went down or away.
    pub fn next_packet(&mut self) -> Result<Option<Captured<'_>>> {
        let at_realtime = loop {
            let frame = match self.pcap.next_packet() {
                Ok(frame) => frame,
                Err(pcap::Error::TimeoutExpired) => return Ok(None),
                Err(e) => return Err(failed("capture on", &self.interface, &e)),
            };
            let packet = self.link.ip_packet(frame.data).and_then(link::without_padding);
            if let Some(packet) = packet {
                self.packet.clear();
                self.packet.extend_from_slice(packet);
                break time_of(frame.header);
            }
        };
        Ok(Some(Captured { at_realtime, packet: &self.packet }))
    }

    /// What it has seen and missed so far.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn statistics(&mut self) -> Result<Statistics> {
        let told = self.pcap.stats();
        let stat = told.map_err(|e| failed("count the packets of", &self.interface, &e))?;
        Ok(Statistics {
            received: stat.received,
            dropped: stat.dropped,
            interface_dropped: stat.if_dropped,
        })
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pcap.as_fd()
    }
}

impl AsRawFd for Capture {
    fn as_raw_fd(&self) -> RawFd {
        self.pcap.as_raw_fd()
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("interface", &self.interface).finish_non_exhaustive()
    }
}

fn open(interface: &str) -> std::result::Result<pcap::Capture<Active>, pcap::Error> {
    pcap::Capture::from_device(interface)?
        .immediate_mode(true)
        .precision(Precision::Nano)
        .snaplen(SNAPSHOT_BYTES)
        .buffer_size(BUFFER_BYTES)
        .open()?
        .setnonblock()
}

/// With [`Precision::Nano`] pcap puts nanoseconds where microseconds stand.
fn time_of(header: &pcap::PacketHeader) -> Duration {
    let seconds = u64::try_from(header.ts.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(header.ts.tv_usec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

/// libpcap tells its failures in words alone.
fn failed(tried: &'static str, interface: &str, error: &pcap::Error) -> Error {
    let words = error.to_string();
    let says = |texts: &[&str]| texts.iter().any(|text| words.contains(text));
    if says(&["went down", "disappeared", "not up"]) {
        let why = format!("interface went down ({words})");
        return Error::text(tried, interface, why).of_kind(Kind::Gone);
    }
    let failure = Error::text(tried, interface, &words);
    if says(&["permission", "not permitted"]) {
        return failure.of_kind(Kind::Privilege).with_hint(super::error::PRIVILEGE_HINT);
    }
    if says(&["No such device"]) {
        return failure.of_kind(Kind::Gone).with_hint("see the interfaces: ip link");
    }
    failure
}

/// Bytes kept of each packet: any probe and its link layer in full. More would
/// cost slots: in immediate mode the kernel's buffer has one slot of this size
/// for each packet, and whatever comes while all are full is lost.
pub const SNAPSHOT_BYTES: i32 = 2048;
/// About two thousand packets may come between two reads.
const BUFFER_BYTES: i32 = 4 << 20;
