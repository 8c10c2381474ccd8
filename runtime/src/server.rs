//! Connections of both tiers: HTTP/1.1, HTTP/2 without TLS, and gRPC on one address, over TCP or a Unix socket.
//!
//! Written on hyper and not with warp's own server, which has no bound on silent or many connections and no gRPC beside it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Either;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use meanet_oip::GrpcInferenceServiceServer;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use warp::filters::BoxedFilter;
use warp::http::header::CONTENT_TYPE;
use warp::http::{Request, Response};

use crate::protocol::grpc::Service as Grpc;
use crate::protocol::{Model, Port, grpc};

/// How long requests under way may take once the process is asked to end.
const DRAIN: Duration = Duration::from_secs(20);
/// Bytes of a connection over HTTP/1.1 that are read ahead, its headers among them: what a connection takes, however large its bodies.
const BUFFER: usize = 16 << 10;
/// Connections at once; others wait to be accepted.
const CONNECTIONS: usize = 4096;
/// How long a new connection may say nothing, and how long headers may take.
const SILENCE: Duration = Duration::from_mins(1);
/// How often a peer of an HTTP/2 connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 256;

/// Serves the paths and the model's gRPC service until `token` is cancelled and the requests under way are answered. What
/// cannot be listened on any more is logged.
pub(crate) async fn serve<M: Model>(
    listeners: Vec<Listener>,
    paths: BoxedFilter<(warp::reply::Response,)>,
    port: Port<M>,
    token: CancellationToken,
) {
    let service = Service {
        paths,
        grpc: grpc::service(port),
    };
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let accepting = listeners
        .iter()
        .map(|listener| listener.accept_all(&service, &connections, &graceful));
    tokio::select! {
        () = token.cancelled() => {}
        _ = futures::future::join_all(accepting) => {}
    }
    drop(listeners);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        warn!("requests under way did not end within {DRAIN:?}");
    }
}

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// An address.
    Tcp(TcpListener),
    /// A socket in the file system, which is removed in the end.
    Unix(UnixListener, PathBuf),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    /// When it is taken, or not ours.
    pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // What a server before it has left behind does not hold the address.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        // Where a crowd connects at once, the kernel drops what there is no place for; each waits 200 ms until it tries again.
        socket.listen(CONNECTIONS as u32)
    }

    /// Listens on a Unix socket; one that a process before left behind is replaced.
    ///
    /// # Errors
    /// When something else is at `path`, or the folder cannot be written.
    pub fn unix(path: &Path) -> io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is a file that is no socket: name another path",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self::Unix(UnixListener::bind(path)?, path.to_owned()))
    }

    async fn accept_all<M: Model>(
        &self,
        service: &Service<M>,
        connections: &Arc<Semaphore>,
        graceful: &GracefulShutdown,
    ) {
        loop {
            // Never closed.
            let Ok(permit) = Arc::clone(connections).acquire_owned().await else {
                return;
            };
            let accepted = match self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    // Answers are small and whole: nothing is gained by waiting for more.
                    let _ = stream.set_nodelay(true);
                    spawn(stream, service.clone(), graceful.watcher(), permit);
                }),
                Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                    spawn(stream, service.clone(), graceful.watcher(), permit);
                }),
            };
            if let Err(error) = accepted {
                let one_connection = matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                );
                if !one_connection {
                    // Too many open files, most likely: some are closed in a while.
                    warn!("failed to accept a connection: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Returns when something can be read.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
}

impl Stream for TcpStream {
    async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }
}

impl Stream for UnixStream {
    async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }
}

fn spawn<M: Model>(stream: impl Stream, service: Service<M>, watcher: Watcher, permit: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        let _permit = permit;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .max_buf_size(BUFFER)
            .timer(TokioTimer::new())
            .header_read_timeout(SILENCE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .max_concurrent_streams(STREAMS);
        // Which version it is shows in the first bytes; hyper waits for them without a bound.
        if !matches!(tokio::time::timeout(SILENCE, stream.readable()).await, Ok(Ok(()))) {
            return;
        }
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        // Clients that hang up are no errors of the server.
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            debug!("a connection ended early: {error}");
        }
    });
}

/// Sends gRPC's requests to the service and all others to the paths.
struct Service<M> {
    paths: BoxedFilter<(warp::reply::Response,)>,
    grpc: GrpcInferenceServiceServer<Grpc<M>>,
}

impl<M> Clone for Service<M> {
    fn clone(&self) -> Self {
        Self {
            paths: self.paths.clone(),
            grpc: self.grpc.clone(),
        }
    }
}

type WarpBody = <warp::reply::Response as Body>::Of;

/// Names the body of a response.
trait Body {
    type Of;
}

impl<B> Body for Response<B> {
    type Of = B;
}

impl<M: Model> tower::Service<Request<Incoming>> for Service<M> {
    type Response = Response<Either<WarpBody, tonic::body::Body>>;
    type Error = Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let is_grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            let answer = tower::Service::call(&mut self.grpc, request);
            Box::pin(async move { answer.await.map(|response| response.map(Either::Right)) })
        } else {
            let answer = tower::Service::call(&mut warp::service(self.paths.clone()), request);
            Box::pin(async move { answer.await.map(|response| response.map(Either::Left)) })
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit, setrlimit};

    use super::*;

    #[tokio::test]
    async fn a_crowd_that_connects_at_once_finds_a_place() {
        let mut files = getrlimit(Resource::Nofile);
        files.current = files.maximum;
        setrlimit(Resource::Nofile, files).unwrap();
        let listener = Listener::tcp(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody accepts them yet. One that the kernel drops is tried again after a second.
        let crowd: io::Result<Vec<_>> = (0..1_500)
            .map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(900)))
            .collect();
        assert!(crowd.is_ok(), "{crowd:?}");
    }
}
