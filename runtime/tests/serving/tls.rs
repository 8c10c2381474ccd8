//! A cloud elsewhere, reached by TLS: its certificate is checked, and what fails the check gets no image.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::{CloudServer, EdgeServer, Model, args, image, infer_json, said};

/// An authority of the test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// A server with a certificate for `host` that passes everything on to `behind`, in the clear.
    async fn front(&self, host: &str, behind: SocketAddr) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust us hangs up.
                    let Ok(mut outside) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut inside = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        address
    }
}

/// Exit and degradation of one unsure image, asked of an edge that trusts `authorities` and asks `front`.
async fn exit(
    model: &Model,
    cloud: &CloudServer,
    front: SocketAddr,
    authorities: Option<&Path>,
) -> (String, bool) {
    let cache = tempfile::tempdir().unwrap();
    let mut args = args(
        cache.path(),
        &cloud.store_url(),
        &format!("https://{front}/v2/models/cloud"),
    );
    args.authorities = authorities.map(Path::to_owned);
    let mut edge = EdgeServer::with(&args).await;
    let mut revision = model.revision(0.0);
    revision.routing.cloud_timeout = "30s".parse().unwrap();
    edge.service.bring("asks", &revision).await.unwrap();
    let answer = edge.infer(&infer_json(&image(3))).await;
    let said = said(&answer.json().await.unwrap());
    (said.exit, said.degraded)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_https_cloud_is_asked_where_its_certificate_holds() {
    let model = Model::new();
    let cloud = CloudServer::start(&model).await;
    let (ours, theirs) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    // As in a ConfigMap, after another one.
    std::fs::write(&file, format!("{}{}", Authority::new().pem, ours.pem)).unwrap();

    let front = ours.front("127.0.0.1", cloud.address).await;
    let trusted = exit(&model, &cloud, front, Some(&file)).await;
    assert_eq!(trusted, ("cloud".to_owned(), false));

    for (what, front, authorities) in [
        ("no authorities of our own", front, None),
        (
            "another authority",
            theirs.front("127.0.0.1", cloud.address).await,
            Some(file.as_path()),
        ),
        (
            "another host",
            ours.front("models.example", cloud.address).await,
            Some(file.as_path()),
        ),
    ] {
        let (exit, degraded) = exit(&model, &cloud, front, authorities).await;
        assert!(degraded && exit != "cloud", "{what}: {exit}");
    }
}
