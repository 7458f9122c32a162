//! One plain paragraph: what the findings mean for a punch.

use super::finding::Findings;
use crate::nat::{Filtering, Mapping, PortAssignment, SimultaneousOpen, UnsolicitedSyn};

/// What this means for a punch.
pub fn summary(findings: &Findings) -> String {
    let parts = [target(findings), early(findings), open(findings), shortcut(findings)];
    let known: Vec<_> = parts.into_iter().flatten().collect();
    if known.is_empty() {
        return "Too little is known of this NAT to say what a punch would do.".to_owned();
    }
    known.join(" ")
}

/// Can a peer know where to aim?
fn target(findings: &Findings) -> Option<String> {
    let mapping = findings.mapping.value()?;
    let clash = findings.on_port_clash.value().map(|clash| clash.mapping);
    let assignment = findings.port_assignment.value();
    Some(match (mapping, assignment) {
        (Mapping::EndpointIndependent, _) if clash.is_some_and(|clash| clash != *mapping) => {
            "A peer can aim at the port that a STUN server reports, unless another host behind this \
             NAT uses the same local port: then the port changes with the remote, so pick an \
             uncommon local port."
        }
        (Mapping::EndpointIndependent, _) => {
            "A peer can aim at the port that a STUN server reports: it is the same for every remote."
        }
        (_, Some(PortAssignment::Sequential)) => {
            "The port that a STUN server reports is not the one that a peer will meet, but ports \
             follow each other, so the next one can be predicted while the NAT is quiet."
        }
        (Mapping::AddressDependent, _) => {
            "The port that a STUN server reports is not the one that a peer will meet: each remote \
             address gets another one, and it cannot be predicted."
        }
        (Mapping::AddressAndPortDependent, _) => {
            "The port that a STUN server reports is not the one that a peer will meet: each remote \
             gets another one, and it cannot be predicted. A punch works only towards a peer whose \
             NAT lets anybody in, or by trying many ports."
        }
    }
    .to_owned())
}

/// Does a peer's SYN that comes early do harm?
fn early(findings: &Findings) -> Option<String> {
    let met = &findings.unsolicited_syn.filtered_port;
    let met = met.value().or_else(|| findings.unsolicited_syn.unmapped_port.value())?;
    Some(match met {
        UnsolicitedSyn::Dropped => {
            "A peer's SYN that comes too early is dropped in silence, so the two need not start at \
             the same moment."
        }
        UnsolicitedSyn::Reset => {
            "A peer's SYN that comes too early is reset, which ends its attempt: both must start \
             within the one-way delay of each other, or try again."
        }
        UnsolicitedSyn::IcmpError => {
            "A peer's SYN that comes too early is answered with an ICMP error, which ends a \
             connect() on some systems: start within the one-way delay of each other, or try again."
        }
    }
    .to_owned())
}

fn open(findings: &Findings) -> Option<String> {
    let open = findings.simultaneous_open.value()?;
    Some(match open {
        SimultaneousOpen::Supported => {
            "When the SYNs cross, this NAT lets all four segments of the simultaneous open pass."
        }
        SimultaneousOpen::Blocked => {
            "When the SYNs cross, this NAT blocks the simultaneous open: only one side may dial, \
             once the other has opened its filter."
        }
    }
    .to_owned())
}

fn shortcut(findings: &Findings) -> Option<String> {
    let open = findings.filtering.after_syn.value() == Some(&Filtering::EndpointIndependent);
    open.then(|| {
        "Once a port is mapped anybody may connect to it, so no simultaneous open is needed."
            .to_owned()
    })
}
