//! The one way in which this program makes HTTP clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::ClientBuilder;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use snafu::{ResultExt, Snafu, ensure};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum ClientError {
    /// The file of certificates cannot be used.
    #[snafu(display("failed to read certificates from {}: {reason}; give a file in PEM", path.display()))]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// TLS cannot be set up.
    #[snafu(display("failed to set up TLS"))]
    Tls {
        /// Why.
        source: rustls::Error,
    },
    /// The HTTP client cannot be set up.
    #[snafu(display("failed to make an HTTP client"))]
    Http {
        /// Why.
        source: reqwest::Error,
    },
}

/// A client that brings along all it needs, for a static program in an image without a C library and without certificates:
/// it resolves names by itself, and trusts the authorities that browsers trust and those in `authorities`. Proxies of the
/// environment are for people's tools, not for traffic inside a cluster.
///
/// `tune` sets what one use of it wants otherwise.
///
/// # Errors
/// When `authorities` names a file that holds no certificates.
pub fn client(
    authorities: Option<&Path>,
    tune: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<reqwest::Client, ClientError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = authorities {
        add(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context(TlsSnafu)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A server that has both is spoken to in HTTP/2.
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let builder = reqwest::Client::builder()
        .hickory_dns(true)
        .no_proxy()
        .connect_timeout(CONNECT)
        .tls_backend_preconfigured(tls);
    tune(builder).build().context(HttpSnafu)
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), ClientError> {
    let unusable = |reason: String| ClientError::Certificates {
        path: path.to_owned(),
        reason,
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unusable(e.to_string()))?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
        roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
        count += 1;
    }
    ensure!(
        count > 0,
        CertificatesSnafu {
            path,
            reason: "it holds none"
        }
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for text in [
            None,
            Some("no certificate"),
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = client(Some(&path), |b| b).unwrap_err().to_string();
            assert!(error.contains("ca.pem"), "{error}");
        }
        assert!(client(None, |b| b).is_ok());
    }
}
