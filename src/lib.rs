//! `tso-probe` tells how a NAT treats TCP (RFC 5382), with packets as proof.

pub mod os;
