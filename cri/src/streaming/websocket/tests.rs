//! A client's view of the server, on WebSockets.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::streaming::spdy::{Decoder, Encoder, Event, Fin, Headers, StreamId};
use crate::streaming::tests::{ALL, TERMINAL, command, echo, ports_of, serve, shout};
use crate::streaming::{Exit, Run, Wanted};

type Client = WebSocketStream<TcpStream>;

async fn try_connect(url: &str, offer: Option<&str>) -> Result<(Client, Response<Option<Vec<u8>>>), Error> {
    let url = url.replace("http://", "ws://");
    let host = url.strip_prefix("ws://").unwrap().split('/').next().unwrap().to_owned();
    let mut request = url.into_client_request().unwrap();
    if let Some(offer) = offer {
        request.headers_mut().insert("sec-websocket-protocol", offer.parse().unwrap());
    }
    client_async(request, TcpStream::connect(host).await.unwrap()).await
}

async fn connect(url: &str, offer: Option<&str>) -> Client {
    let (client, response) = try_connect(url, offer).await.unwrap();
    let taken = response.headers().get("sec-websocket-protocol").map(|name| name.to_str().unwrap());
    assert_eq!(taken, offer.map(|offer| offer.rsplit(", ").next().unwrap()));
    client
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    Message::Binary([&[channel][..], bytes].concat().into())
}

