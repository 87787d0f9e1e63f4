//! How far a server may be ahead of whoever reads its answers.

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::wire::{UNREAD_MAX, UNREAD_OF_CONNECTION_MAX, UNREAD_OF_STREAM_MAX};
use super::tls::{endpoint_of, tls_acceptor};
use super::*;

/// More than a server must get rid of before it is read.
const BODY: usize = 4 << 20;

fn list() -> HttpRequest<Body> {
    HttpRequest::get("/api/v1/services")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn an_answer_over_http1_comes_in_pieces_that_fit_into_a_small_buffer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        // A request has no more than one packet.
        assert_ne!(socket.read(&mut [0; 4096]).await.unwrap(), 0);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&vec![b' '; BODY]).await.unwrap();
        socket
    });
    let connection = Connection {
        server: Server::Endpoint {
            url: url.into(),
            tls: None,
        },
        limits: Limits::default(),
    };
    let client = connection.client(Arc::new(()), Pace::default()).unwrap();
    let mut body = client.send(list()).await.unwrap().into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        // What a buffer grows to is up to twice of what it must hold.
        assert!(piece.len() <= 2 * UNREAD_MAX, "{}", piece.len());
        read += piece.len();
    }
    assert_eq!(read, BODY);
}

/// What an HTTP/2 client says of its windows when it connects (RFC 9113 sections 3.4, 6.5 and 6.9): that of a stream, and
/// that of the connection.
async fn windows(mut client: impl AsyncReadExt + Unpin) -> (u32, u32) {
    const PREFACE: usize = 24;
    const SETTINGS: u8 = 4;
    const INITIAL_WINDOW_SIZE: u16 = 4;
    const WINDOW_UPDATE: u8 = 8;
    let mut preface = [0; PREFACE];
    client.read_exact(&mut preface).await.unwrap();
    // Of the connection, before it is updated.
    let (mut stream, mut connection) = (None, 65_535);
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        client.read_exact(&mut payload).await.unwrap();
        match head[3] {
            SETTINGS => {
                let settings = payload.as_chunks::<6>().0.iter();
                let mut window =
                    settings.filter(|setting| setting[..2] == INITIAL_WINDOW_SIZE.to_be_bytes());
                stream = window
                    .next()
                    .map(|s| u32::from_be_bytes([s[2], s[3], s[4], s[5]]));
            }
            WINDOW_UPDATE => {
                connection += u32::from_be_bytes(payload.try_into().unwrap());
                return (stream.expect("settings come first"), connection);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_server_that_speaks_http2_is_told_how_far_it_may_be_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = tls_acceptor(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let client = endpoint_of(url, folder.path().join("ca.crt"));
    let client = client.client(Arc::new(()), Pace::default()).unwrap();
    let asked = tokio::spawn(async move { client.send(list()).await });
    let (socket, _) = listener.accept().await.unwrap();
    let told = windows(acceptor.accept(socket).await.unwrap()).await;
    assert_eq!(told, (UNREAD_OF_STREAM_MAX, UNREAD_OF_CONNECTION_MAX));
    asked.abort();
}
