//! What a reflector lets itself be used for: it must not be a weapon, nor run out of memory.

use crate::time::{Duration, Instant};

/// How much a reflector does, for one client and in total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Control connections at once.
    pub clients: usize,
    /// Control connections at once from one address: several probers may be behind one NAT.
    pub clients_of_one_address: usize,
    /// How long a connection may stay without a greeting.
    pub greeting: Duration,
    /// SYNs that one client may announce.
    pub expectations: usize,
    /// Connections that one client's SYNs may make known.
    pub flows: usize,
    /// Addresses that one client may show that it sends from.
    pub addresses: usize,
    /// Segments that one client may have crafted, in all.
    pub shots: usize,
    /// Segments crafted in one second for one client.
    pub shots_per_second: u32,
    /// Segments crafted in one second for all clients together.
    pub shots_per_second_in_total: u32,
    /// How long a client may stay.
    pub stay: Duration,
    /// How far ahead a shot may be ordered.
    pub ahead: Duration,
}

impl Default for Limits {
    /// A whole classification asks for some 60 expectations, and for 200 to 900 shots in under 20 s.
    fn default() -> Self {
        Self {
            clients: 64,
            clients_of_one_address: 8,
            greeting: Duration::from_secs(5),
            expectations: 256,
            flows: 1_024,
            addresses: 16,
            shots: 2_000,
            shots_per_second: 400,
            shots_per_second_in_total: 2_000,
            stay: Duration::from_secs(120),
            ahead: Duration::from_secs(60),
        }
    }
}

/// Counts what is done in the current second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    second: u64,
    done: u32,
}

impl Rate {
    /// Whether one more may be done at `now`; counts it if so.
    pub fn allows(&mut self, now: Instant, most: u32) -> bool {
        let second = now.since_start().as_secs();
        if second != self.second {
            *self = Self { second, done: 0 };
        }
        let allowed = self.done < most;
        self.done += u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_no_more_than_it_may() {
        let mut rate = Rate::default();
        let allowed = (0..10).filter(|_| rate.allows(Instant::from_millis(5), 3)).count();
        assert_eq!(allowed, 3);
        assert!(rate.allows(Instant::from_millis(1_000), 3));
    }
}
