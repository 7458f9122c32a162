//! How NATs choose ports.

use std::collections::BTreeMap;

use crate::wire::Endpoint;

/// What an external port becomes of: the internal one, and where the flow leads.
pub type Nat = Box<dyn FnMut(u16, Endpoint) -> u16>;

pub fn preserving() -> Nat {
    Box::new(|port, _| port)
}

pub fn random() -> Nat {
    let mut state = 0x9e37_79b9_u32;
    nat(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1_024 + (state >> 16) as u16 % 60_000
    })
}

/// One that counts on, with each remote anew.
pub fn counting(first: u16) -> Nat {
    nat(sequence(first, 1))
}

pub fn nat(mut next: impl FnMut(Endpoint) -> u16 + 'static) -> Nat {
    let mut mapped = BTreeMap::new();
    Box::new(move |port, to| *mapped.entry((port, to)).or_insert_with(|| next(to)))
}

pub fn sequence(mut last: u16, step: u16) -> impl FnMut(Endpoint) -> u16 {
    move |_| {
        last = last.wrapping_add(step).max(1024);
        last
    }
}
