//! A directory for large files that is gone when this program is, even if it is killed.

use std::env;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::statvfs::statvfs;

/// A temporary directory, and a process that removes it.
pub struct Place {
    path: PathBuf,
    /// It reads from a pipe that ends when this process does, in whatever way.
    sweeper: Child,
}

/// The first argument of the sweeper.
pub const FLAG: &str = "--sweep";

impl Place {
    /// A new one, or why there is no room for so many octets.
    pub fn with_room(octets: u64) -> Result<Self, String> {
        let parent = env::temp_dir();
        let room = room(&parent);
        if room < octets {
            return Err(format!(
                "{} has room for {} MB, and {} MB are needed; TMPDIR names another directory",
                parent.display(),
                room >> 20,
                octets >> 20
            ));
        }
        let path = parent.join(format!("tso-probe-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|why| format!("make {}: {why}", path.display()))?;
        let itself = env::current_exe().expect("this program has a path");
        // In a group of its own, Ctrl-C does not reach it.
        let sweeper = Command::new(itself)
            .arg(FLAG)
            .arg(&path)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("this program can be started again");
        Ok(Self { path, sweeper })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        let _ = self.sweeper.wait();
    }
}

/// In the sweeper: waits until whoever started it is gone.
pub fn sweep(path: &Path) {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    if let Err(why) = fs::remove_dir_all(path) {
        eprintln!("error: remove {}: {why}\nhint: remove it yourself", path.display());
    }
}

fn room(path: &Path) -> u64 {
    statvfs(path).map_or(0, |found| found.blocks_available() * found.fragment_size())
}