/// Everything until the end: bytes of each channel, and how the server took its leave.
async fn rest(client: &mut Client) -> (HashMap<u8, Vec<u8>>, Option<CloseCode>) {
    let (mut channels, mut code): (HashMap<u8, Vec<u8>>, _) = (HashMap::new(), None);
    while let Some(message) = client.next().await {
        match message.unwrap() {
            Message::Binary(bytes) => channels.entry(bytes[0]).or_default().extend_from_slice(&bytes[1..]),
            Message::Close(frame) => code = frame.map(|frame| frame.code),
            Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
    (channels, code)
}

fn status(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Version 5: the client says that its input has ended.
#[tokio::test]
async fn exec() {
    let address = serve().await;
    for (code, reason) in [(0, None), (3, Some("NonZeroExitCode"))] {
        let url = address.exec(command(ALL, shout(code))).unwrap();
        let mut client = connect(&url, Some("v9.channel.k8s.io, v5.channel.k8s.io")).await;
        client.send(message(0, b"quiet ")).await.unwrap();
        client.send(Message::Ping(Bytes::new())).await.unwrap();
        client.send(message(0, b"words")).await.unwrap();
        client.send(message(255, &[0])).await.unwrap();
        let (channels, code) = rest(&mut client).await;
        assert_eq!((&channels[&1][..], &channels[&2][..]), (&b"QUIET WORDS"[..], &b"done"[..]));
        assert_eq!(status(&channels[&3])["reason"].as_str(), reason);
        assert_eq!(code, Some(CloseCode::Normal));
    }
}

/// The first thing that a client hears is an empty message on the first channel that it reads.
#[tokio::test]
async fn greeting() {
    let address = serve().await;
    for (wanted, channel) in
        [(ALL, 1), (Wanted { stdout: false, ..ALL }, 2), (Wanted { stdout: false, stderr: false, ..ALL }, 3)]
    {
        let run: Run = Box::new(|_| Box::pin(async { Ok(Exit { code: 0 }) }));
        let url = address.attach(command(wanted, run)).unwrap();
        let mut client = connect(&url, Some("v4.channel.k8s.io")).await;
        assert_eq!(client.next().await.unwrap().unwrap(), message(channel, b""));
    }
}

/// A client that breaks off: the process sees the end of its input, and that nobody reads.
#[tokio::test]
async fn leaving() {
    let (told, heard) = tokio::sync::oneshot::channel::<()>();
    let run: Run = Box::new(|ends| {
        Box::pin(async move {
            let _told = told;
            let _ends = ends;
            std::future::pending().await
        })
    });
    let url = serve().await.exec(command(ALL, run)).unwrap();
    let client = connect(&url, Some("v5.channel.k8s.io")).await;
    drop(client);
    assert!(heard.await.is_err());
}

/// Sizes of a terminal; the end comes although the input is open. Without a version the end is told as text, or not at all.
#[tokio::test]
async fn terminal() {
    let address = serve().await;
    for (offer, code, told) in [
        (None, 0, ""),
        (Some("channel.k8s.io"), 2, "command terminated with exit code 2"),
        (Some("v4.channel.k8s.io"), 0, "{"),
    ] {
        let run: Run = Box::new(move |mut ends| {
            Box::pin(async move {
                let size = ends.sizes.recv().await.unwrap();
                let text = format!("{}x{}", size.width, size.height);
                ends.stdout.unwrap().write_all(text.as_bytes()).await.unwrap();
                Ok(Exit { code })
            })
        });
        let url = address.attach(command(TERMINAL, run)).unwrap();
        let mut client = connect(&url, offer).await;
        client.send(message(4, br#"{"Width":132,"Height":43}"#)).await.unwrap();
        let (channels, _) = rest(&mut client).await;
        assert_eq!(channels[&1], b"132x43");
        let error = channels.get(&3).map(|bytes| String::from_utf8(bytes.clone()).unwrap()).unwrap_or_default();
        assert!(error.starts_with(told) && error.is_empty() == told.is_empty(), "{offer:?}: {error}");
    }
}

#[tokio::test]
async fn base64() {
    let run: Run = Box::new(|ends| {
        Box::pin(async move {
            let mut bytes = [0; 3];
            tokio::io::AsyncReadExt::read_exact(&mut ends.stdin.unwrap(), &mut bytes).await.unwrap();
            ends.stdout.unwrap().write_all(&bytes).await.unwrap();
            Ok(Exit { code: 0 })
        })
    });
    let url = serve().await.exec(command(Wanted { stderr: false, ..ALL }, run)).unwrap();
    let mut client = connect(&url, Some("v4.base64.channel.k8s.io")).await;
    client.send(Message::Text("0YWJj".into())).await.unwrap();
    let mut texts = Vec::new();
    while let Some(Ok(message)) = client.next().await {
        if let Message::Text(text) = message {
            texts.push(text.to_string());
        }
    }
    assert_eq!((texts[0].as_str(), texts[1].as_str()), ("1", "1YWJj"));
    assert!(texts[2].starts_with('3') && texts.len() == 3, "{texts:?}");
}

/// A channel for each port that the call named.
#[tokio::test]
async fn ports() {
    let url = serve().await.port_forward(ports_of(&[80, 81], echo().await)).unwrap();
    let mut client = connect(&url, Some("v4.channel.k8s.io")).await;
    client.send(message(0, b"hello")).await.unwrap();
    let mut channels: HashMap<u8, Vec<u8>> = HashMap::new();
    let complete = |channels: &HashMap<u8, Vec<u8>>| {
        [(0, 7), (1, 2), (2, 2), (3, 3)]
            .iter()
            .all(|(channel, size)| channels.get(channel).is_some_and(|it| it.len() >= *size))
    };
    while !complete(&channels) {
        let Message::Binary(bytes) = client.next().await.unwrap().unwrap() else { panic!("no bytes") };
        channels.entry(bytes[0]).or_default().extend_from_slice(&bytes[1..]);
    }
    assert_eq!((&channels[&0][..], &channels[&1][..]), (&b"\x50\x00hello"[..], &b"\x50\x00"[..]));
    assert_eq!((&channels[&2][..], &channels[&3][..2]), (&b"\x51\x00"[..], &b"\x51\x00"[..]));
    assert_eq!(&channels[&3][2..], b"connect(127.0.0.1:81): ECONNREFUSED");
}

#[tokio::test]
async fn ports_in_a_tunnel() {
    let url = serve().await.port_forward(ports_of(&[], echo().await)).unwrap();
    let mut client = connect(&url, Some("SPDY/3.1+portforward.k8s.io")).await;
    let mut encoder = Encoder::default();
    let mut bytes = BytesMut::new();
    for (stream, kind) in [(1, "error"), (3, "data")] {
        let headers: Headers = [("streamtype", kind), ("port", "80"), ("requestid", "0")].into_iter().collect();
        encoder.syn_stream(&mut bytes, StreamId::new(stream).unwrap(), &headers, Fin::Open);
    }
    encoder.data(&mut bytes, StreamId::new(3).unwrap(), b"hello", Fin::Last);
    // Messages are no frames: they are cut anywhere.
    for piece in bytes.chunks(7) {
        client.send(Message::Binary(piece.to_vec().into())).await.unwrap();
        client.send(Message::Binary(Bytes::new())).await.unwrap();
    }
    let (mut decoder, mut arrived, mut text) = (Decoder::default(), BytesMut::new(), Vec::new());
    'all: loop {
        let Message::Binary(bytes) = client.next().await.unwrap().unwrap() else { panic!("no bytes") };
        arrived.extend_from_slice(&bytes);
        while let Some(event) = decoder.next(&mut arrived).unwrap() {
            if let Event::Data { stream, bytes, fin } = event
                && stream.get() == 3
            {
                text.extend_from_slice(&bytes);
                if fin == Fin::Last {
                    break 'all;
                }
            }
        }
    }
    assert_eq!(text, b"hello!");
    client.close(None).await.unwrap();
}

#[tokio::test]
async fn what_is_refused() {
    let address = serve().await;
    let exec = || address.exec(command(ALL, shout(0))).unwrap();
    let dial = echo().await;
    for (url, offer, expected) in [
        (exec(), "v9.channel.k8s.io", 403),
        (address.port_forward(ports_of(&[], dial)).unwrap(), "v4.channel.k8s.io", 400),
        (address.port_forward(ports_of(&[80], echo().await)).unwrap(), "v5.channel.k8s.io", 403),
        (format!("{}x", exec()), "v5.channel.k8s.io", 404),
    ] {
        match try_connect(&url, Some(offer)).await {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), expected, "{offer}"),
            other => panic!("{other:?}"),
        }
    }
}

/// What is no message of ours, or too large, ends the connection and is not kept.
#[tokio::test]
async fn hostile_messages() {
    let address = serve().await;
    let run = || -> Run { Box::new(|_| Box::pin(std::future::pending())) };
    for (offer, hostile) in [
        ("v5.channel.k8s.io", Message::Binary(Bytes::new())),
        ("v5.channel.k8s.io", message(255, b"")),
        ("v5.channel.k8s.io", message(0, &vec![0; super::MESSAGE_LIMIT])),
        ("v4.base64.channel.k8s.io", Message::Text("0!".into())),
    ] {
        let url = address.exec(command(ALL, run())).unwrap();
        let mut client = connect(&url, Some(offer)).await;
        // The server may have hung up before all was sent.
        let _ = client.send(hostile).await;
        while let Some(Ok(message)) = client.next().await {
            assert!(message.len() <= 2, "{message:?}");
        }
    }
}

/// Data on channels that are none of the client's is dropped.
#[tokio::test]
async fn channels_of_nobody() {
    let url = serve().await.exec(command(ALL, shout(0))).unwrap();
    let mut client = connect(&url, Some("v5.channel.k8s.io")).await;
    for channel in [1, 3, 4, 9, 254] {
        client.send(message(channel, b"?")).await.unwrap();
        client.send(message(255, &[channel])).await.unwrap();
    }
    client.send(message(0, b"x")).await.unwrap();
    client.send(message(255, &[0])).await.unwrap();
    assert_eq!(rest(&mut client).await.0[&1], b"X");
}

/// A process that writes much for a client that writes much: neither waits for the other.
#[tokio::test]
async fn both_ways_at_once() {
    const SIZE: usize = 4 << 20;
    let run: Run = Box::new(|ends| {
        Box::pin(async move {
            let (mut stdin, mut stdout) = (ends.stdin.unwrap(), ends.stdout.unwrap());
            tokio::io::copy(&mut stdin, &mut stdout).await.unwrap();
            Ok(Exit { code: 0 })
        })
    });
    let url = serve().await.exec(command(Wanted { stderr: false, ..ALL }, run)).unwrap();
    let client = connect(&url, Some("v5.channel.k8s.io")).await;
    let (mut to, mut from) = client.split();
    let sending = tokio::spawn(async move {
        for _ in 0..SIZE / (32 << 10) {
            to.send(message(0, &[b'x'; 32 << 10])).await.unwrap();
        }
        to.send(message(255, &[0])).await.unwrap();
        // Not dropped: the connection is both halves.
        to
    });
    let mut size = 0;
    while let Some(Ok(message)) = from.next().await {
        if let Message::Binary(bytes) = message
            && bytes[0] == 1
        {
            size += bytes.len() - 1;
        }
    }
    assert_eq!(size, SIZE);
    drop(sending.await.unwrap());
}
