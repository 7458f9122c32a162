//! Keeps this host's own TCP and packet filter away from probe endpoints.
//!
//! A probe speaks for itself at its endpoint: the kernel's TCP knows nothing of
//! it and would answer every segment with a reset (RFC 9293 §3.10.7.1), which
//! may kill the very binding under test.

use std::{collections::BTreeSet, fmt, net::SocketAddr};

use super::{
    Result,
    nft::{End, EndpointSet, Hook, HookPoint, Rule, Table, Transaction, Verdict},
};

/// Guards probe endpoints of the calling thread's namespace.
///
/// - TCP packets to a guarded endpoint are dropped before connection tracking
///   and the kernel's TCP see them. A capture still does: it taps packets
///   before the packet filter.
/// - TCP packets from a guarded endpoint are kept out of connection tracking,
///   so that a rule like `ct state invalid drop` of this host does not eat a
///   crafted SYN,ACK.
///
/// The guard ends with this value, or with the process however it dies.
pub struct PortGuard {
    table: Table,
    endpoints: BTreeSet<SocketAddr>,
}

impl PortGuard {
    /// Guards these endpoints (there may be none yet).
    ///
    /// # Errors
    /// [`super::Kind::Privilege`] without `CAP_NET_ADMIN`;
    /// [`super::Kind::Unsupported`] before Linux 5.12 or without nftables.
    pub fn new(endpoints: &[SocketAddr]) -> Result<Self> {
        let mut table = Table::new("guard");
        let mut transaction = table.begin();
        transaction.create_table();
        EndpointSet::BOTH.into_iter().for_each(|set| transaction.create_set(set));
        drop_inbound(&mut transaction);
        leave_outbound_untracked(&mut transaction);
        transaction.commit()?;
        let mut guard = Self { table, endpoints: BTreeSet::new() };
        guard.add_all(endpoints)?;
        Ok(guard)
    }

    /// Guards one more endpoint; one guarded already stays so.
    ///
    /// # Errors
    /// When the kernel refuses the change.
    pub fn add(&mut self, endpoint: SocketAddr) -> Result<()> {
        self.add_all(&[endpoint])
    }

    /// Guards more endpoints, some thousands a call.
    ///
    /// # Errors
    /// When the kernel refuses the change.
    pub fn add_all(&mut self, endpoints: &[SocketAddr]) -> Result<()> {
        for chunk in endpoints.chunks(ENDPOINTS_PER_TRANSACTION) {
            let mut transaction = self.table.begin();
            transaction.add_endpoints(chunk);
            transaction.commit()?;
            self.endpoints.extend(chunk);
        }
        Ok(())
    }

    /// Gives an endpoint back to the kernel; one not guarded is no error.
    ///
    /// # Errors
    /// When the kernel refuses the change.
    pub fn remove(&mut self, endpoint: SocketAddr) -> Result<()> {
        if !self.endpoints.contains(&endpoint) {
            return Ok(());
        }
        let mut transaction = self.table.begin();
        transaction.remove_endpoints(&[endpoint]);
        transaction.commit()?;
        self.endpoints.remove(&endpoint);
        Ok(())
    }

    /// The guarded endpoints in order.
    pub fn endpoints(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.endpoints.iter().copied()
    }

    /// The name of the packet filter table, as `nft list tables` shows it.
    pub fn table_name(&self) -> &str {
        self.table.name()
    }
}

impl fmt::Debug for PortGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortGuard")
            .field("table", &self.table.name())
            .field("endpoints", &self.endpoints)
            .finish()
    }
}

fn drop_inbound(transaction: &mut Transaction<'_>) {
    transaction.create_chain("inbound", Some(&filter(HookPoint::Prerouting)));
    for set in EndpointSet::BOTH {
        let to_us = Rule::new().tcp_over(set).endpoint_in(set, End::Destination);
        transaction.append_rule("inbound", &to_us.then(Verdict::Drop));
    }
}

fn leave_outbound_untracked(transaction: &mut Transaction<'_>) {
    transaction.create_chain("outbound", Some(&filter(HookPoint::Output)));
    for set in EndpointSet::BOTH {
        let from_us = Rule::new().tcp_over(set).endpoint_in(set, End::Source);
        transaction.append_rule("outbound", &from_us.untracked());
    }
}

fn filter(at: HookPoint) -> Hook {
    Hook { kind: c"filter", at, priority: BEFORE_RAW, policy: Verdict::Accept }
}

/// Connection tracking stands at -200 and the customary `raw` tables at -300
/// (linux/netfilter_ipv4.h); we come before both.
const BEFORE_RAW: i32 = -310;
/// Keeps a transaction far below the socket's send buffer.
const ENDPOINTS_PER_TRANSACTION: usize = 1000;
