//! One rule of the packet filter: a list of expressions that run in order
//! until one does not match. Register 1 carries values between them.

use std::ffi::CStr;

use netlink_bindings::{
    nftables::{
        CmpOps, CtKeys, MetaKeys, NatRangeFlags, PayloadBase, PushExprListAttrs, PushExprMasqAttrs,
        Registers, RejectTypes, VerdictCode,
    },
    utils,
};
use nix::libc;

use super::EndpointSet;

/// A rule being written.
#[derive(Clone, Default)]
pub(in super::super) struct Rule {
    list: Vec<u8>,
}

/// How a rule ends a packet's way through a chain.
#[derive(Clone, Copy)]
pub(in super::super) enum Verdict<'a> {
    Accept,
    Drop,
    Return,
    Jump(&'a str),
}

/// Which end of a packet is looked up in an endpoint set.
#[derive(Clone, Copy)]
pub(in super::super) enum End {
    Source,
    Destination,
}

impl Rule {
    pub(in super::super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn encoded(&self) -> &[u8] {
        &self.list
    }

    /// Goes on for TCP over this address family alone.
    pub(in super::super) fn tcp_over(self, set: EndpointSet) -> Self {
        let family = match set {
            EndpointSet::V4 => libc::NFPROTO_IPV4,
            EndpointSet::V6 => libc::NFPROTO_IPV6,
        };
        let family = u8::try_from(family).expect("a family fits its byte");
        self.meta(MetaKeys::Nfproto).equals(&[family]).tcp()
    }

    /// Goes on for IPv4 alone.
    pub(in super::super) fn ipv4(self) -> Self {
        let family = u8::try_from(libc::NFPROTO_IPV4).expect("a family fits its byte");
        self.meta(MetaKeys::Nfproto).equals(&[family])
    }

    /// Goes on for TCP alone.
    pub(in super::super) fn tcp(self) -> Self {
        let tcp = u8::try_from(libc::IPPROTO_TCP).expect("TCP is protocol 6");
        self.meta(MetaKeys::L4Proto).equals(&[tcp])
    }

    /// Goes on for packets that came in by this interface.
    pub(in super::super) fn comes_in_by(self, interface: &str) -> Self {
        self.meta(MetaKeys::Iifname).compare(CmpOps::Eq, &padded(interface))
    }

    /// Goes on for packets that came in by any other interface.
    pub(in super::super) fn comes_in_beside(self, interface: &str) -> Self {
        self.meta(MetaKeys::Iifname).compare(CmpOps::Neq, &padded(interface))
    }

    /// Goes on for packets that will leave by this interface.
    pub(in super::super) fn leaves_by(self, interface: &str) -> Self {
        self.meta(MetaKeys::Oifname).compare(CmpOps::Eq, &padded(interface))
    }

    /// Goes on for TCP segments whose flags within `mask` are `flags`.
    pub(in super::super) fn tcp_flags(self, mask: u8, flags: u8) -> Self {
        // RFC 9293 §3.1: the flags are byte 13 of the header.
        self.payload(PayloadBase::TransportHeader, 13, 1, Registers::Reg1)
            .masked(&[mask])
            .equals(&[flags])
    }

    /// Goes on for packets in one of these states of connection tracking, as
    /// bits of linux/netfilter/nf_conntrack_common.h.
    pub(in super::super) fn tracked_as(mut self, states: u32) -> Self {
        self.expressions()
            .nested_elem()
            .nested_data_ct()
            .push_dreg(Registers::Reg1 as u32)
            .push_key(CtKeys::State as u32);
        self.masked(&states.to_ne_bytes()).compare(CmpOps::Neq, &0u32.to_ne_bytes())
    }

    /// Goes on for packets of which this end is in the set.
    pub(in super::super) fn endpoint_in(self, set: EndpointSet, end: End) -> Self {
        // RFC 791 §3.1 and RFC 8200 §3: where the addresses stand.
        let offset = match (set, end) {
            (EndpointSet::V4, End::Source) => 12,
            (EndpointSet::V4, End::Destination) => 16,
            (EndpointSet::V6, End::Source) => 8,
            (EndpointSet::V6, End::Destination) => 24,
        };
        let port_offset = match end {
            End::Source => 0,
            End::Destination => 2,
        };
        // The port goes into the register right behind the address.
        let behind = match set {
            EndpointSet::V4 => Registers::Reg3201,
            EndpointSet::V6 => Registers::Reg3204,
        };
        self.payload(PayloadBase::NetworkHeader, offset, set.address_bytes(), Registers::Reg1)
            .payload(PayloadBase::TransportHeader, port_offset, 2, behind)
            .looked_up(set.name())
    }

    /// Goes on for at most `per_second` packets a second after a first burst.
    pub(in super::super) fn at_most(self, per_second: u64, burst: u32) -> Self {
        // linux/netfilter/nf_tables.h, enum nft_limit_attributes.
        self.custom(c"limit", |list| {
            put(list, 1, &per_second.to_be_bytes());
            put(list, 2, &1u64.to_be_bytes());
            put(list, 3, &burst.to_be_bytes());
        })
    }

    /// Keeps the packet out of connection tracking and goes on.
    pub(in super::super) fn untracked(self) -> Self {
        self.custom(c"notrack", |_| ())
    }

    /// Lowers the MSS option to what the way out can carry and goes on.
    pub(in super::super) fn mss_clamped(self) -> Self {
        // linux/netfilter/nf_tables.h: enums nft_rt_attributes (key 3 is
        // TCPMSS), nft_byteorder_attributes (1 is hton), nft_exthdr_attributes
        // (operation 1 is a TCP option). RFC 9293 §3.7.1: MSS is option 2, its
        // value stands at its third byte.
        let reg1 = (Registers::Reg1 as u32).to_be_bytes();
        let number = |n: u32| n.to_be_bytes();
        self.custom(c"rt", |list| {
            put(list, 1, &reg1);
            put(list, 2, &number(3));
        })
        .custom(c"byteorder", |list| {
            put(list, 1, &reg1);
            put(list, 2, &reg1);
            put(list, 3, &number(1));
            put(list, 4, &number(2));
            put(list, 5, &number(2));
        })
        .custom(c"exthdr", |list| {
            put(list, 2, &[2]);
            put(list, 3, &number(2));
            put(list, 4, &number(2));
            put(list, 6, &number(1));
            put(list, 7, &reg1);
        })
    }

    /// Ends by giving the packet the outgoing interface's address.
    pub(in super::super) fn masquerade(self, flags: Option<NatRangeFlags>) -> Self {
        self.custom(c"masq", |list| {
            if let Some(flags) = flags {
                PushExprMasqAttrs::new(list).push_flags(flags as u32);
            }
        })
    }

    /// Ends by answering a TCP segment with a reset.
    pub(in super::super) fn reject_with_reset(mut self) -> Self {
        self.expressions()
            .nested_elem()
            .nested_data_reject()
            .push_type(RejectTypes::TcpRst as u32)
            .push_icmp_code(0);
        self
    }

    /// Ends by answering with ICMP "port unreachable".
    pub(in super::super) fn reject_with_icmp(mut self) -> Self {
        self.expressions()
            .nested_elem()
            .nested_data_reject()
            .push_type(RejectTypes::IcmpxUnreach as u32)
            .push_icmp_code(ICMPX_PORT_UNREACHABLE);
        self
    }

    /// Ends with a verdict.
    pub(in super::super) fn then(mut self, verdict: Verdict<'_>) -> Self {
        let attributes = self
            .expressions()
            .nested_elem()
            .nested_data_immediate()
            .push_dreg(Registers::RegVerdict as u32)
            .nested_data()
            .nested_verdict()
            .push_code(verdict.code());
        if let Verdict::Jump(chain) = verdict {
            attributes.push_chain_bytes(chain.as_bytes());
        } else {
            drop(attributes);
        }
        self
    }

    fn meta(mut self, key: MetaKeys) -> Self {
        self.expressions()
            .nested_elem()
            .nested_data_meta()
            .push_dreg(Registers::Reg1 as u32)
            .push_key(key as u32);
        self
    }

    fn payload(mut self, base: PayloadBase, offset: u32, bytes: u32, to: Registers) -> Self {
        self.expressions()
            .nested_elem()
            .nested_data_payload()
            .push_dreg(to as u32)
            .push_base(base as u32)
            .push_offset(offset)
            .push_len(bytes);
        self
    }

    fn masked(mut self, mask: &[u8]) -> Self {
        let length = u32::try_from(mask.len()).expect("a mask has a few bytes");
        self.expressions()
            .nested_elem()
            .nested_data_bitwise()
            .push_sreg(Registers::Reg1 as u32)
            .push_dreg(Registers::Reg1 as u32)
            .push_len(length)
            .nested_mask()
            .push_value(mask)
            .end_nested()
            .nested_xor()
            .push_value(&vec![0; mask.len()])
            .end_nested();
        self
    }

    fn equals(self, value: &[u8]) -> Self {
        self.compare(CmpOps::Eq, value)
    }

    fn compare(mut self, operation: CmpOps, value: &[u8]) -> Self {
        self.expressions()
            .nested_elem()
            .nested_data_cmp()
            .push_sreg(Registers::Reg1 as u32)
            .push_op(operation as u32)
            .nested_data()
            .push_value(value)
            .end_nested();
        self
    }

    fn looked_up(self, set: &str) -> Self {
        // linux/netfilter/nf_tables.h, enum nft_lookup_attributes. The netlink
        // crate (0.3.5) has their order wrong.
        let name = [set.as_bytes(), &[0]].concat();
        self.custom(c"lookup", |list| {
            put(list, 1, &name);
            put(list, 2, &(Registers::Reg1 as u32).to_be_bytes());
        })
    }

    /// An expression that the netlink crate has no words for.
    fn custom(mut self, name: &CStr, fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut element = self.expressions().nested_elem().push_name(name);
        let list = utils::Pusher::as_vec_mut(&mut element);
        let start = utils::push_nested_header(list, NFTA_EXPR_DATA);
        fill(list);
        utils::finalize_nested_header(list, start);
        drop(element);
        self
    }

    fn expressions(&mut self) -> PushExprListAttrs<&mut Vec<u8>> {
        PushExprListAttrs::new(&mut self.list)
    }
}

impl Verdict<'_> {
    pub(super) fn code(self) -> u32 {
        (match self {
            Self::Accept => VerdictCode::Accept,
            Self::Drop => VerdictCode::Drop,
            Self::Return => VerdictCode::Return,
            Self::Jump(_) => VerdictCode::Jump,
        }) as u32
    }
}

fn put(list: &mut Vec<u8>, attribute: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("an attribute here has a few bytes");
    utils::push_header(list, attribute, length);
    list.extend_from_slice(value);
    utils::align(list);
}

/// An interface name as the kernel compares it: 16 bytes.
fn padded(interface: &str) -> [u8; libc::IFNAMSIZ] {
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from;
    }
    name
}

/// TCP flags (RFC 9293 §3.1) as `nft` names them.
pub(in super::super) const SYN: u8 = 0x02;
pub(in super::super) const SYN_FIN_RST: u8 = 0x07;
pub(in super::super) const SYN_ACK_FIN_RST: u8 = 0x17;

/// linux/netfilter/nf_tables.h.
const NFTA_EXPR_DATA: u16 = 2;
const ICMPX_PORT_UNREACHABLE: u8 = 1;
