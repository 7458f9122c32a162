//! Octets as an interface delivers them: an IP packet with a TCP segment, or with an ICMP error and the
//! packet that it quotes. What can be read can be written, as octets and as a line of text, which has of a
//! payload no more than its length.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tso_probe::wire::{Packet, decode, encode};

fuzz_target!(|octets: &[u8]| {
    let Ok(mut packet) = decode(octets) else { return };
    assert_eq!(decode(&encode(&packet)).as_ref(), Ok(&packet));
    if let Some(segment) = packet.segment_mut() {
        segment.payload.fill(0);
    }
    let line = packet.to_string();
    assert_eq!(line.parse::<Packet>().as_ref(), Ok(&packet), "{line}");
});
