//! The evidence file on disk: whole or not at all, and the invoking user's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// Whether a file could be written there: to be asked before a run, so that none is for nothing.
///
/// # Errors
/// If it could not, with what to do.
pub fn check(path: &Path) -> Result<(), Failure> {
    if is_special(path) {
        return Ok(());
    }
    if path.is_dir() {
        return Err(failure(path, &io::ErrorKind::IsADirectory.into()));
    }
    let temporary = temporary(path);
    create(&temporary).and_then(|_| fs::remove_file(&temporary)).map_err(|why| failure(path, &why))
}

/// Writes a file in one step: under another name first, which then becomes its own. Under sudo it
/// belongs to the invoking user.
///
/// # Errors
/// If it cannot be written; then a file that was there before is still the old one.
pub fn save(path: &Path, octets: &[u8]) -> Result<(), Failure> {
    save_as_it_comes(path, |file| file.write_all(octets))
}

/// The same, of octets that need not be at hand at once.
///
/// # Errors
/// If it cannot be written, or what writes it fails.
pub fn save_as_it_comes(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    // A device or pipe must be written to, not replaced.
    if is_special(path) {
        let opened = File::options().write(true).open(path);
        return opened.and_then(|mut file| write(&mut file)).map_err(|why| failure(path, &why));
    }
    let temporary = temporary(path);
    let saved = fill(&temporary, write).and_then(|()| fs::rename(&temporary, path));
    saved.map_err(|why| {
        // It may never have come to be.
        let _ = fs::remove_file(&temporary);
        failure(path, &why)
    })
}

fn fill(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = create(path)?;
    write(&mut file)?;
    give_away(&file)?;
    file.sync_all()
}

/// Makes the invoking user the owner, unless sudo made us somebody who may not.
fn give_away(file: &File) -> io::Result<()> {
    let Some((user, group)) = invoking_user() else { return Ok(()) };
    match fchown(file, Some(user), Some(group)) {
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

/// A new file that others may not read: it tells of addresses. It must be new, since whoever may
/// write to the directory could have put a link there.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

fn invoking_user() -> Option<(u32, u32)> {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    Some((number("SUDO_UID")?, number("SUDO_GID")?))
}

fn failure(path: &Path, why: &io::Error) -> Failure {
    let hint = match why.kind() {
        io::ErrorKind::NotFound => "make its directory first, or give another path",
        io::ErrorKind::StorageFull => "make room, or give a path on another disk",
        io::ErrorKind::IsADirectory => "give a file's path, not a directory's",
        _ => "give a path that you may write to, such as one in /tmp",
    };
    Failure::new(format!("cannot write {}: {why}", path.display()), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_behind() {
        let directory = scratch("replaced");
        let path = directory.join("nat.pcapng");
        save(&path, b"old").expect("it can be written");
        save(&path, b"new").expect("it can be replaced");
        assert_eq!(fs::read(&path).expect("it is there"), b"new");
        assert_eq!(fs::read_dir(&directory).expect("it is there").count(), 1);
        fs::remove_dir_all(directory).expect("it is ours");
    }

    #[test]
    fn a_path_that_cannot_be_written_is_told_before_the_run() {
        let directory = scratch("refused");
        let failure = check(&directory.join("none/nat.pcapng")).expect_err("no such directory");
        assert!(failure.error.starts_with("cannot write "), "{failure}");
        assert_eq!(failure.hint, "make its directory first, or give another path");
        assert_eq!(check(&directory.join("nat.pcapng")), Ok(()));
        assert_eq!(fs::read_dir(&directory).expect("it is there").count(), 0);
        fs::remove_dir_all(directory).expect("it is ours");
    }

    #[test]
    fn a_device_is_written_to_and_stays_one() {
        save(Path::new("/dev/null"), b"gone").expect("it takes everything");
        assert!(is_special(Path::new("/dev/null")));
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tso-probe-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory can be made");
        path
    }
}
