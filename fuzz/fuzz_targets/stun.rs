//! A stream of STUN messages over TCP, framed by their own length (RFC 8489 §6.2.2). What can be read
//! can be written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tso_probe::wire::stun::Message;

fuzz_target!(|octets: &[u8]| {
    let mut rest = octets;
    while let Ok(Some(length)) = Message::length(rest) {
        let Some((whole, after)) = rest.split_at_checked(length) else { return };
        if let Ok(message) = Message::read(whole) {
            assert_eq!(Message::read(&message.write()).as_ref(), Ok(&message));
        }
        rest = after;
    }
});
