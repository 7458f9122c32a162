//! The configuration file, and where it is looked for.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::failure::Failure;

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `HOST` or `HOST:PORT`, one or two.
    #[serde(default)]
    pub reflector: Vec<String>,
    /// Another address of this host behind the same NAT.
    pub second_internal: Option<IpAddr>,
}

/// What of the process's surroundings has a say in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `TSO_PROBE_REFLECTOR`: one host, or two with a comma between.
    pub reflector: Option<String>,
    /// The configuration files to look for, the first that there is counts.
    pub files: Vec<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = match variable("SUDO_USER") {
            Some(user) => std::fs::read_to_string(PASSWD).ok().and_then(|all| home_of(&all, &user)),
            None => variable("HOME").map(PathBuf::from),
        };
        let files = home.map(|home| home.join(IN_HOME)).into_iter();
        let files = files.chain([PathBuf::from(OF_SYSTEM)]).collect();
        Self { reflector: variable(REFLECTOR), files }
    }

    /// The first of the files that there is.
    ///
    /// # Errors
    /// If it cannot be read or makes no sense.
    pub fn config(&self) -> Result<Config, Failure> {
        let found = self.files.iter().find(|file| file.exists());
        found.map_or(Ok(Config::default()), |file| read(file))
    }
}

/// The configuration in this file.
///
/// # Errors
/// If it cannot be read or makes no sense; says where.
pub fn read(file: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().map_or("", |span| &text[..span.start.min(text.len())]);
        let line = before.matches('\n').count() + 1;
        let (file, message) = (file.display(), error.message());
        Failure::new(format!("{file}, line {line}: {message}"), KEYS)
    })
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path given with --config",
        _ => "make it a file that you may read",
    };
    Failure::new(format!("cannot read the configuration {}: {error}", file.display()), hint)
}

/// A user's home directory, as the lines of passwd(5) have it. sudo sets HOME to root's on many
/// systems, so HOME is no help there.
fn home_of(passwd: &str, user: &str) -> Option<PathBuf> {
    let mut fields = passwd.lines().map(|line| line.split(':'));
    let mut line = fields.find(|fields| fields.clone().next() == Some(user))?;
    line.nth(5).filter(|home| !home.is_empty()).map(PathBuf::from)
}

const PASSWD: &str = "/etc/passwd";
const IN_HOME: &str = ".config/tso-probe.toml";
const OF_SYSTEM: &str = "/etc/tso-probe.toml";

/// The environment variable that names reflectors.
pub const REFLECTOR: &str = "TSO_PROBE_REFLECTOR";

const KEYS: &str = "a configuration has two keys: reflector = [\"HOST:PORT\", …] and \
                    second_internal = \"ADDR\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_home_is_the_sixth_field() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n";
        assert_eq!(home_of(passwd, "ann"), Some(PathBuf::from("/home/ann")));
        assert_eq!(home_of(passwd, "an"), None);
        assert_eq!(home_of("short:x", "short"), None);
    }
}
