//! Filtering and hairpinning.

use super::*;

/// Which of `r:80`, another port of it and another address get in to `n:7000`.
fn who_gets_in(nat: &mut Bench) -> [bool; 3] {
    ["r:80", "r:81", "q:80"].map(|remote| nat.reaches(&format!("{remote} > n:7000")) == "a:7000")
}

// RFC 4787 §5, RFC 5382 REQ-3.

#[test]
fn endpoint_independent_filtering_lets_everybody_in() {
    let mut nat = nat("filtering=eif");
    nat.maps("a:7000 > r:80");
    assert_eq!(who_gets_in(&mut nat), [true, true, true]);
}

#[test]
fn address_dependent_filtering_lets_every_port_of_a_contacted_address_in() {
    let mut nat = nat("filtering=adf");
    nat.maps("a:7000 > r:80");
    assert_eq!(who_gets_in(&mut nat), [true, true, false]);
}

#[test]
fn address_and_port_dependent_filtering_lets_contacted_endpoints_alone_in() {
    let mut nat = nat("filtering=apdf");
    nat.maps("a:7000 > r:80");
    assert_eq!(who_gets_in(&mut nat), [true, false, false]);
    nat.maps("a:7000 > q:80");
    assert_eq!(who_gets_in(&mut nat), [true, false, true]);
}

#[test]
fn nobody_gets_in_to_a_port_that_is_not_mapped() {
    let mut nat = nat("filtering=eif");
    nat.maps("a:7000 > r:80");
    assert_eq!(nat.reaches("r:80 > n:7001"), "drop");
}

/// RFC 4787 REQ-11 asks that behaviour does not change; some devices' does all the same.
#[test]
fn an_established_connection_may_open_the_filter_or_close_it() {
    let mut opens = nat("filtering=apdf,filtering-established=eif");
    opens.maps("a:7000 > r:80");
    assert_eq!(opens.reaches("r:81 > n:7000"), "drop");
    assert_eq!(opens.reaches("q:80 > n:7000"), "drop");
    opens.open("a:7000", "n:7000", "r:80");
    assert_eq!(who_gets_in(&mut opens), [true, true, true]);

    let mut closes = nat("filtering=eif,filtering-established=apdf");
    closes.maps("a:7000 > r:80");
    assert_eq!(closes.reaches("q:80 > n:7000"), "a:7000");
    closes.open("a:7000", "n:7000", "r:80");
    assert_eq!(closes.reaches("q:81 > n:7000"), "drop");
}

/// RFC 4787 §5: a filter opens by what is sent, and forgets with the connection.
#[test]
fn a_contact_that_is_forgotten_opens_the_filter_no_more() {
    let mut nat = nat("filtering=adf");
    nat.maps("a:7000 > r:80");
    nat.wait(200);
    nat.maps("a:7000 > q:80");
    nat.wait(50);
    assert_eq!(nat.reaches("r:80 > n:7000"), "drop", "250 s after the only SYN to r");
    assert_eq!(nat.reaches("q:81 > n:7000"), "a:7000");
}

/// RFC 5382 REQ-5: what a stranger sends does not bring back what was forgotten.
#[test]
fn a_forgotten_connection_starts_afresh_when_its_remote_calls() {
    let mut nat = nat("filtering=adf");
    nat.maps("a:7000 > r:80");
    nat.wait(200);
    nat.maps("a:7000 > r:81");
    nat.wait(50);
    assert_eq!(nat.reaches("r:80 > n:7000"), "a:7000", "r's address is open through port 81");
    nat.wait(195);
    assert_eq!(nat.reaches("r:80 > n:7000"), "drop", "only r itself has spoken since");
}

/// RFC 7857 §7.1.
#[test]
fn a_reset_in_answer_to_a_stranger_opens_the_filter_for_nobody() {
    let mut nat = nat("filtering=eif,filtering-established=eif");
    nat.maps("a:7000 > r:80");
    for _ in 0..3 {
        nat.wait(100);
        if nat.reaches("q:80 > n:7000") == "drop" {
            continue;
        }
        assert_eq!(
            nat.out("a:7000 > q:80 R. 0:0(0) ack 301"),
            "out n:7000 > q:80 R. 0:0(0) ack 301"
        );
    }
    assert_eq!(nat.reaches("q:80 > n:7000"), "drop", "300 s after the only SYN out");
}

