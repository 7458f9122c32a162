//! What this process may do, and what that leaves undone.

use super::{Check, Facts, Name, Seen, State, WhyUnknown};

pub fn check(facts: &Facts) -> Check {
    let mut check = Check::new(Name::Privilege, MATTERS);
    let rights = &facts.rights;
    let all: [(&Seen<()>, &str, &str, &str); 3] = [
        (&rights.raw_sockets, "raw sockets and capture (CAP_NET_RAW)", WITHOUT_RAW, SETCAP),
        (&rights.packet_filter, "the packet filter (CAP_NET_ADMIN)", WITHOUT_ADMIN, SETCAP),
        (&rights.socket_states, "the kernel's socket states (root)", WITHOUT_STATES, SUDO),
    ];
    for (right, what, without, mend) in all {
        match right {
            Ok(()) => check.sees(format!("{what}: allowed")),
            Err(unseen) if unseen.why == WhyUnknown::NeedsPrivilege => {
                check.finds(State::Warning, format!("{what}: not allowed; {without}"), mend);
            }
            Err(unseen) => {
                let what = format!("{what}: not here, {}; {without}", unseen.told);
                check.finds(State::Warning, what, "");
            }
        }
    }
    if check.state != State::Fine {
        check.sees(WORKS);
    }
    check.done()
}

const MATTERS: &str = "Crafted segments, a capture as proof and the kernel's own word on a crossed \
                       opening take rights that ordinary users lack.";
const WITHOUT_RAW: &str = "classify and serve cannot craft segments, punch has no packets to show";
const WITHOUT_ADMIN: &str = "classify cannot guard its ports, and this host's rules stay unseen";
const WITHOUT_STATES: &str = "whether an opening crossed is told by packets alone";
const WORKS: &str = "stun, punch without its proof, classify --sim and --from work all the same";
const SETCAP: &str = "sudo setcap cap_net_raw,cap_net_admin=ep $(command -v tso-probe)";
/// `CAP_PERFMON` would open the tracepoint, but its format is in a file that root alone reads.
const SUDO: &str = "sudo tso-probe COMMAND";
