//! Settings of the kernel's TCP that get into an opening's way.

use super::{Check, Facts, Name, State};

pub fn check(facts: &Facts) -> Check {
    let mut check = Check::new(Name::TcpSettings, MATTERS);
    let settings = &facts.settings;
    check.numbers.tcp_syncookies = settings.syncookies;
    check.numbers.tcp_syn_retries = settings.syn_retries;
    if settings.syncookies == Some(ALWAYS) {
        let seen =
            "tcp_syncookies is 2: who accepts goes without SYN-RECEIVED, so it is never seen";
        check.finds(State::Warning, seen, "sudo sysctl -w net.ipv4.tcp_syncookies=1");
    }
    if let Some(retries) = settings.syn_retries.filter(|retries| *retries < FEW) {
        let seen = format!("tcp_syn_retries is {retries}: the kernel gives a punch up early");
        check.finds(State::Warning, seen, "sudo sysctl -w net.ipv4.tcp_syn_retries=6");
    }
    if check.seen.is_empty() {
        check.sees("SYN cookies and SYN retries are as an opening needs them");
    }
    check.done()
}

/// SYN cookies whether they are needed or not (tcp(7) and the kernel's ip-sysctl).
const ALWAYS: u64 = 2;
/// Three retries last seven seconds: fewer end before a peer who is a little late.
const FEW: u64 = 3;

const MATTERS: &str = "They are the kernel's defaults on most machines; other values change what an \
                       opening looks like, or end it early.";
