//! The kernel's expressions → steps.

use netlink_bindings::nftables::{
    CmpOps, CtKeys, ExprOps, IterableCompatMatchAttrs, IterableExprAttrs, IterableExprBitwiseAttrs,
    IterableExprCmpAttrs, IterableExprImmediateAttrs, IterableExprListAttrs,
    IterableExprLookupAttrs, IterableExprPayloadAttrs, IterableVerdictAttrs, MetaKeys, PayloadBase,
    VerdictCode,
};

use super::ruleset::{Comparison, Key, Set, Step, Verdict};

/// The steps of a rule; `set` knows the sets of its table.
pub(super) fn steps(
    list: IterableExprListAttrs<'_>,
    set: &dyn Fn(&str) -> Option<Set>,
) -> Vec<Step> {
    list.get_elem().map(|expression| step(&expression, set)).collect()
}

fn step(expression: &IterableExprAttrs<'_>, set: &dyn Fn(&str) -> Option<Set>) -> Step {
    let name = expression.get_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let known = match (name.as_str(), expression.get_data().ok()) {
        ("notrack", _) => Some(Step::Untrack),
        ("counter" | "log" | "limit_obj" | "last", _) => Some(Step::Passive),
        (_, Some(data)) => of_data(data, set),
        _ => None,
    };
    known.unwrap_or(Step::Other { name, writes: None })
}

fn of_data(data: ExprOps<'_>, set: &dyn Fn(&str) -> Option<Set>) -> Option<Step> {
    match data {
        ExprOps::Ct(ct) => {
            let is_state = ct.get_key() == Ok(CtKeys::State as u32);
            // Without a destination it sets something, a mark for example.
            let Ok(register) = ct.get_dreg() else { return Some(Step::Passive) };
            Some(Step::Load { key: if is_state { Key::CtState } else { Key::Other }, register })
        }
        ExprOps::Meta(meta) => {
            let Ok(register) = meta.get_dreg() else { return Some(Step::Passive) };
            Some(Step::Load { key: meta_key(meta.get_key().ok()?), register })
        }
        ExprOps::Payload(payload) => of_payload(&payload),
        ExprOps::Bitwise(bitwise) => of_bitwise(&bitwise),
        ExprOps::Cmp(compare) => of_compare(&compare),
        ExprOps::Lookup(lookup) => of_lookup(&lookup, set),
        ExprOps::Immediate(immediate) => of_immediate(&immediate),
        ExprOps::Reject(_) => Some(Step::End(Verdict::Reject)),
        ExprOps::Fib(fib) => {
            fib.get_dreg().ok().map(|register| Step::Load { key: Key::Other, register })
        }
        ExprOps::Match(compat) => of_match(&compat),
        ExprOps::Target(target) => match target.get_name().ok()?.to_bytes() {
            b"REJECT" => Some(Step::End(Verdict::Reject)),
            b"LOG" | b"MARK" | b"CONNMARK" | b"NFLOG" => Some(Step::Passive),
            _ => None,
        },
        _ => None,
    }
}

fn meta_key(number: u32) -> Key {
    const NFPROTO: u32 = MetaKeys::Nfproto as u32;
    const L4PROTO: u32 = MetaKeys::L4Proto as u32;
    const IIFNAME: u32 = MetaKeys::Iifname as u32;
    const OIFNAME: u32 = MetaKeys::Oifname as u32;
    match number {
        NFPROTO => Key::NfProto,
        L4PROTO => Key::L4Proto,
        IIFNAME => Key::Iifname,
        OIFNAME => Key::Oifname,
        _ => Key::Other,
    }
}

fn of_payload(payload: &IterableExprPayloadAttrs<'_>) -> Option<Step> {
    const NETWORK: u32 = PayloadBase::NetworkHeader as u32;
    const TRANSPORT: u32 = PayloadBase::TransportHeader as u32;
    let Ok(register) = payload.get_dreg() else { return Some(Step::Passive) };
    let (offset, bytes) = (payload.get_offset().ok()?, payload.get_len().ok()?);
    let key = match payload.get_base().ok()? {
        NETWORK => Key::Network { offset, bytes },
        TRANSPORT => Key::Transport { offset, bytes },
        _ => Key::Other,
    };
    Some(Step::Load { key, register })
}

fn of_bitwise(bitwise: &IterableExprBitwiseAttrs<'_>) -> Option<Step> {
    let (from, to) = (bitwise.get_sreg().ok()?, bitwise.get_dreg().ok()?);
    // Shifts have no mask.
    let value = |data: Result<netlink_bindings::nftables::IterableDataAttrs<'_>, _>| {
        let data: Result<_, netlink_bindings::utils::ErrorContext> = data;
        Some(data.ok()?.get_value().ok()?.to_vec())
    };
    match (value(bitwise.get_mask()), value(bitwise.get_xor())) {
        (Some(mask), Some(xor)) => Some(Step::Mask { from, to, mask, xor }),
        _ => Some(Step::Load { key: Key::Other, register: to }),
    }
}

fn of_compare(compare: &IterableExprCmpAttrs<'_>) -> Option<Step> {
    let with = match CmpOps::from_value(compare.get_op().ok()?.into())? {
        CmpOps::Eq => Comparison::Equal,
        CmpOps::Neq => Comparison::Different,
        CmpOps::Lt => Comparison::Less,
        CmpOps::Lte => Comparison::AtMost,
        CmpOps::Gt => Comparison::Greater,
        CmpOps::Gte => Comparison::AtLeast,
    };
    let value = compare.get_data().ok()?.get_value().ok()?.to_vec();
    Some(Step::Compare { register: compare.get_sreg().ok()?, with, value })
}

