use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

fn id(number: u32) -> StreamId {
    StreamId::new(number).unwrap()
}

fn headers(items: &[(&str, &str)]) -> Headers {
    items.iter().copied().collect()
}

/// All events of some bytes that arrive in pieces.
fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Event>, Error> {
    let (mut decoder, mut input, mut events) = (Decoder::default(), BytesMut::new(), Vec::new());
    for part in bytes.chunks(piece.max(1)) {
        input.put_slice(part);
        while let Some(event) = decoder.next(&mut input)? {
            events.push(event);
        }
    }
    Ok(events)
}

/// Pieces of one stream's data put together again.
fn joined(events: Vec<Event>) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    for event in events {
        match (all.last_mut(), event) {
            (
                Some(Event::Data { stream, bytes, fin: fin @ Fin::Open }),
                Event::Data { stream: same, bytes: more, fin: last },
            ) if *stream == same => {
                *bytes = [&bytes[..], &more[..]].concat().into();
                *fin = last;
            }
            (_, event) => all.push(event),
        }
    }
    all
}

/// What `kubectl exec -it` begins with, as a Go client (moby/spdystream, zlib of the Go standard library) wrote it.
#[test]
fn a_stream_opened_by_a_go_client() {
    let bytes = include_bytes!("exec_by_go.bin");
    let events = decode(bytes, 7).unwrap();
    let types: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::SynStream { stream, headers, fin: Fin::Open, unidirectional: false } => {
                (stream.get(), headers.get("streamtype").unwrap().to_owned())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "resize")];
    assert_eq!(types, expected.map(|(stream, kind)| (stream, kind.to_owned())));
}

#[test]
fn every_frame_comes_back() {
    let mut encoder = Encoder::default();
    let mut bytes = BytesMut::new();
    let first = headers(&[("streamtype", "data"), ("port", "80"), ("requestid", "0")]);
    let second = headers(&[("streamtype", "error"), ("port", "80"), ("requestid", "0")]);
    encoder.syn_stream(&mut bytes, id(1), &first, Fin::Last);
    encoder.syn_stream(&mut bytes, id(3), &second, Fin::Open);
    encoder.syn_reply(&mut bytes, id(1), &Headers::default(), Fin::Open);
    encoder.data(&mut bytes, id(1), b"hello", Fin::Open);
    encoder.data(&mut bytes, id(1), b"", Fin::Last);
    encoder.rst_stream(&mut bytes, id(3), Reset::Cancel);
    encoder.ping(&mut bytes, 7);
    encoder.go_away(&mut bytes, Some(id(3)));
    let expected = vec![
        Event::SynStream { stream: id(1), headers: first, fin: Fin::Last, unidirectional: false },
        Event::SynStream { stream: id(3), headers: second, fin: Fin::Open, unidirectional: false },
        Event::SynReply { stream: id(1), headers: Headers::default(), fin: Fin::Open },
        Event::Data { stream: id(1), bytes: "hello".into(), fin: Fin::Open },
        Event::Data { stream: id(1), bytes: "".into(), fin: Fin::Last },
        Event::RstStream { stream: id(3), status: Reset::Cancel },
        Event::Ping(7),
        Event::GoAway { last: Some(id(3)) },
    ];
    for piece in [1, 3, 8, 9, 64, bytes.len()] {
        // An empty last frame is an event of its own only if it does not come with other data.
        assert_eq!(joined(decode(&bytes, piece).unwrap()), joined(expected.clone()), "{piece}");
    }
}

/// A frame that is larger than all memory we would give it is passed on as it comes.
#[test]
fn data_is_not_gathered() {
    let mut decoder = Decoder::default();
    let mut input = BytesMut::from(&[0, 0, 0, 1, FLAG_FIN, 0xff, 0xff, 0xff][..]);
    assert_eq!(decoder.next(&mut input), Ok(None));
    let mut left = LENGTH_LIMIT;
    while left > 0 {
        let piece = left.min(50_000);
        input.put_bytes(b'x', piece);
        left -= piece;
        let fin = if left == 0 { Fin::Last } else { Fin::Open };
        let expected = Event::Data { stream: id(1), bytes: vec![b'x'; piece].into(), fin };
        assert_eq!(decoder.next(&mut input), Ok(Some(expected)));
        assert!(input.is_empty());
    }
}

