//! TLS for those who meet here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::os::{self, Error};

/// Who a server says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file of its certificate, and of those that vouch for it, in PEM.
    pub certificate: PathBuf,
    /// The file of its private key, in PEM.
    pub key: PathBuf,
}

impl Identity {
    /// What is needed to greet clients.
    ///
    /// # Errors
    /// When a file cannot be read, is something else, or one does not belong to the other.
    pub fn acceptor(&self) -> os::Result<TlsAcceptor> {
        let Self { certificate, key } = self;
        let read = |path: &Path, why: PemError| unreadable(path, &why);
        let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
        let chain: Vec<_> = chain.map_err(|why| read(certificate, why))?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| read(key, why))?;
        let versions = ServerConfig::builder().with_no_client_auth();
        let config = versions.with_single_cert(chain, secret).map_err(|why| {
            let hint =
                format!("check that {} is the key of {}", key.display(), certificate.display());
            Error::text("use certificate", certificate.display(), why).with_hint(hint)
        })?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn unreadable(path: &Path, why: &PemError) -> Error {
    let hint = "give the certificate, with those that vouch for it, and its private key, in PEM";
    Error::text("read", path.display(), why).with_hint(hint)
}