fn of_lookup(
    lookup: &IterableExprLookupAttrs<'_>,
    set: &dyn Fn(&str) -> Option<Set>,
) -> Option<Step> {
    // linux/netfilter/nf_tables.h, enum nft_lookup_attributes: set, source, destination, id, flags.
    // The netlink crate (0.3.5) has the id second.
    let register = lookup.get_set_id().ok()?;
    let destination = lookup.get_sreg().ok();
    let negated = lookup.get_flags().is_ok_and(|flags| flags & 1 == 1);
    let known = set(&lookup.get_set().ok()?.to_string_lossy()).map(|set| set.members);
    match destination {
        None => {
            let members = known.map(|all| all.into_iter().map(|(key, _)| key).collect());
            Some(Step::Among { register, members, negated })
        }
        Some(VERDICT_REGISTER) => {
            let entry = |(key, verdict): (Vec<u8>, Option<Verdict>)| Some((key, verdict?));
            let entries = known.and_then(|all| all.into_iter().map(entry).collect());
            Some(Step::Map { register, entries })
        }
        // A map to values: goes on only where it has one.
        Some(other) => Some(Step::Other { name: "map".to_owned(), writes: Some(other) }),
    }
}

fn of_immediate(immediate: &IterableExprImmediateAttrs<'_>) -> Option<Step> {
    let (register, data) = (immediate.get_dreg().ok()?, immediate.get_data().ok()?);
    if register != VERDICT_REGISTER {
        return Some(Step::Load { key: Key::Other, register });
    }
    Some(Step::End(verdict(&data.get_verdict().ok()?)))
}

/// A verdict as it stands in rules and maps.
pub(super) fn verdict(attributes: &IterableVerdictAttrs<'_>) -> Verdict {
    let chain = || attributes.get_chain().map(|name| name.to_string_lossy().into_owned());
    let code = attributes.get_code().ok().and_then(|code| VerdictCode::from_value(code.into()));
    match (code, chain()) {
        (Some(VerdictCode::Accept), _) => Verdict::Accept,
        (Some(VerdictCode::Drop), _) => Verdict::Drop,
        (Some(VerdictCode::Return), _) => Verdict::Return,
        (Some(VerdictCode::Continue), _) => Verdict::Continue,
        (Some(VerdictCode::Jump), Ok(chain)) => Verdict::Jump(chain),
        (Some(VerdictCode::Goto), Ok(chain)) => Verdict::Goto(chain),
        _ => Verdict::Other,
    }
}

/// iptables' matches come as the structs of their own modules.
fn of_match(compat: &IterableCompatMatchAttrs<'_>) -> Option<Step> {
    match (compat.get_name().ok()?.to_bytes(), compat.get_info().ok()?) {
        (b"conntrack", info) => of_conntrack(info),
        (b"state", info) => {
            // linux/netfilter/xt_state.h: one mask.
            let states = u32::from_ne_bytes(*info.first_chunk()?);
            Some(Step::CtState { states, negated: false })
        }
        (b"comment", _) => Some(Step::Passive),
        _ => None,
    }
}

/// linux/netfilter/xt_conntrack.h, struct xt_conntrack_mtinfo2 and 3: after eight addresses, two
/// expiries and five protocol numbers and ports come what to match, what to invert, and the states.
fn of_conntrack(info: &[u8]) -> Option<Step> {
    let number = |offset: usize| Some(u16::from_ne_bytes(*info.get(offset..)?.first_chunk()?));
    let (matched, inverted, states) = (number(146)? & !MATCH_ALIAS, number(148)?, number(150)?);
    let untracked = if states & XT_UNTRACKED == 0 { 0 } else { CT_UNTRACKED };
    let states = u32::from(states & !XT_UNTRACKED) | untracked;
    (matched == MATCH_STATE)
        .then_some(Step::CtState { states, negated: inverted & MATCH_STATE != 0 })
}

/// linux/netfilter/nf_tables.h, `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;
/// linux/netfilter/xt_conntrack.h, `XT_CONNTRACK_STATE`, and the mark of `-m state`.
const MATCH_STATE: u16 = 1;
const MATCH_ALIAS: u16 = 1 << 13;
/// The one state with another bit in iptables than in nftables.
const XT_UNTRACKED: u16 = 1 << 8;
const CT_UNTRACKED: u32 = 1 << 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iptables_own_match_on_the_state_is_read() {
        // As `-m conntrack --ctstate INVALID` lays it out on x86-64.
        let mut info = vec![0; 164];
        info[146..148].copy_from_slice(&1u16.to_ne_bytes());
        info[150..152].copy_from_slice(&1u16.to_ne_bytes());
        assert_eq!(of_conntrack(&info), Some(Step::CtState { states: 1, negated: false }));
        info[148..150].copy_from_slice(&1u16.to_ne_bytes());
        assert_eq!(of_conntrack(&info), Some(Step::CtState { states: 1, negated: true }));
        // It also matches an address: that is not known here.
        info[146..148].copy_from_slice(&3u16.to_ne_bytes());
        assert_eq!(of_conntrack(&info), None);
        assert_eq!(of_conntrack(&info[..100]), None);
    }
}
