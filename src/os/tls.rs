//! TLS towards a server, for connections that carry little.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{Error, Result};

/// Whom a server has to prove to be, and by whose word.
#[derive(Clone, Debug)]
pub struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// One connection's side of TLS: octets in, octets out.
#[derive(Debug)]
pub struct Session(ClientConnection);

impl Trust {
    /// A server of this name or address that this host's authorities vouch for, or if a file is given,
    /// the certificates in it.
    ///
    /// # Errors
    /// When there are no such certificates, or the name is none.
    pub fn new(host: &str, authorities: Option<&Path>) -> Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|why| Error::text("expect a certificate of", host, why))?;
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(path) => {
                let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
                let all: Vec<_> = read.map_err(|why| unreadable(path, &why))?;
                roots.add_parsable_certificates(all);
            }
            None => drop(
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
            ),
        }
        if roots.is_empty() {
            let place = authorities.map_or("this host".into(), Path::to_string_lossy);
            let hint = "install ca-certificates, or name a file of certificates in PEM: --tls-ca";
            return Err(Error::text("find an authority's certificate at", place, "there is none")
                .with_hint(hint));
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { config: Arc::new(config), name })
    }

    /// A connection that begins.
    ///
    /// # Errors
    /// When randomness is not to be had.
    pub fn session(&self) -> Result<Session> {
        let begun = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        begun.map(Session).map_err(|why| Error::text("speak", "TLS", why))
    }
}

impl Session {
    /// Takes what came: what was said in it.
    ///
    /// # Errors
    /// Says what is wrong with it; nothing more of it can be trusted.
    pub fn read(&mut self, mut octets: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let mut said = Vec::new();
        while !octets.is_empty() {
            self.0.read_tls(&mut octets).map_err(|why| why.to_string())?;
            self.0.process_new_packets().map_err(|why| in_words(&why))?;
            // It has no more for now, or the other side has ended it.
            let _ = self.0.reader().read_to_end(&mut said);
        }
        Ok(said)
    }

    /// Says something, once there is a key to say it under.
    pub fn say(&mut self, octets: &[u8]) {
        // Its buffer takes far more than is said before the first answer.
        let _ = self.0.writer().write_all(octets);
    }

    /// What is to be sent.
    pub fn outgoing(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        // A vector takes all.
        while self.0.wants_write() && self.0.write_tls(&mut octets).is_ok() {}
        octets
    }
}

fn in_words(why: &rustls::Error) -> String {
    let why = why.to_string();
    // Many a self-signed certificate is made as an authority's (RFC 5280 §4.2.1.9).
    if why.contains("CaUsedAsEndEntity") {
        return "its certificate is that of an authority (CA:TRUE), which is no server's"
            .to_owned();
    }
    why
}

fn unreadable(path: &Path, why: &rustls::pki_types::pem::Error) -> Error {
    let hint = "give the certificates of those who vouch for the server, in PEM";
    Error::text("read", path.display(), why).with_hint(hint)
}
