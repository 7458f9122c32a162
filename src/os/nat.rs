//! The kernel's own NAT in a router namespace: what most home gateways are.

use std::fmt;

use netlink_bindings::nftables::NatRangeFlags;

use super::{
    Result,
    nft::{Hook, HookPoint, Rule, SYN, SYN_ACK_FIN_RST, SYN_FIN_RST, Table, Transaction, Verdict},
};

/// A router's packet filter with address translation, as data.
///
/// Forwarding itself is a setting: `sysctl::write("ipv4/ip_forward", "1")`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelNat {
    /// Name of the interface towards the outside.
    pub wan: String,
    /// What becomes of packets from outside that belong to no binding.
    pub unsolicited: Unsolicited,
    /// How an external port is chosen.
    pub ports: Ports,
    /// What becomes of packets from inside that connection tracking calls
    /// invalid. Let through, they leave with their internal source address.
    pub invalid: Invalid,
    /// OpenWrt's limiter of SYNs to the router itself.
    pub syn_flood: Option<SynFlood>,
    /// Whether the MSS option of forwarded SYNs is lowered to the outer MTU.
    pub mss: Mss,
}

/// What becomes of packets from outside that belong to no binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsolicited {
    /// They reach the router's own TCP, which resets closed ports.
    Accept,
    /// They vanish.
    Drop,
    /// TCP is reset at once, anything else gets ICMP "port unreachable"; so
    /// does OpenWrt by default, against RFC 5382 REQ-4.
    Reset,
}

/// How the kernel chooses an external port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// The internal port, another when that is in use.
    Preserve,
    /// At random, for each connection anew (`fully-random`).
    Random,
}

/// What becomes of packets from inside that connection tracking calls invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// Forwarded, untranslated.
    Forward,
    /// Dropped.
    Drop,
}

/// Whether the MSS option of forwarded SYNs is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mss {
    /// As it came.
    Keep,
    /// Lowered to what the way out can carry.
    Clamp,
}

/// A limit on SYNs to the router itself; those above it are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynFlood {
    /// SYNs a second that pass for good.
    pub per_second: u64,
    /// SYNs that pass at first.
    pub burst: u32,
}

/// A NAT in the kernel. Ends with this value, or with the process.
pub struct Applied {
    table: Table,
}

impl KernelNat {
    /// Plain masquerading behind a closed firewall.
    pub fn linux(wan: &str) -> Self {
        Self {
            wan: wan.to_owned(),
            unsolicited: Unsolicited::Drop,
            ports: Ports::Preserve,
            invalid: Invalid::Forward,
            syn_flood: None,
            mss: Mss::Keep,
        }
    }

    /// The defaults of OpenWrt's firewall4. Its shorter idle-timeout is a
    /// setting: `netfilter/nf_conntrack_tcp_timeout_established` 7440 s.
    pub fn openwrt(wan: &str) -> Self {
        Self {
            unsolicited: Unsolicited::Reset,
            invalid: Invalid::Drop,
            syn_flood: Some(SynFlood { per_second: 25, burst: 50 }),
            mss: Mss::Clamp,
            ..Self::linux(wan)
        }
    }

    /// Puts it into the calling thread's namespace.
    ///
    /// # Errors
    /// [`super::Kind::Privilege`] without `CAP_NET_ADMIN`;
    /// [`super::Kind::Unsupported`] when the kernel lacks NAT or table owners.
    pub fn apply(&self) -> Result<Applied> {
        let mut table = Table::new("nat");
        let mut transaction = table.begin();
        transaction.create_table();
        self.translate(&mut transaction);
        self.clamp(&mut transaction);
        self.forward(&mut transaction);
        self.receive(&mut transaction);
        transaction.commit()?;
        Ok(Applied { table })
    }

