//! Which reflector's endpoints play which role, and who is told what.

use std::collections::BTreeMap;

use super::plan::Plan;
use crate::engine::{Name, Remotes};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

impl Plan {
    /// The endpoints of the first reflector are contacted; its second address, or the second
    /// reflector, is the other address.
    pub(super) fn remotes(&self) -> Remotes {
        let mut all = self.reflectors.values().flat_map(|reflector| &reflector.endpoints).copied();
        let contacted = all.next().expect("every reflector has named endpoints");
        let mut same = all.clone().filter(|other| other.ip() == contacted.ip());
        let mut others = all.filter(|other| other.ip() != contacted.ip());
        Remotes {
            contacted,
            other_port: same.next().expect("a welcome names two ports of one address"),
            other_address: others.next(),
            other_both: others.next(),
        }
    }

    /// The longest round trip to a reflector, from the greeting.
    pub(super) fn round_trip(&self, now: Instant) -> Duration {
        let trips = self.reflectors.values().map(|reflector| reflector.round_trip);
        trips.max().unwrap_or_else(|| now.since_start())
    }

    /// Items by the reflector that owns the endpoint each is about.
    pub(super) fn by_owner<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        about: impl Fn(&T) -> Endpoint,
    ) -> BTreeMap<Name, Vec<T>> {
        let mut all: BTreeMap<Name, Vec<T>> =
            self.reflectors.keys().map(|name| (*name, Vec::new())).collect();
        for item in items {
            let mut owners = self.reflectors.iter();
            let owner = owners.find(|(_, reflector)| reflector.endpoints.contains(&about(&item)));
            let name = owner.map(|(name, _)| *name);
            if let Some(of_this) = name.and_then(|name| all.get_mut(&name)) {
                of_this.push(item);
            }
        }
        all
    }
}
