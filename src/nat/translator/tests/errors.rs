//! ICMP errors through the NAT (RFC 5382 §7.3, RFC 5508 §4).

use super::*;

/// RFC 5382 REQ-9, RFC 5508 REQ-4: destination and quote are reverted, type and code kept.
#[test]
fn an_error_from_outside_goes_to_the_host_whose_segment_it_quotes() {
    let mut nat = nat("");
    nat.maps("a:7000 > r:80");
    for kind in ["3/0", "3/1", "3/3", "3/4", "3/13", "11/0", "12/0"] {
        assert_eq!(
            nat.inn(&format!("q > n icmp {kind} [n:7000 > r:80 seq 100 ttl 1]")),
            format!("in q > a icmp {kind} [a:7000 > r:80 seq 100 ttl 1]")
        );
    }
}

/// RFC 5508 REQ-4a.
#[test]
fn an_error_about_nothing_that_went_out_ends() {
    let mut nat = nat("mapping=apdm");
    nat.maps("a:7000 > r:80");
    assert_eq!(nat.inn("q > n icmp 3/1 [n:7001 > r:80 seq 100 ttl 1]"), "drop");
    assert_eq!(nat.inn("q > n icmp 3/1 [n:7000 > r:81 seq 100 ttl 1]"), "drop");
    assert_eq!(nat.inn("q > m icmp 3/1 [n:7000 > r:80 seq 100 ttl 1]"), "drop");
    nat.wait(240);
    assert_eq!(nat.inn("q > n icmp 3/1 [n:7000 > r:80 seq 100 ttl 1]"), "drop");
}

/// Where two hosts share a port (RFC 4787 §4.2.1), it is the remote that tells them apart.
#[test]
fn an_error_goes_to_the_host_that_has_sent_to_the_quoted_remote() {
    for knobs in ["ports=overloading", "mapping=apdm,ports=overlapping"] {
        let mut nat = nat(knobs);
        nat.maps("a:7000 > r:80");
        nat.maps("b:7000 > q:80");
        for (remote, host) in [("r", "a"), ("q", "b")] {
            assert_eq!(
                nat.inn(&format!("r > n icmp 3/1 [n:7000 > {remote}:80 seq 100 ttl 1]")),
                format!("in r > {host} icmp 3/1 [{host}:7000 > {remote}:80 seq 100 ttl 1]")
            );
        }
    }
}

/// RFC 5508 REQ-5: the error comes from the NAT's own address.
#[test]
fn an_error_from_inside_goes_out_as_about_the_external_endpoint() {
    let mut nat = nat("ports=sequential+1");
    let external = nat.maps("a:7000 > r:80");
    assert_eq!(
        nat.out("a > r icmp 3/3 [r:80 > a:7000 seq 300 ttl 60]"),
        format!("out n > r icmp 3/3 [r:80 > {external} seq 300 ttl 60]")
    );
}

#[test]
fn an_error_from_inside_finds_the_binding_that_let_the_quoted_segment_in() {
    let mut nat = nat("mapping=apdm,filtering=eif,ports=random");
    let external = nat.maps("a:7000 > r:80");
    assert_eq!(nat.reaches(&format!("q:80 > {external}")), "a:7000");
    assert_eq!(
        nat.out("a > q icmp 3/3 [q:80 > a:7000 seq 300 ttl 60]"),
        format!("out n > q icmp 3/3 [q:80 > {external} seq 300 ttl 60]")
    );
}

#[test]
fn an_error_from_inside_about_nothing_that_came_in_ends() {
    let mut nat = nat("");
    assert_eq!(nat.out("a > r icmp 3/3 [r:80 > a:7000 seq 300 ttl 60]"), "drop");
}

/// RFC 5508 REQ-7.
#[test]
fn an_error_about_a_segment_that_hairpinned_hairpins() {
    let mut nat = nat("filtering=eif");
    nat.maps("b:8000 > r:80");
    nat.out("a:7000 > n:8000 S 100:100(0)");
    let error = "b > n icmp 3/3 [n:7000 > b:8000 seq 100 ttl 63]";
    assert_eq!(nat.out(error), "in n > a icmp 3/3 [a:7000 > n:8000 seq 100 ttl 63]");
    let mut without = self::nat("filtering=eif,hairpinning=unsupported");
    without.maps("b:8000 > n:7000");
    assert_eq!(without.out(error), "drop");
}

/// RFC 5382 REQ-10, RFC 4787 REQ-12: no error ends a mapping; RFC 7857 §7.1: nor renews it.
#[test]
fn no_error_ends_or_renews_a_mapping() {
    let mut nat = nat("filtering=apdf");
    nat.maps("a:7000 > r:80");
    nat.wait(200);
    for kind in ["3/0", "3/1", "3/2", "3/3", "3/4", "3/13", "11/0", "11/1", "12/0"] {
        nat.inn(&format!("q > n icmp {kind} [n:7000 > r:80 seq 100 ttl 1]"));
        nat.out(&format!("a > r icmp {kind} [r:80 > a:7000 seq 300 ttl 60]"));
    }
    nat.wait(39);
    let kept = Bench { nat: nat.nat.clone(), now: nat.now }.reaches("r:80 > n:7000");
    assert_eq!(kept, "a:7000", "239 s after the SYN");
    nat.wait(1);
    assert_eq!(nat.reaches("r:80 > n:7000"), "drop", "240 s after the SYN");
}
