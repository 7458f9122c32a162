//! One CPU's records of a tracepoint: a ring in memory shared with the kernel
//! (perf_event_open(2)).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::{
    libc,
    unistd::{SysconfVar, sysconf},
};

/// A descriptor for one CPU, and the ring that it fills.
#[derive(Debug)]
pub(super) struct Ring {
    fd: OwnedFd,
    base: NonNull<u8>,
    page_bytes: usize,
    record: Vec<u8>,
}

/// What the kernel puts into a ring.
pub(super) enum Record<'a> {
    Sample { at: Duration, thread: u32, bytes: &'a [u8] },
    Lost(u64),
}

// SAFETY: the ring's memory belongs to this value alone and to the kernel,
// which does not care what thread reads it.
#[allow(unsafe_code)]
unsafe impl Send for Ring {}

impl Ring {
    #[allow(unsafe_code)]
    pub(super) fn open(tracepoint: u64, cpu: i32) -> io::Result<Self> {
        let page_bytes = page_bytes();
        let fd = perf_event_open(&Attributes::of(tracepoint), cpu)?;
        // SAFETY: a new shared mapping anywhere, of a descriptor that allows it
        // for one page and a power of two of pages.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                page_bytes * (1 + DATA_PAGES),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { fd, base, page_bytes, record: Vec::new() })
    }

    /// Hands over all records there are, and gives their room back.
    pub(super) fn drain(&mut self, mut take: impl FnMut(Record<'_>)) {
        // The kernel fills the ring up to the head, then moves the head.
        let head = self.position(HEAD).load(Ordering::Acquire);
        let mut tail = self.position(TAIL).load(Ordering::Relaxed);
        while head.wrapping_sub(tail) >= HEADER_BYTES as u64 {
            let header = self.copy(tail, HEADER_BYTES);
            let bytes = u16::from_ne_bytes([header[6], header[7]]);
            let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            if usize::from(bytes) < HEADER_BYTES {
                tail = head;
                break;
            }
            let record = self.copy(tail, usize::from(bytes));
            take_record(kind, &record[HEADER_BYTES..], &mut take);
            tail = tail.wrapping_add(u64::from(bytes));
        }
        self.position(TAIL).store(tail, Ordering::Release);
    }

    /// Copies bytes out of the ring; they may go over its end.
    #[allow(unsafe_code)]
    fn copy(&mut self, from: u64, length: usize) -> &[u8] {
        let size = self.page_bytes * DATA_PAGES;
        let start = usize::try_from(from % size as u64).expect("the ring fits in memory");
        let first = length.min(size - start);
        self.record.resize(length, 0);
        // SAFETY: both parts lie within the data pages, which follow the first
        // page; the kernel does not write between tail and head, where they
        // are; `record` has `length` bytes.
        unsafe {
            let data = self.base.as_ptr().add(self.page_bytes);
            let to = self.record.as_mut_ptr();
            ptr::copy_nonoverlapping(data.add(start), to, first);
            ptr::copy_nonoverlapping(data, to.add(first), length - first);
        }
        &self.record
    }

    #[allow(unsafe_code)]
    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: an aligned u64 on the mapped first page, which lives as long
        // as self, and which the kernel too accesses as a whole.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Ring {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        let length = self.page_bytes * (1 + DATA_PAGES);
        // SAFETY: this is the mapping made in `open`, and nobody borrows it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), length) };
    }
}

/// `struct perf_event_attr` of linux/perf_event.h, in its version 3.
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    unused: [u32; 10],
    clock: i32,
}

impl Attributes {
    fn of(tracepoint: u64) -> Self {
        Self {
            kind: PERF_TYPE_TRACEPOINT,
            size: size_of::<Self>() as u32,
            config: tracepoint,
            sample_period: 1,
            sample_type: PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
            read_format: 0,
            flags: USE_CLOCK,
            wakeup_events: 1,
            unused: [0; 10],
            clock: libc::CLOCK_MONOTONIC,
        }
    }
}

#[allow(unsafe_code)]
fn perf_event_open(attributes: &Attributes, cpu: i32) -> io::Result<OwnedFd> {
    let (any_process, no_group) = (-1, -1);
    // SAFETY: the attributes outlive the call and say how long they are; the
    // descriptor returned is new and nobody else's.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_perf_event_open,
            ptr::from_ref(attributes),
            any_process,
            cpu,
            no_group,
            PERF_FLAG_FD_CLOEXEC,
        );
        match libc::c_int::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn take_record(kind: u32, body: &[u8], take: &mut impl FnMut(Record<'_>)) {
    let number = |offset: usize| {
        let bytes = body.get(offset..).and_then(<[u8]>::first_chunk);
        bytes.copied().map(u64::from_ne_bytes)
    };
    match kind {
        // Process and thread as u32, the time, the size of the rest as u32, the rest.
        PERF_RECORD_SAMPLE => {
            let thread = body.get(4..).and_then(<[u8]>::first_chunk).copied();
            if let (Some(thread), Some(nanoseconds), Some(bytes)) =
                (thread.map(u32::from_ne_bytes), number(8), body.get(20..))
            {
                take(Record::Sample { at: Duration::from_nanos(nanoseconds), thread, bytes });
            }
        }
        // An identity, the count.
        PERF_RECORD_LOST => take(Record::Lost(number(8).unwrap_or(1))),
        _ => {}
    }
}

fn page_bytes() -> usize {
    let told = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    told.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(4096)
}

/// Room for more than two thousand changes a CPU with pages of 4 kB.
const DATA_PAGES: usize = 64;
const HEADER_BYTES: usize = 8;

/// linux/perf_event.h; offsets into `struct perf_event_mmap_page`.
const HEAD: usize = 1024;
const TAIL: usize = 1032;
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_SAMPLE_TID: u64 = 1 << 1;
const PERF_SAMPLE_TIME: u64 = 1 << 2;
const PERF_SAMPLE_RAW: u64 = 1 << 10;
const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_SAMPLE: u32 = 9;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;
/// Bit field `use_clockid`.
const USE_CLOCK: u64 = 1 << 25;

const _: () = assert!(
    size_of::<Attributes>() == 96 && std::mem::offset_of!(Attributes, clock) == 92,
    "PERF_ATTR_SIZE_VER3"
);
