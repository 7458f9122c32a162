//! Mapping, port assignment and pooling.

use super::*;

// RFC 4787 §4.1, RFC 5382 REQ-1.

#[test]
fn an_endpoint_independent_mapping_is_the_same_towards_everybody() {
    let mut nat = nat("mapping=eim,ports=random");
    let external = nat.maps("a:7000 > r:80");
    assert_eq!(nat.maps("a:7000 > r:81"), external);
    assert_eq!(nat.maps("a:7000 > q:80"), external);
    assert_ne!(nat.maps("a:7001 > r:80"), external);
}

#[test]
fn an_address_dependent_mapping_is_the_same_towards_one_address() {
    let mut nat = nat("mapping=adm,ports=random");
    let external = nat.maps("a:7000 > r:80");
    assert_eq!(nat.maps("a:7000 > r:81"), external);
    assert_ne!(nat.maps("a:7000 > q:80"), external);
}

#[test]
fn an_address_and_port_dependent_mapping_is_the_same_towards_one_endpoint() {
    let mut nat = nat("mapping=apdm,ports=random");
    let external = nat.maps("a:7000 > r:80");
    assert_eq!(nat.maps("a:7000 > r:80"), external);
    assert_ne!(nat.maps("a:7000 > r:81"), external);
    assert_ne!(nat.maps("a:7000 > q:80"), external);
}

// RFC 4787 §4.2.1.

#[test]
fn preservation_keeps_the_internal_port_while_it_is_free() {
    let mut nat = nat("ports=preservation");
    assert_eq!(nat.maps("a:7000 > r:80"), "n:7000");
    assert_ne!(nat.maps("b:7000 > q:80"), "n:7000");
    nat.wait(241);
    assert_eq!(nat.maps("b:7000 > r:81"), "n:7000");
}

#[test]
fn preservation_leaves_ports_outside_its_range() {
    let mut nat = nat("ports=preservation,range=20000-20999");
    assert!((20_000..=20_999).contains(&port(&nat.maps("a:7000 > r:80"))));
    assert_eq!(nat.maps("a:20500 > r:80"), "n:20500");
}

#[test]
fn a_clash_takes_the_next_port_where_it_is_told_to() {
    let mut nat = nat("ports=preservation,clash=sequential+1");
    nat.maps("a:7000 > r:80");
    nat.maps("a:7001 > r:80");
    let first = port(&nat.maps("b:7000 > r:80"));
    assert_eq!(port(&nat.maps("b:7001 > r:80")), first + 1);
}

#[test]
fn sequential_ports_grow_by_the_step_and_start_anew_past_the_end_of_the_range() {
    let mut nat = nat("mapping=apdm,ports=sequential+2,range=2000-2255");
    let ports: Vec<_> =
        (0..128).map(|remote| port(&nat.maps(&format!("a:7000 > r:{}", 80 + remote)))).collect();
    let wraps = ports.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert_eq!(wraps, 1, "{ports:?}");
    let place = |port: u16| port - 2_000;
    for pair in ports.windows(2) {
        assert_eq!((place(pair[0]) + 2) % 256, place(pair[1]));
    }
}

#[test]
fn ports_may_shrink_too() {
    let mut nat = nat("mapping=apdm,ports=sequential-1,range=2000-2255");
    let place = |end: &str| i32::from(port(end)) - 2_000;
    let mut last = place(&nat.maps("a:7000 > r:80"));
    for remote in 81..400 {
        nat.wait(10);
        let next = place(&nat.maps(&format!("a:7000 > r:{remote}")));
        assert_eq!(next, (last - 1).rem_euclid(256));
        last = next;
    }
}

/// RFC 4787 §4.2.2. A range of odd length swaps even and odd where it wraps.
#[test]
fn parity_is_kept_past_the_end_of_the_range() {
    for knobs in ["ports=sequential+2", "ports=random", "ports=preservation,clash=sequential+4"] {
        let mut nat = nat(&format!("parity=kept,range=2000-2256,{knobs}"));
        for internal in 7_000..7_100 {
            let external = port(&nat.maps(&format!("a:{internal} > r:80")));
            assert_eq!(external % 2, internal % 2, "{knobs}");
        }
    }
}

/// RFC 6056 §3.3.1: only when no port is free is there none.
#[test]
fn random_ports_are_found_as_long_as_one_is_free() {
    let mut nat = nat("mapping=apdm,ports=random,range=2000-2255");
    let mut ports: Vec<_> =
        (0..256).map(|remote| port(&nat.maps(&format!("a:7000 > r:{}", 80 + remote)))).collect();
    ports.sort_unstable();
    assert_eq!(ports, (2_000..=2_255).collect::<Vec<_>>());
    assert_eq!(nat.maps("a:7000 > q:80"), "drop");
}

#[test]
fn random_ports_tell_nothing_of_the_next() {
    let mut nat = nat("mapping=apdm,ports=random");
    let ports: Vec<_> = (80..120).map(|to| port(&nat.maps(&format!("a:7000 > r:{to}")))).collect();
    let mut steps: Vec<_> = ports.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    steps.sort_unstable();
    steps.dedup();
    assert!(steps.len() >= 38, "39 steps out of 64,512 hardly ever repeat: {steps:?}");
}

