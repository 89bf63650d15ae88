//! TLS: the server's certificate, and the authentication of clients. File names are those of QEMU
//! and `nbdkit`, so one folder serves all of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};

/// The supported keys, for messages.
const KEYS: &str = "RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519";

/// The reason why TLS is not available.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or invalid.
    #[error("{}: {why}; expected {expected} in PEM", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The expected content.
        expected: &'static str,
        /// The fault.
        why: String,
    },
    /// The files do not match each other.
    #[error("the certificates in {} cannot be used: {why}", folder.display())]
    Config {
        /// The folder of the files.
        folder: PathBuf,
        /// The fault.
        why: String,
    },
}

/// The clients that are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Clients with a certificate that the authority in `ca-cert.pem` has signed.
    Known,
    /// All clients.
    Any,
}

/// Loads the configuration from `server-cert.pem`, `server-key.pem` and, for [`Clients::Known`],
/// `ca-cert.pem` in `folder`.
///
/// # Errors
/// [`TlsError`].
pub fn config(folder: &Path, clients: Clients) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = certificates(folder.join("server-cert.pem"), "the server's certificate")?;
    let path = folder.join("server-key.pem");
    let key_error =
        |why: String| TlsError::File { path: path.clone(), expected: "the server's private key", why };
    let key = PrivateKeyDer::from_pem_file(&path).map_err(|error| key_error(error.to_string()))?;
    let failed = |why: String| TlsError::Config { folder: folder.into(), why };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| key_error(format!("{error} ({KEYS})")))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?;
    let builder = match clients {
        Clients::Any => builder.with_no_client_auth(),
        Clients::Known => {
            let mut roots = RootCertStore::empty();
            for certificate in
                self::certificates(folder.join("ca-cert.pem"), "the certificate of the clients' CA")?
            {
                roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| failed(error.to_string()))?)
        }
    };
    let own = CertifiedKey::new(certificates, key);
    match own.keys_match() {
        // If the key's public half is unknown, the key is assumed to match, as in every other server.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(error) => {
            return Err(failed(format!("server-key.pem is not the key of server-cert.pem: {error}")));
        }
    }
    Ok(Arc::new(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)))))
}

fn certificates(path: PathBuf, expected: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(TlsError::File { path, expected, why: "the file has no certificate".into() }),
        Err(error) => Err(TlsError::File { path, expected, why: error.to_string() }),
    }
}