/// RFC 7857 §2: sessions begin with a SYN.
#[test]
fn a_reset_out_of_the_blue_makes_no_binding() {
    let mut nat = nat("filtering=eif");
    assert_eq!(nat.out("a:7000 > r:80 R 0:0(0)"), "drop");
    assert_eq!(nat.reaches("r:80 > n:7000"), "drop");
}

/// RFC 5382 REQ-2: a connection that a remote began is translated in both directions alike.
#[test]
fn a_remote_that_was_let_in_is_answered_from_the_endpoint_that_it_called() {
    let mut nat = nat("mapping=apdm,filtering=eif,ports=random");
    let external = nat.maps("a:7000 > r:80");
    assert_eq!(nat.reaches(&format!("q:80 > {external}")), "a:7000");
    assert_eq!(
        nat.out("a:7000 > q:80 S. 100:100(0) ack 301"),
        format!("out {external} > q:80 S. 100:100(0) ack 301")
    );
    assert_ne!(nat.maps("a:7000 > q:81"), external, "a connection of its own");
}

/// RFC 4787 §5, where RFC 7857 §3 lets two hosts share a port.
#[test]
fn of_two_hosts_on_one_port_the_one_whose_filter_lets_a_remote_in_gets_its_packets() {
    let mut nat = nat("mapping=apdm,filtering=adf,ports=overlapping");
    nat.maps("a:7000 > r:80");
    nat.wait(1);
    nat.maps("b:7000 > q:80");
    assert_eq!(nat.reaches("r:81 > n:7000"), "a:7000");
    assert_eq!(nat.reaches("q:81 > n:7000"), "b:7000");
}

#[test]
fn what_is_not_addressed_to_the_nat_ends_there() {
    let mut nat = nat("filtering=eif,unsolicited=reset");
    assert_eq!(nat.inn("r:80 > m:7000 S 0:0(0)"), "drop");
}

// RFC 5382 REQ-8, RFC 4787 §6.

#[test]
fn without_hairpinning_packets_to_an_own_external_endpoint_end() {
    let mut nat = nat("hairpinning=unsupported,filtering=eif");
    nat.maps("b:8000 > r:80");
    assert_eq!(nat.out("a:7000 > n:8000 S 0:0(0)"), "drop");
}

#[test]
fn hairpinning_shows_the_senders_external_endpoint() {
    let mut nat = nat("hairpinning=external-source,filtering=eif,ports=sequential+1");
    let [to, from] = ["b:8000 > r:80", "a:7000 > r:80"].map(|ends| nat.maps(ends));
    let fate = nat.out(&format!("a:7000 > {to} S 5:5(0)"));
    assert_eq!(fate, format!("in {from} > b:8000 S 5:5(0)"));
    let back = nat.out(&format!("b:8000 > {from} S. 9:9(0) ack 6"));
    assert_eq!(back, format!("in {to} > a:7000 S. 9:9(0) ack 6"));
}

#[test]
fn hairpinning_may_show_the_internal_endpoint() {
    let mut nat = nat("hairpinning=internal-source,filtering=eif");
    nat.maps("b:8000 > r:80");
    assert_eq!(nat.out("a:7000 > n:8000 S 5:5(0)"), "in a:7000 > b:8000 S 5:5(0)");
}

#[test]
fn hairpinning_filters_as_from_outside() {
    let mut nat = nat("hairpinning=external-source,filtering=apdf");
    nat.maps("b:8000 > r:80");
    assert_eq!(nat.out("a:7000 > n:8000 S 5:5(0)"), "drop");
    assert_eq!(nat.out("b:8000 > n:7000 S 9:9(0)"), "in n:8000 > a:7000 S 9:9(0)");
    assert_eq!(nat.out("a:7000 > n:8000 S 5:5(0)"), "in n:7000 > b:8000 S 5:5(0)");
}

#[test]
fn a_host_reaches_itself_through_its_own_external_endpoint() {
    let mut nat = nat("filtering=eif");
    nat.maps("a:7000 > r:80");
    assert_eq!(nat.out("a:7000 > n:7000 S 5:5(0)"), "in n:7000 > a:7000 S 5:5(0)");
}
