//! TLS towards a rendezvous server.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::request::Host;
use crate::os::tls::Trust;

/// Whether a rendezvous server speaks TLS, and who vouches for it.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsArgs {
    /// The rendezvous server speaks TLS, and has a certificate for the name or address given
    #[arg(long, requires = "rendezvous")]
    pub tls: bool,
    /// Trust those who are in this file, rather than this host's authorities; implies --tls
    #[arg(long, value_name = "FILE.pem", requires = "rendezvous")]
    pub tls_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// Who the server has to prove to be, if it speaks TLS.
    ///
    /// # Errors
    /// When there is nobody to vouch for it.
    pub fn trust(&self, server: &Host) -> Result<Option<Trust>, Failure> {
        let speaks = self.tls || self.tls_ca.is_some();
        let trust = speaks.then(|| Trust::new(&server.name, self.tls_ca.as_deref()));
        Ok(trust.transpose()?)
    }
}
