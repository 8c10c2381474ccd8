//! A real API server for tests: etcd and kube-apiserver, nothing else. No controller, scheduler or kubelet runs, so a test
//! plays them itself and sees exactly what schema, admission, RBAC and watches do.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "only tests use this crate, and a test that cannot start has failed"
)]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tempfile::TempDir;

mod manifests;

pub use manifests::{apply, documents};

const TOKEN: &str = "of-a-test";
const PATIENCE: Duration = Duration::from_mins(1);

/// An API server of its own for one test; it ends with this value.
pub struct ApiServer {
    processes: Vec<Child>,
    folder: TempDir,
    port: u16,
}

impl ApiServer {
    /// Starts etcd and the API server and waits until it is ready. Fails, with the remedy, where the binaries are not.
    pub async fn start() -> Self {
        let binaries = binaries();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [client, peer, port] = free_ports();
        let mut server = Self {
            processes: Vec::new(),
            folder,
            port,
        };
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        server.spawn(
            &binaries.join("etcd"),
            &[
                &format!("--data-dir={}", server.file("etcd").display()),
                &format!("--listen-client-urls={}", url(client)),
                &format!("--advertise-client-urls={}", url(client)),
                &format!("--listen-peer-urls={}", url(peer)),
                &format!("--initial-advertise-peer-urls={}", url(peer)),
                &format!("--initial-cluster=default={}", url(peer)),
                "--unsafe-no-fsync",
                "--log-level=error",
            ],
        );
        fs::write(
            server.file("tokens.csv"),
            format!("{TOKEN},admin,admin,system:masters\n"),
        )
        .expect("a token file");
        // The API server makes its own certificate; its key signs the tokens of service accounts, too.
        let (certificates, key) = (
            server.file("certificates"),
            server.file("certificates/apiserver.key"),
        );
        server.spawn(
            &binaries.join("kube-apiserver"),
            &[
                &format!("--etcd-servers={}", url(client)),
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                &format!("--secure-port={port}"),
                &format!("--cert-dir={}", certificates.display()),
                &format!("--token-auth-file={}", server.file("tokens.csv").display()),
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                &format!("--service-account-key-file={}", key.display()),
                &format!("--service-account-signing-key-file={}", key.display()),
                "--service-cluster-ip-range=10.0.0.0/24",
                "--endpoint-reconciler-type=none",
                "--disable-admission-plugins=DefaultStorageClass,StorageObjectInUseProtection",
                // Off by default, and on in some clusters: it wants rights on an owner's finalizers.
                "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            ],
        );
        server.ready().await;
        server
    }

    /// A way in for one who may do anything.
    pub async fn config(&self) -> Config {
        self.config_of(TOKEN).await
    }

    /// A way in with a token of the test's own.
    pub async fn config_of(&self, token: &str) -> Config {
        let cluster =
            json!({"server": format!("https://127.0.0.1:{}", self.port), "insecure-skip-tls-verify": true});
        let kubeconfig: Kubeconfig = serde_json::from_value(json!({
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }))
        .expect("a kubeconfig");
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .expect("a config")
    }

    /// A client for one who may do anything.
    pub async fn client(&self) -> Client {
        Client::try_from(self.config().await).expect("a client")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spawn(&mut self, program: &Path, args: &[&str]) {
        let name = program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let log = File::create(self.file(&format!("{name}.log"))).expect("a log file");
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("failed to start {}: {error}; {REMEDY}", program.display()));
        self.processes.push(child);
    }

    async fn ready(&mut self) {
        let client = self.client().await;
        let begin = Instant::now();
        loop {
            let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
            let ready = client.request_text(request).await.is_ok();
            if ready {
                return;
            }
            let ended = self
                .processes
                .iter_mut()
                .any(|process| process.try_wait().is_ok_and(|end| end.is_some()));
            if ended || begin.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.file("kube-apiserver.log")).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(30)..].join("\n");
                panic!(
                    "the API server is not ready after {:?}; its log ends with\n{tail}",
                    begin.elapsed()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

const REMEDY: &str = "`make test` sets KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver; by hand: \
                      eval \"$(hack/cluster/cluster assets)\" && export KUBEBUILDER_ASSETS";

fn binaries() -> PathBuf {
    match std::env::var_os("KUBEBUILDER_ASSETS") {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => panic!("this test needs a real API server: {REMEDY}"),
    }
}

/// Ports that were free a moment ago. All are held until all are known, so that they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("an address").port())
}
