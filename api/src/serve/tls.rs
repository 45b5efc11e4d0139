//! TLS of its own, with a certificate that can be changed while connections go on.
//!
//! Both files are read again every few seconds, and what they hold is compared, so that it does not matter how they are replaced: written in
//! place, renamed, or behind a symbolic link. A pair that can't be used is reported once and leaves the one before in place; two files
//! that are written one after the other do not belong together for a moment, and are looked at again. Connections keep the certificate
//! with which they began.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// How ALPN calls HTTP/2 (RFC 9113 section 3.1).
pub(super) const H2: &[u8] = b"h2";
/// How ALPN calls HTTP/1.1 (RFC 7301 section 6).
const HTTP_11: &[u8] = b"http/1.1";
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why a certificate can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{path} can't be read")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {what} in PEM")]
    Pem {
        /// Which.
        path: String,
        /// What it should hold.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error("{path} holds no certificate")]
    Empty {
        /// Which.
        path: String,
    },
    /// The key does not fit, or is of a kind that is not known.
    #[error("the key does not belong to the certificate, or is of an unknown kind")]
    Key(#[source] rustls::Error),
    /// The library refuses its settings.
    #[error("TLS can't be set up")]
    Config(#[source] rustls::Error),
}

/// A certificate, its key, and what is made of them.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    files: Arc<Files>,
}

/// Where they are.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What both files held.
type Contents = (Vec<u8>, Vec<u8>);

/// What new connections get.
#[derive(Debug)]
struct Current(Mutex<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// Reads the files: the certificate with those between it and its authority, and the key, both PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = files.certified(&files.read()?, &provider)?;
        let current = Arc::new(Current(Mutex::new(Arc::new(certified))));
        let resolver: Arc<dyn ResolvesServerCert> = current.clone();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.map_err(TlsError::Config)?.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![H2.to_vec(), HTTP_11.to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), current, files: Arc::new(files) })
    }

    /// Shakes hands.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        self.acceptor.accept(stream).await
    }

    /// Takes up new files until the token is cancelled.
    pub async fn watch(self, stop: CancellationToken) {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut seen: Result<Contents, String> = self.files.read().map_err(|error| causes(&error));
        let mut first = true;
        loop {
            // What was opened and what was read at first may differ already.
            let found = self.files.read();
            let news = match (&found, &seen) {
                (Ok(found), Ok(seen)) => first || found != seen,
                (Err(found), Err(seen)) => causes(found) != *seen,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => true,
            };
            if news {
                self.take_up(found.as_ref(), &provider, first);
                seen = found.map_err(|error| causes(&error));
            }
            first = false;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn take_up(&self, found: Result<&Contents, &TlsError>, provider: &Arc<CryptoProvider>, quietly: bool) {
        let certified = match found {
            Ok(contents) => self.files.certified(contents, provider).map_err(|error| causes(&error)),
            Err(error) => Err(causes(error)),
        };
        let outcome = match certified {
            Ok(certified) => {
                *self.current.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                if quietly {
                    return;
                }
                tracing::info!(certificate = %self.files.certificate.display(), "a new certificate is in use");
                "taken"
            }
            Err(error) => {
                tracing::error!(error, "the new certificate can't be used; the one before stays in use");
                "failed"
            }
        };
        metrics::counter!("lotline_tls_reloads_total", "outcome" => outcome).increment(1);
    }
}

impl Files {
    fn read(&self) -> Result<Contents, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Read { path: path.display().to_string(), source })
        };
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    fn certified(&self, (certificate, key): &Contents, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let broken = |path: &Path, what| {
            let path = path.display().to_string();
            move |source| TlsError::Pem { path, what, source }
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(broken(&self.certificate, "certificate"))?;
        if chain.is_empty() {
            return Err(TlsError::Empty { path: self.certificate.display().to_string() });
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(broken(&self.key, "private key"))?;
        CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Key)
    }
}

/// What failed, and why, on one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<String>>().join(": ")
}
