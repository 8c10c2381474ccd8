//! Clients that are slow, silent, or gone: they hold up nobody else.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::support::{Model, edge, image, infer_json};

/// Far more than an answer takes, so that a wait without end is an error and not a hang.
const LONG: Duration = Duration::from_mins(1);

fn head(length: usize) -> String {
    format!(
        "POST /v2/models/cams/infer HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// The status line, or nothing where the server hung up.
async fn status(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = vec![0; 64];
    let count = timeout(LONG, stream.read(&mut answer))
        .await
        .expect("no end")
        .unwrap_or(0);
    String::from_utf8_lossy(&answer[..count])
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_silent_clients_hold_up_nobody() {
    let model = Model::new();
    let (_cloud, edge) = edge(&model).await;
    let body = infer_json(&image(3));
    let text = body.to_string();
    let mut slow = Vec::new();
    for kind in 0..120 {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        let said = match kind % 4 {
            0 => String::new(),
            1 => "POST /v2/models/ca".to_owned(),
            2 => head(text.len()),
            _ => head(text.len()) + &text[..text.len() / 2],
        };
        stream.write_all(said.as_bytes()).await.unwrap();
        slow.push((stream, kind % 4));
    }
    for _ in 0..20 {
        assert!(
            timeout(LONG, edge.infer(&body))
                .await
                .expect("held up")
                .status()
                .is_success()
        );
    }
    // Those that go on in the end are answered, too.
    for (mut stream, kind) in slow {
        let rest = match kind {
            2 => text.clone(),
            3 => text[text.len() / 2..].to_owned(),
            _ => continue,
        };
        stream.write_all(rest.as_bytes()).await.unwrap();
        assert!(status(&mut stream).await.contains("200"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closed_and_broken_connections_end() {
    let model = Model::new();
    let (_cloud, edge) = edge(&model).await;
    let text = infer_json(&image(3)).to_string();
    for said in [
        head(text.len()) + &text,
        head(text.len()) + "{",
        head(10),
        "GET /v2".to_owned(),
        "\0\0\0".to_owned(),
    ] {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        // An answer, or an end: the server waits for nothing more.
        let mut rest = Vec::new();
        let _ = timeout(LONG, stream.read_to_end(&mut rest))
            .await
            .expect("the connection stays open");
    }
    for _ in 0..50 {
        let mut stream = UnixStream::connect(&edge.socket).await.unwrap();
        stream
            .write_all((head(text.len()) + &text).as_bytes())
            .await
            .unwrap();
        drop(stream);
    }
    assert!(edge.infer(&infer_json(&image(3))).await.status().is_success());
    let mut stream = UnixStream::connect(&edge.socket).await.unwrap();
    stream
        .write_all((head(text.len()) + &text).as_bytes())
        .await
        .unwrap();
    assert!(status(&mut stream).await.contains("200"));
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_a_file_is_not() {
    use meanet_runtime::server::Listener;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.sock");
    std::mem::forget(Listener::unix(&path).unwrap());
    let again = Listener::unix(&path).unwrap();
    drop(again);
    assert!(!path.exists(), "the socket goes with its server");
    std::fs::write(&path, "precious").unwrap();
    assert!(
        Listener::unix(&path)
            .unwrap_err()
            .to_string()
            .contains("no socket")
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}