/// RFC 4787 §4.2.1 names it; RFC 5382 REQ-7 forbids it.
#[test]
fn overloading_gives_two_hosts_one_port_and_tells_them_apart_by_the_remote_alone() {
    let mut nat = nat("ports=overloading,filtering=apdf");
    assert_eq!(nat.maps("a:7000 > r:80"), "n:7000");
    assert_eq!(nat.maps("b:7000 > q:80"), "n:7000");
    assert_eq!(nat.inn("r:80 > n:7000 S. 0:0(0) ack 101"), "in r:80 > a:7000 S. 0:0(0) ack 101");
    assert_eq!(nat.inn("q:80 > n:7000 S. 0:0(0) ack 101"), "in q:80 > b:7000 S. 0:0(0) ack 101");
    nat.wait(1);
    assert_eq!(nat.maps("b:7000 > r:80"), "n:7000");
    assert_eq!(nat.reaches("r:80 > n:7000"), "b:7000", "whoever spoke last");
}

// RFC 7857 §3.

#[test]
fn overlapping_gives_two_hosts_one_port_towards_different_remotes_alone() {
    let mut nat = nat("mapping=apdm,filtering=apdf,ports=overlapping");
    assert_eq!(nat.maps("a:7000 > r:80"), "n:7000");
    assert_eq!(nat.maps("b:7000 > q:80"), "n:7000");
    let clash = nat.maps("b:7000 > r:80");
    assert_ne!(clash, "n:7000");
    assert_eq!(nat.reaches("r:80 > n:7000"), "a:7000");
    assert_eq!(nat.reaches("q:80 > n:7000"), "b:7000");
    assert_eq!(nat.reaches(&format!("r:80 > {clash}")), "b:7000");
}

#[test]
fn overlapping_by_address_needs_two_addresses() {
    let mut nat = nat("mapping=adm,filtering=adf,ports=overlapping");
    assert_eq!(nat.maps("a:7000 > r:80"), "n:7000");
    assert_eq!(nat.maps("b:7000 > q:80"), "n:7000");
    assert_ne!(nat.maps("b:7000 > r:81"), "n:7000");
}

// Linux, net/netfilter/nf_nat_core.c: a port that the source already has comes first, then the
// internal port, then a random one.

#[test]
fn reuse_looks_endpoint_independent_until_a_port_clashes() {
    let mut nat = nat("linux");
    nat.maps("a:7000 > r:80");
    assert_eq!(nat.maps("b:7000 > q:80"), "n:7000");
    assert_eq!(nat.maps("b:7000 > q:81"), "n:7000");
    assert_ne!(nat.maps("b:7000 > r:80"), "n:7000");
}

#[test]
fn reuse_stays_on_the_port_that_a_clash_gave_it() {
    let mut nat = nat("linux");
    nat.maps("a:7000 > r:80");
    let other = nat.maps("b:7000 > r:80");
    assert_ne!(other, "n:7000");
    assert_eq!(nat.maps("b:7000 > q:80"), other);
    assert_eq!(nat.maps("b:7000 > q:81"), other);
}

#[test]
fn without_reuse_a_clash_is_forgotten_at_the_next_remote() {
    let mut nat = nat("mapping=apdm,ports=overlapping");
    nat.maps("a:7000 > r:80");
    assert_ne!(nat.maps("b:7000 > r:80"), "n:7000");
    assert_eq!(nat.maps("b:7000 > q:80"), "n:7000");
}

// RFC 4787 REQ-2, RFC 7857 §4.

#[test]
fn paired_pooling_gives_one_internal_address_one_external_one() {
    for seed in 0..20 {
        let mut nat = Bench::new(&turned("pooling=paired,ports=random"), &["n", "m"], seed);
        let first = nat.maps("a:7000 > r:80");
        let same = (7_001..7_040).all(|from| {
            nat.maps(&format!("a:{from} > q:80")).split(':').next() == first.split(':').next()
        });
        assert!(same);
    }
}

#[test]
fn arbitrary_pooling_uses_them_all() {
    let mut nat = Bench::new(&turned("pooling=arbitrary,ports=random"), &["n", "m"], 7);
    let used: Vec<_> = (7_000..7_064).map(|from| nat.maps(&format!("a:{from} > r:80"))).collect();
    assert!(used.iter().any(|end| end.starts_with("n:")), "missed by chance once in 2^64");
    assert!(used.iter().any(|end| end.starts_with("m:")));
}

#[test]
fn a_host_of_another_family_than_the_pool_is_not_translated() {
    let mut nat = nat("");
    let line = "[2001:db8::2]:7000 > [2001:db8::5]:80 S 0:0(0) win 0 ttl 64 id 0";
    let packet = line.parse().expect("a packet");
    assert_eq!(nat.nat.take(nat.now, Side::Inside, packet), Fate::Drop);
}

#[test]
fn ipv6_is_translated_as_ipv4_is() {
    let mut nat = Bench::new(&turned(""), &["n", "2001:db8::1"], 7);
    let line = "[2001:db8:1::2]:7000 > [2001:db8::5]:80 S 0:0(0) win 0 ttl 64 id 0";
    let packet: Packet = line.parse().expect("a packet");
    let Fate::Forward(Side::Outside, packet) = nat.nat.take(nat.now, Side::Inside, packet) else {
        panic!("it goes out");
    };
    assert_eq!(brief(&packet), "[2001:db8::1]:7000 > [2001:db8::5]:80 S 0:0(0)");
}
