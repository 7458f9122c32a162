//! How much a rendezvous server does for one client, for one address, and in all.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::time::{Duration, Instant};

/// How much a rendezvous server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntroducerLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_of_one_address: usize,
    /// Rooms at once; their numbers go from 1 up to here.
    pub rooms: u32,
    /// Rooms at once that one address has opened.
    pub rooms_of_one_address: usize,
    /// Attempts in a minute to enter rooms, from one address, but for those who turned out to be welcome.
    pub joins_per_minute: u32,
    /// Messages in a second from one client.
    pub messages_per_second: u32,
    /// Mappings that are kept for one client, the newest.
    pub mappings: usize,
    /// How long a connection may take for its first message.
    pub greeting: Duration,
    /// How long somebody may wait in a room.
    pub waiting: Duration,
    /// After how long without a word a client without a peer is gone; it is pinged before, twice.
    pub silence: Duration,
    /// The same for a client with a peer, who is to learn soon that a signal will not be met.
    pub silence_of_a_pair: Duration,
    /// Octets that one client may leave unread.
    pub unread: usize,
    /// Octets that all clients together may leave unread.
    pub unread_in_total: usize,
}

impl Default for IntroducerLimits {
    /// A NAT of a carrier may hide hundreds of clients behind one address; a person who is told a
    /// code reads it within the hour. In memory, with every client at its worst: 20,000 lines of
    /// 4 KiB, 64 MiB of what is unread, and some 3 KiB for each client's mappings: 204 MiB.
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_of_one_address: 256,
            rooms: 20_000,
            rooms_of_one_address: 64,
            joins_per_minute: 30,
            messages_per_second: 200,
            mappings: 20,
            greeting: Duration::from_secs(10),
            waiting: Duration::from_secs(3_600),
            silence: Duration::from_secs(60),
            silence_of_a_pair: Duration::from_secs(6),
            unread: 64 * 1024,
            unread_in_total: 64 * 1024 * 1024,
        }
    }
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 subscriber commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbourhood(IpAddr);

impl Neighbourhood {
    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
            }
        })
    }
}

/// Counts things by neighbourhood, and forgets those that are back at zero.
#[derive(Debug, Default)]
pub struct Census {
    counts: BTreeMap<Neighbourhood, usize>,
}

impl Census {
    /// How many there are.
    pub fn of(&self, neighbourhood: Neighbourhood) -> usize {
        self.counts.get(&neighbourhood).copied().unwrap_or_default()
    }

    /// One more.
    pub fn enter(&mut self, neighbourhood: Neighbourhood) {
        *self.counts.entry(neighbourhood).or_default() += 1;
    }

    /// One less.
    pub fn leave(&mut self, neighbourhood: Neighbourhood) {
        if let Some(count) = self.counts.get_mut(&neighbourhood) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&neighbourhood);
            }
        }
    }
}

/// Counts what each neighbourhood does in the current minute.
#[derive(Debug, Default)]
pub struct PerMinute {
    minute: u64,
    done: BTreeMap<Neighbourhood, u32>,
}

impl PerMinute {
    /// Whether one more may be done at `now`; counts it if so.
    pub fn allows(&mut self, now: Instant, neighbourhood: Neighbourhood, most: u32) -> bool {
        let minute = now.since_start().as_secs() / 60;
        if minute != self.minute {
            *self = Self { minute, done: BTreeMap::new() };
        }
        let done = self.done.entry(neighbourhood).or_default();
        let allowed = *done < most;
        *done += u32::from(allowed);
        allowed
    }

    /// One that was done need not have been counted.
    pub fn forgive(&mut self, neighbourhood: Neighbourhood) {
        if let Some(done) = self.done.get_mut(&neighbourhood) {
            *done = done.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_holds_no_more_than_it_may_for_each_neighbourhood() {
        let (one, other) = (near("192.0.2.1"), near("192.0.2.2"));
        let mut joins = PerMinute::default();
        assert_eq!((0..5).filter(|_| joins.allows(Instant::START, one, 3)).count(), 3);
        assert!(joins.allows(Instant::START, other, 3));
        assert!(joins.allows(Instant::from_millis(60_000), one, 3));
        assert_eq!(joins.done.len(), 1, "last minute's are forgotten");
    }

    #[test]
    fn a_subscribers_whole_prefix_is_one_neighbourhood() {
        assert_eq!(near("2001:db8:1:2::1"), near("2001:db8:1:2:ffff::9"));
        assert_ne!(near("2001:db8:1:2::1"), near("2001:db8:1:3::1"));
        assert_eq!(near("::ffff:192.0.2.1"), near("192.0.2.1"));
        assert_ne!(near("192.0.2.1"), near("192.0.2.2"));
    }

    #[test]
    fn a_census_forgets_whoever_has_left() {
        let mut census = Census::default();
        census.enter(near("192.0.2.1"));
        census.enter(near("192.0.2.1"));
        assert_eq!(census.of(near("192.0.2.1")), 2);
        census.leave(near("192.0.2.1"));
        census.leave(near("192.0.2.1"));
        assert_eq!((census.of(near("192.0.2.1")), census.counts.len()), (0, 0));
    }

    fn near(address: &str) -> Neighbourhood {
        Neighbourhood::of(address.parse().expect("an address"))
    }
}
