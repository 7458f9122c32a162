//! What becomes of an open connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::thread;

use crate::time::Duration;
use crate::wire::printable;

/// Says who we are, and hears who the peer is until it has said all or takes too long.
///
/// # Errors
/// When the connection breaks before the peer has said anything.
pub fn greet(mut connection: &TcpStream) -> io::Result<String> {
    connection
        .write_all(format!("Hello from tso-probe {}\n", env!("CARGO_PKG_VERSION")).as_bytes())?;
    connection.shutdown(Shutdown::Write)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut heard = Vec::new();
    let ended = connection.take(LONGEST_GREETING).read_to_end(&mut heard);
    match ended {
        Err(why) if heard.is_empty() && why.kind() != ErrorKind::WouldBlock => Err(why),
        // What a peer says must not steer our terminal.
        _ => Ok(printable(&String::from_utf8_lossy(&heard))),
    }
}

/// Joins the connection to stdin and stdout until both ways have ended; the end of one is passed on
/// and leaves the other open.
///
/// # Errors
/// When the connection breaks.
pub fn pipe(connection: &TcpStream) -> io::Result<()> {
    thread::scope(|scope| {
        let outward = scope.spawn(|| {
            let sent = io::copy(&mut io::stdin().lock(), &mut &*connection);
            // A peer who has gone already needs no goodbye.
            let _ = connection.shutdown(Shutdown::Write);
            sent
        });
        let inward = received(connection);
        let outward = outward.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        inward.and(outward).map(drop)
    })
}

/// As it comes: a line is not waited for.
fn received(mut connection: &TcpStream) -> io::Result<u64> {
    let mut stdout = io::stdout().lock();
    let mut buffer = [0; 64 * 1024];
    let mut total = 0;
    loop {
        let read = match connection.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => read,
            Err(why) if why.kind() == ErrorKind::Interrupted => continue,
            Err(why) => return Err(why),
        };
        stdout.write_all(&buffer[..read])?;
        stdout.flush()?;
        total += read as u64;
    }
}

/// Runs a command of the shell with the connection as its stdin and stdout, until it ends.
///
/// # Errors
/// When it cannot be started.
pub fn exec(connection: TcpStream, command: &str) -> io::Result<ExitStatus> {
    let input = OwnedFd::from(connection.try_clone()?);
    let output = OwnedFd::from(connection);
    let mut child =
        Command::new("/bin/sh").arg("-c").arg(command).stdin(input).stdout(output).spawn()?;
    child.wait()
}

/// The peer greets at once; its path may be slow.
const PATIENCE: Duration = Duration::from_secs(3);

const LONGEST_GREETING: u64 = 4096;