    fn translate(&self, transaction: &mut Transaction<'_>) {
        let hook = Hook { kind: c"nat", ..hook(HookPoint::Postrouting, SOURCE_NAT) };
        let flags = match self.ports {
            Ports::Preserve => None,
            Ports::Random => Some(NatRangeFlags::ProtoRandomFully),
        };
        transaction.create_chain("postrouting", Some(&hook));
        let outward = Rule::new().ipv4().leaves_by(&self.wan);
        transaction.append_rule("postrouting", &outward.masquerade(flags));
    }

    fn clamp(&self, transaction: &mut Transaction<'_>) {
        if self.mss == Mss::Keep {
            return;
        }
        transaction.create_chain("mangle", Some(&hook(HookPoint::Forward, MANGLE)));
        let out = Rule::new().leaves_by(&self.wan);
        let back = Rule::new().comes_in_by(&self.wan);
        for side in [out, back] {
            let opening = side.tcp().tcp_flags(SYN_FIN_RST, SYN);
            transaction.append_rule("mangle", &opening.mss_clamped());
        }
    }

    fn forward(&self, transaction: &mut Transaction<'_>) {
        let closed = Hook { policy: Verdict::Drop, ..hook(HookPoint::Forward, FILTER) };
        transaction.create_chain("forward", Some(&closed));
        let bound = Rule::new().tracked_as(ESTABLISHED | RELATED).then(Verdict::Accept);
        transaction.append_rule("forward", &bound);
        let outward = || Rule::new().comes_in_beside(&self.wan).leaves_by(&self.wan);
        if self.invalid == Invalid::Drop {
            let invalid = outward().tracked_as(INVALID).then(Verdict::Drop);
            transaction.append_rule("forward", &invalid);
        }
        transaction.append_rule("forward", &outward().then(Verdict::Accept));
        self.refuse("forward", transaction);
    }

    fn receive(&self, transaction: &mut Transaction<'_>) {
        transaction.create_chain("input", Some(&hook(HookPoint::Input, FILTER)));
        let bound = Rule::new().tracked_as(ESTABLISHED | RELATED).then(Verdict::Accept);
        transaction.append_rule("input", &bound);
        if let Some(limit) = self.syn_flood {
            limit_syns(limit, transaction);
        }
        self.refuse("input", transaction);
    }

    /// The last rules of a chain, for packets from outside.
    fn refuse(&self, chain: &str, transaction: &mut Transaction<'_>) {
        let outside = || Rule::new().comes_in_by(&self.wan);
        match self.unsolicited {
            Unsolicited::Accept => {}
            Unsolicited::Drop => {
                transaction.append_rule(chain, &outside().then(Verdict::Drop));
            }
            Unsolicited::Reset => {
                transaction.append_rule(chain, &outside().tcp().reject_with_reset());
                transaction.append_rule(chain, &outside().reject_with_icmp());
            }
        }
    }
}

impl Applied {
    /// The name of the packet filter table, as `nft list tables` shows it.
    pub fn table_name(&self) -> &str {
        self.table.name()
    }
}

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Applied").field(&self.table.name()).finish()
    }
}

fn limit_syns(limit: SynFlood, transaction: &mut Transaction<'_>) {
    transaction.create_chain("syn_flood", None);
    let within = Rule::new().at_most(limit.per_second, limit.burst).then(Verdict::Return);
    transaction.append_rule("syn_flood", &within);
    transaction.append_rule("syn_flood", &Rule::new().then(Verdict::Drop));
    let syn = Rule::new().tcp().tcp_flags(SYN_ACK_FIN_RST, SYN);
    transaction.append_rule("input", &syn.then(Verdict::Jump("syn_flood")));
}

fn hook(at: HookPoint, priority: i32) -> Hook {
    Hook { kind: c"filter", at, priority, policy: Verdict::Accept }
}

/// Customary priorities (linux/netfilter_ipv4.h).
const MANGLE: i32 = -150;
const FILTER: i32 = 0;
const SOURCE_NAT: i32 = 100;

/// Bits of a connection tracking state (linux/netfilter/nf_conntrack_common.h).
const INVALID: u32 = 1;
const ESTABLISHED: u32 = 2;
const RELATED: u32 = 4;
