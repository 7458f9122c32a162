//! Where this kernel puts what into a record of the tracepoint. The kernel
//! tells it in a file of tracefs, which is mounted privately if it is not.

use std::{fs, io, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::super::{Error, Kind, Result};

/// The tracepoint's number, and byte offsets into its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) id: u64,
    pub(super) socket: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) source_port: usize,
    pub(super) destination_port: usize,
    pub(super) family: usize,
    pub(super) protocol: usize,
    pub(super) source: usize,
    pub(super) destination: usize,
    pub(super) source_v6: usize,
    pub(super) destination_v6: usize,
}

impl Format {
    pub(super) fn of_this_kernel() -> Result<Self> {
        let text = fs::read_to_string(FILE)
            .or_else(|_| read_in_own_mount())
            .map_err(|e| unreadable(FILE, e))?;
        Self::parse(&text).ok_or_else(|| {
            let why = "it does not describe the fields known to us";
            Error::text("read", FILE, why).of_kind(Kind::Unsupported)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let offset = |field: &str| offset_of(text, field);
        Some(Self {
            id: text.lines().find_map(|line| line.strip_prefix("ID: "))?.trim().parse().ok()?,
            socket: offset("skaddr")?,
            from: offset("oldstate")?,
            to: offset("newstate")?,
            source_port: offset("sport")?,
            destination_port: offset("dport")?,
            family: offset("family")?,
            protocol: offset("protocol")?,
            source: offset("saddr[4]")?,
            destination: offset("daddr[4]")?,
            source_v6: offset("saddr_v6[16]")?,
            destination_v6: offset("daddr_v6[16]")?,
        })
    }
}

/// From a line like `field:int oldstate; offset:16; size:4; signed:1;`.
fn offset_of(text: &str, field: &str) -> Option<usize> {
    let is_it = |line: &&str| {
        let declaration = line.trim().strip_prefix("field:").and_then(|l| l.split(';').next());
        declaration.and_then(|d| d.split_whitespace().last()) == Some(field)
    };
    let line = text.lines().find(is_it)?;
    let offset = line.split(';').find_map(|part| part.trim().strip_prefix("offset:"))?;
    offset.parse().ok()
}

/// Reads the file in a mount namespace that ends with a scratch thread.
fn read_in_own_mount() -> io::Result<String> {
    let read = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(NOTHING, "/", NOTHING, private, NOTHING)?;
        mount(NOTHING, TRACEFS, Some("tracefs"), MsFlags::empty(), NOTHING)?;
        fs::read_to_string(FILE)
    };
    thread::scope(|scope| scope.spawn(read).join().expect("nothing in it panics"))
}

fn unreadable(file: &str, error: io::Error) -> Error {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let error = Error::kernel("read", file, error);
    match error.kind {
        Kind::Privilege => error.with_hint("run with sudo"),
        _ if missing => error.of_kind(Kind::Unsupported).with_hint("the kernel lacks tracepoints"),
        _ => error,
    }
}

const NOTHING: Option<&str> = None;
const TRACEFS: &str = "/sys/kernel/tracing";
const FILE: &str = "/sys/kernel/tracing/events/sock/inet_sock_set_state/format";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_found_by_whole_names() {
        let text = "name: x\nID: 2287\nformat:\n\
            \tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;\n\
            \tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;\n";
        assert_eq!(offset_of(text, "saddr_v6[16]"), Some(40));
        assert_eq!(offset_of(text, "skaddr"), Some(8));
        assert_eq!(offset_of(text, "saddr"), None);
        assert_eq!(Format::parse(text), None);
    }
}