#[test]
fn what_breaks_the_protocol() {
    let frame = |head: [u8; 8], payload: &[u8]| [&head[..], payload].concat();
    let block = |plain: &[u8]| {
        let mut zlib = flate2::Compress::new(flate2::Compression::default(), true);
        zlib.set_dictionary(&dictionary::dictionary()).unwrap();
        let mut block = Vec::with_capacity(plain.len() + 1000);
        zlib.compress_vec(plain, &mut block, flate2::FlushCompress::Sync).unwrap();
        let length = u32::try_from(block.len() + 4).unwrap().to_be_bytes();
        frame([0x80, 3, 0, 2, 0, length[1], length[2], length[3]], &[&[0, 0, 0, 1][..], &block].concat())
    };
    let bomb = vec![0u8; HEADERS_LIMIT + 4096];
    let table = [
        (frame([0x80, 2, 0, 6, 0, 0, 0, 4], &[0; 4]), Error::Version(2)),
        (frame([0, 0, 0, 0, 0, 0, 0, 1], &[0]), Error::Stream { frame: "DATA" }),
        (frame([0x80, 3, 0, 2, 0, 1, 0, 1], &[]), Error::TooLong { length: 65537, allowed: CONTROL_LIMIT }),
        (frame([0x80, 3, 0, 6, 0, 0, 0, 3], &[0; 3]), Error::Length { frame: "PING", length: 3 }),
        (frame([0x80, 3, 0, 6, 0, 0, 0, 5], &[0; 5]), Error::Length { frame: "PING", length: 5 }),
        (frame([0x80, 3, 0, 1, 0, 0, 0, 9], &[1; 9]), Error::Length { frame: "SYN_STREAM", length: 9 }),
        (frame([0x80, 3, 0, 3, 0, 0, 0, 8], &[0; 8]), Error::Stream { frame: "RST_STREAM" }),
        (block(&[0, 0, 0, 1]), Error::Headers("it ends within a number")),
        (block(&[0, 0, 0, 1, 0, 0, 0, 9, b'a']), Error::Headers("it ends within a text")),
        (block(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Error::Headers("a name is empty")),
        (block(&[0, 0, 0, 1, 0, 0, 0, 1, b'A', 0, 0, 0, 0]), Error::Headers("a name has upper-case letters")),
        (block(&[0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0, 0, 0, 0]), Error::Headers("a text is not UTF-8")),
        (block(&[0, 0, 0, 0, 9]), Error::Headers("more bytes than it says")),
        (block(&bomb), Error::HeadersTooLong(HEADERS_LIMIT)),
    ];
    for (bytes, expected) in table {
        assert_eq!(decode(&bytes, 1000), Err(expected));
    }
    let twice = [0, 0, 0, 2, 0, 0, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 0, 0];
    assert_eq!(decode(&block(&twice), 1000), Err(Error::Headers("a name comes twice")));
    let garbage = frame([0x80, 3, 0, 2, 0, 0, 0, 8], &[0, 0, 0, 1, 1, 2, 3, 4]);
    assert!(matches!(decode(&garbage, 1000), Err(Error::Compression(_))));
}

#[test]
fn unknown_control_frames_are_passed_over() {
    let mut bytes = BytesMut::from(&[0x80, 3, 0, 99, 0, 0, 0, 2, 1, 2][..]);
    Encoder::default().ping(&mut bytes, 1);
    assert_eq!(decode(&bytes, 1), Ok(vec![Event::Ping(1)]));
}

fn any_headers() -> impl Strategy<Value = Headers> {
    prop::collection::vec(("[a-z0-9-]{1,20}", ".{0,40}"), 0..12).prop_map(|items| items.into_iter().collect())
}

fn any_fin() -> impl Strategy<Value = Fin> {
    prop_oneof![Just(Fin::Open), Just(Fin::Last)]
}

fn any_event() -> impl Strategy<Value = Event> {
    let stream = || (1u32..1 << 31).prop_map(id);
    prop_oneof![
        (stream(), any_headers(), any_fin()).prop_map(|(stream, headers, fin)| Event::SynStream {
            stream,
            headers,
            fin,
            unidirectional: false
        }),
        (stream(), any_headers(), any_fin()).prop_map(|(stream, headers, fin)| Event::SynReply {
            stream,
            headers,
            fin
        }),
        (stream(), prop::collection::vec(any::<u8>(), 0..300), any_fin())
            .prop_map(|(stream, bytes, fin)| Event::Data { stream, bytes: bytes.into(), fin }),
        (stream(), any::<u32>()).prop_map(|(stream, status)| Event::RstStream { stream, status: Reset::of(status) }),
        any::<u32>().prop_map(Event::Ping),
        prop::option::of(stream()).prop_map(|last| Event::GoAway { last }),
    ]
}

fn encode(encoder: &mut Encoder, bytes: &mut BytesMut, event: &Event) {
    match event {
        Event::SynStream { stream, headers, fin, .. } => encoder.syn_stream(bytes, *stream, headers, *fin),
        Event::SynReply { stream, headers, fin } => encoder.syn_reply(bytes, *stream, headers, *fin),
        Event::Data { stream, bytes: data, fin } => encoder.data(bytes, *stream, data, *fin),
        Event::RstStream { stream, status } => encoder.rst_stream(bytes, *stream, *status),
        Event::Ping(number) => encoder.ping(bytes, *number),
        Event::GoAway { last } => encoder.go_away(bytes, *last),
        Event::Headers { .. } | Event::WindowUpdate { .. } | Event::Settings => {}
    }
}

proptest! {
    #[test]
    fn round_trip(events in prop::collection::vec(any_event(), 0..20), piece in 1usize..500) {
        let (mut encoder, mut bytes) = (Encoder::default(), BytesMut::new());
        for event in &events {
            encode(&mut encoder, &mut bytes, event);
        }
        prop_assert_eq!(joined(decode(&bytes, piece).unwrap()), joined(events));
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1usize..500) {
        let _ = decode(&bytes, piece);
    }

    /// Frames that are nearly right.
    #[test]
    fn never_panics_on_damage(events in prop::collection::vec(any_event(), 1..8), at in any::<prop::sample::Index>(), to: u8) {
        let (mut encoder, mut bytes) = (Encoder::default(), BytesMut::new());
        for event in &events {
            encode(&mut encoder, &mut bytes, event);
        }
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode(&bytes, 100);
    }
}

mod connection {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// The client's side of a connection: what it says is encoded, what it hears decoded.
    struct Client {
        socket: DuplexStream,
        encoder: Encoder,
        decoder: Decoder,
        arrived: BytesMut,
    }

    impl Client {
        fn connect(buffer: usize) -> (Client, Connection) {
            let (socket, other) = duplex(buffer);
            let client =
                Client { socket, encoder: Encoder::default(), decoder: Decoder::default(), arrived: BytesMut::new() };
            (client, Connection::start(other, BytesMut::new()))
        }

        async fn say(&mut self, events: &[Event]) {
            let mut bytes = BytesMut::new();
            for event in events {
                encode(&mut self.encoder, &mut bytes, event);
            }
            self.socket.write_all(&bytes).await.unwrap();
        }

        /// The next event; `None`: the server closed.
        async fn hear(&mut self) -> Option<Event> {
            loop {
                if let Some(event) = self.decoder.next(&mut self.arrived).unwrap() {
                    return Some(event);
                }
                if self.socket.read_buf(&mut self.arrived).await.unwrap() == 0 {
                    return None;
                }
            }
        }
    }

    fn open(stream: u32, kind: &str) -> Event {
        let headers = headers(&[("streamtype", kind)]);
        Event::SynStream { stream: id(stream), headers, fin: Fin::Open, unidirectional: false }
    }

    fn data(stream: u32, text: &str, fin: Fin) -> Event {
        Event::Data { stream: id(stream), bytes: text.to_owned().into(), fin }
    }

    fn reply(stream: u32) -> Event {
        Event::SynReply { stream: id(stream), headers: Headers::default(), fin: Fin::Open }
    }

    #[tokio::test]
    async fn streams_both_ways() {
        let (mut client, mut server) = Client::connect(100);
        client.say(&[open(1, "error"), open(3, "stdin")]).await;
        let error = server.accept().await.unwrap();
        let mut stdin = server.accept().await.unwrap();
        assert_eq!(error.headers.get("streamtype"), Some("error"));
        assert_eq!((client.hear().await, client.hear().await), (Some(reply(1)), Some(reply(3))));
        client.say(&[data(3, "input", Fin::Open), data(3, "", Fin::Last), Event::Ping(5)]).await;
        assert_eq!(stdin.reader.next().await, Some(Ok("input".into())));
        assert_eq!(stdin.reader.next().await, None);
        assert_eq!(client.hear().await, Some(Event::Ping(5)));
        stdin.writer.write("output".into()).await.unwrap();
        stdin.writer.finish().await.unwrap();
        assert_eq!(client.hear().await, Some(data(3, "output", Fin::Open)));
        assert_eq!(client.hear().await, Some(data(3, "", Fin::Last)));
        let closing = tokio::spawn(server.close());
        assert_eq!(client.hear().await, Some(Event::GoAway { last: Some(id(3)) }));
        assert_eq!(client.hear().await, None);
        drop(client);
        closing.await.unwrap();
    }

    /// What a client still sends when all is said does not keep it from hearing the end.
    #[tokio::test]
    async fn a_client_that_goes_on_sending() {
        let (mut client, mut server) = Client::connect(64);
        client.say(&[open(1, "error"), open(3, "stdin")]).await;
        let error = server.accept().await.unwrap();
        let _stdin = server.accept().await.unwrap();
        error.writer.write("status".into()).await.unwrap();
        let closing = tokio::spawn(server.close());
        let Client { socket, mut encoder, decoder, arrived } = client;
        let (mut hearing, mut saying) = tokio::io::split(socket);
        let sender = tokio::spawn(async move {
            let mut bytes = BytesMut::new();
            encode(&mut encoder, &mut bytes, &data(3, &"x".repeat(1 << 20), Fin::Open));
            // Until the server hangs up.
            let _ = saying.write_all(&bytes).await;
        });
        let (mut decoder, mut arrived, mut heard) = (decoder, arrived, Vec::new());
        while hearing.read_buf(&mut arrived).await.unwrap() > 0 {
            while let Some(event) = decoder.next(&mut arrived).unwrap() {
                heard.push(event);
            }
        }
        assert!(heard.contains(&data(1, "status", Fin::Open)), "{heard:?}");
        closing.await.unwrap();
        sender.abort();
    }

    #[tokio::test]
    async fn a_reset_ends_the_reader() {
        let (mut client, mut server) = Client::connect(1000);
        client.say(&[open(1, "data"), Event::RstStream { stream: id(1), status: Reset::Cancel }]).await;
        let mut stream = server.accept().await.unwrap();
        assert_eq!(stream.reader.next().await, Some(Err(Closed::Reset(Reset::Cancel))));
        assert_eq!(stream.reader.next().await, None);
    }

    #[tokio::test]
    async fn a_client_that_goes() {
        let (mut client, mut server) = Client::connect(1000);
        client.say(&[open(1, "data")]).await;
        let mut stream = server.accept().await.unwrap();
        drop(client);
        assert_eq!(stream.reader.next().await, Some(Err(Closed::ByClient)));
        assert!(server.accept().await.is_none());
        server.close().await;
    }

    #[tokio::test]
    async fn numbers_must_grow() {
        for wrong in [1, 2] {
            let (mut client, mut server) = Client::connect(1000);
            client.say(&[open(1, "data")]).await;
            let mut first = server.accept().await.unwrap();
            client.say(&[open(wrong, "data")]).await;
            assert_eq!(first.reader.next().await, Some(Err(Closed::Number(wrong))));
            assert!(server.accept().await.is_none());
        }
    }

    #[tokio::test]
    async fn data_for_nobody() {
        let (mut client, _server) = Client::connect(1000);
        client.say(&[data(9, "?", Fin::Open)]).await;
        assert_eq!(client.hear().await, Some(Event::RstStream { stream: id(9), status: Reset::InvalidStream }));
    }

    /// More streams than are allowed at a time are refused; those that ended make room.
    #[tokio::test]
    async fn too_many_streams() {
        let (mut client, mut server) = Client::connect(1 << 20);
        let mut kept = Vec::new();
        for number in 0..1024u32 {
            client.say(&[open(2 * number + 1, "data")]).await;
            kept.push(server.accept().await.unwrap());
            assert_eq!(client.hear().await, Some(reply(2 * number + 1)));
        }
        client.say(&[open(2049, "data")]).await;
        assert_eq!(client.hear().await, Some(Event::RstStream { stream: id(2049), status: Reset::Refused }));
        kept.pop();
        client.say(&[open(2051, "data")]).await;
        assert_eq!(client.hear().await, Some(reply(2051)));
    }

    /// Nobody reads the stream: the client cannot make us keep more than its queue and what is under way.
    #[tokio::test]
    async fn memory_is_bounded() {
        let (mut client, mut server) = Client::connect(1000);
        client.say(&[open(1, "stdin")]).await;
        let _unread = server.accept().await.unwrap();
        let mut bytes = BytesMut::new();
        encode(&mut client.encoder, &mut bytes, &data(1, &"x".repeat(8 << 20), Fin::Open));
        let mut sent = 0;
        // A write that does not end within the time finds a server that takes no more.
        while let Ok(written) =
            tokio::time::timeout(Duration::from_millis(200), client.socket.write(&bytes[sent..])).await
        {
            sent += written.unwrap();
        }
        assert!(sent < 1 << 20, "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn idle() {
        let (mut client, server) = Client::connect(1000);
        let start = tokio::time::Instant::now();
        tokio::time::advance(Duration::from_secs(50)).await;
        client.say(&[Event::Ping(1)]).await;
        assert_eq!(client.hear().await, Some(Event::Ping(1)));
        server.activity().idle(Duration::from_secs(60)).await;
        assert!(start.elapsed() >= Duration::from_secs(110), "{:?}", start.elapsed());
    }
}
