//! A program that runs in a network namespace and does not outlive us, and the end of all that runs
//! in one.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::PathBuf,
    process::{self, Command, ExitStatus},
    time::Duration,
};

use nix::{
    errno::Errno,
    libc,
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{SigSet, Signal as Number},
        stat::{fstat, stat},
    },
    unistd::{AccessFlags, Pid, access, getpid, getppid},
};

use super::{
    Error, Result, clock,
    netns::Namespace,
    poll::{self, Interest},
    signals::Signals,
};

/// A program that was started.
#[derive(Debug)]
pub struct Child {
    child: process::Child,
    process: Process,
}

impl Child {
    /// Starts a program in a namespace, with our terminal and none of these signals blocked. Should
    /// the calling thread end first, however that comes about, the kernel kills it.
    ///
    /// # Errors
    /// When there is no such program, or it cannot be run.
    pub fn start(mut command: Command, namespace: &Namespace, signals: &Signals) -> Result<Self> {
        let name = command.get_program().to_owned();
        let failed = |error: io::Error| refused(&name, error);
        let inside = namespace.as_fd().try_clone_to_owned().map_err(failed)?;
        let (parent, mask) = (getpid(), signals.before);
        // SAFETY: between fork and exec the closure makes system calls and nothing else: it neither
        // allocates nor takes a lock.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || prepare(&inside, mask, parent).map_err(io::Error::from));
        }
        let child = command.spawn().map_err(failed)?;
        let process = Process::open(Pid::from_raw(child.id().cast_signed()))
            .map_err(|e| Error::kernel("watch", name.display(), e))?;
        Ok(Self { child, process })
    }

    /// Waits until it ends, and passes on SIGTERM and SIGHUP meanwhile. What the terminal sends on a
    /// key (Ctrl-C) is the program's own business: it has got it already. Gives its exit code, or
    /// 128 and the number of the signal that ended it, as shells do.
    ///
    /// # Errors
    /// When the kernel tells of a signal in a way unknown to us.
    pub fn wait(mut self, signals: &Signals) -> Result<u8> {
        loop {
            poll::wait(&[Interest::read(&self.process), Interest::read(signals)], None)?;
            let asked = signals.number()?;
            if let Some(signal @ (Number::SIGTERM | Number::SIGHUP)) = asked {
                self.process.signal(signal);
            }
            let ended = self.child.try_wait().map_err(|e| Error::kernel("wait for", "", e))?;
            if let Some(status) = ended {
                return Ok(code(status));
            }
        }
    }
}

/// Where a program is: a path as it is, any other name in the first directory of `PATH` that has it.
///
/// # Errors
/// When it is nowhere, or may not be executed.
pub fn find(program: &OsStr) -> Result<PathBuf> {
    let named = PathBuf::from(program);
    let candidates = if named.components().count() > 1 {
        vec![named]
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|directory| directory.join(&named)).collect()
    };
    let files: Vec<_> = candidates.into_iter().filter(|path| path.is_file()).collect();
    let runs = |path: &&PathBuf| access(path.as_path(), AccessFlags::X_OK).is_ok();
    let errno = if files.is_empty() { Errno::ENOENT } else { Errno::EACCES };
    files.iter().find(runs).cloned().ok_or_else(|| refused(program, errno.into()))
}

/// What a new process does before it becomes the program.
fn prepare(namespace: &OwnedFd, mask: SigSet, parent: Pid) -> nix::Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    mask.thread_set_mask()?;
    prctl::set_pdeathsig(Number::SIGKILL)?;
    // Whoever ended before that was asked for sends no signal any more.
    if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH) }
}

/// Kills every process that stands in a namespace, this one excepted, and waits until they have ended.
///
/// # Errors
/// When `/proc` is not mounted, or this process has too many open descriptors.
pub fn kill_all_in(namespace: &Namespace) -> Result<()> {
    let until = clock::monotonic() + LONGEST_DYING;
    loop {
        let left = processes_in(namespace)?;
        if left.is_empty() || clock::monotonic() >= until {
            return Ok(());
        }
        left.iter().for_each(|process| process.signal(Number::SIGKILL));
        for process in &left {
            poll::wait(&[Interest::read(process)], Some(until))?;
        }
    }
}

fn processes_in(namespace: &Namespace) -> Result<Vec<Process>> {
    let own = fstat(namespace).map_err(|e| Error::kernel("look at", "a network namespace", e))?;
    let entries = fs::read_dir("/proc").map_err(|e| Error::kernel("list", "/proc", e))?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
    let others = numbers.map(Pid::from_raw).filter(|pid| *pid != getpid());
    let inside = others.filter_map(|pid| {
        // Opened first: so what is found out is of this process, and not of a later one.
        let process = Process::open(pid).ok()?;
        let theirs = stat(format!("/proc/{pid}/ns/net").as_str()).ok()?;
        ((theirs.st_dev, theirs.st_ino) == (own.st_dev, own.st_ino)).then_some(process)
    });
    Ok(inside.collect())
}

/// A process by a descriptor, which is readable once it has ended (`pidfd_open(2)`).
#[derive(Debug)]
struct Process(OwnedFd);

impl Process {
    #[allow(unsafe_code)]
    fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: pidfd_open(2) takes a number and flags, and gives a new descriptor that is ours,
        // closed on exec, or -1.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0);
            match libc::c_int::try_from(fd) {
                Ok(fd) if fd >= 0 => Ok(Self(OwnedFd::from_raw_fd(fd))),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Signals it. One that has ended, or may not be signalled, is none the worse.
    #[allow(unsafe_code)]
    fn signal(&self, signal: Number) {
        let (fd, number) = (self.0.as_raw_fd(), signal as libc::c_int);
        let nothing = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: pidfd_send_signal(2) takes a descriptor, a number, no further information and no
        // flags; the descriptor is open.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, number, nothing, 0) };
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn code(status: ExitStatus) -> u8 {
    let ended = status.code().or_else(|| status.signal().map(|number| SIGNALLED + number));
    ended.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

fn refused(program: &OsStr, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check its name, and that it is in a directory of PATH",
        io::ErrorKind::PermissionDenied => "it must be a file that may be executed (chmod +x)",
        _ => "try to run it by itself, outside the lab",
    };
    Error::kernel("run", program.display(), error).with_hint(hint)
}

/// A process that is killed is gone at once, unless the kernel is busy on its behalf.
const LONGEST_DYING: Duration = Duration::from_secs(2);

/// What shells add to the number of a signal.
const SIGNALLED: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_killed_has_the_code_that_shells_give_it() {
        assert_eq!(code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(code(ExitStatus::from_raw(Number::SIGKILL as i32)), 137);
    }
}
