//! Octets as an interface delivers them: an IP packet with a TCP segment, or with an ICMP error and the
//! packet that it quotes. What can be read can be written, as octets and as a line of text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tso_probe::wire::{Packet, decode, encode};

fuzz_target!(|octets: &[u8]| {
    let Ok(packet) = decode(octets) else { return };
    assert_eq!(decode(&encode(&packet)).as_ref(), Ok(&packet));
    let line = packet.to_string();
    assert_eq!(line.parse::<Packet>().as_ref(), Ok(&packet), "{line}");
});
