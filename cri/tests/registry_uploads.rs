//! Pushing to registries that do not take a layer in one request: chunks, and going on after a cut. And what tags there are.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;
mod registry_script;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cri::image::registry::{Config, Credentials, Lookup, PushOptions, Pushed, Registry};
use cri::image::{Cancel, Digest, Error, LoadOptions, Source};
use image_layout::is_root;
use registry_script::distribution::Distribution;
use registry_script::stage::Stage;
use registry_script::{Answer, Request, Server, refusal};

/// The large blob has seven chunks of these.
const CHUNK: usize = 64 << 10;

fn nobody() -> Lookup {
    Arc::new(|_| Ok(Credentials::Anonymous))
}

fn push(stage: &Stage, host: &str) -> Result<Pushed, Error> {
    let store = stage.store();
    let path = Source::Path(stage.scratch.path().join("layout"));
    let loaded = store.load(path, &LoadOptions::default(), &mut |_| {}).unwrap().remove(0);
    let options = PushOptions { image: loaded.id.short().into(), credentials: nobody(), cancel: Cancel::new() };
    // Slow because much else runs is not standing still.
    let idle_timeout = Duration::from_secs(30);
    let registry = Registry::new(Config { chunk_bytes: CHUNK as u64, idle_timeout, ..stage.config() }).unwrap();
    store.push(&registry, &format!("{host}/app:2").parse().unwrap(), &options, &mut |_| {})
}

/// A registry that takes uploads of its blobs as the specification says, in requests of at most `most` bytes.
struct Uploads {
    most: usize,
    /// The uploads by number: what is there of each.
    there: Mutex<Vec<Vec<u8>>>,
    blobs: Mutex<Vec<Vec<u8>>>,
}

impl Uploads {
    fn new(most: usize) -> Arc<Uploads> {
        Arc::new(Uploads { most, there: Mutex::default(), blobs: Mutex::default() })
    }

    /// Takes the first `taken` bytes of what is sent.
    fn answer(&self, request: &Request, taken: usize) -> Answer {
        let mut there = self.there.lock().unwrap();
        let upload = request.target.split_once("/up/").map(|(_, rest)| rest.split('?').next().unwrap());
        let number = upload.and_then(|text| text.parse().ok()).unwrap_or(0usize);
        let place = |number: usize, state: usize| format!("/v2/app/blobs/up/{number}?state={state}");
        if request.body.len() > self.most {
            return refusal(413, "SIZE_INVALID", "too large");
        }
        match request.method.as_str() {
            "HEAD" => Answer::new(404, ""),
            "POST" => {
                there.push(Vec::new());
                Answer::new(202, "").header("location", place(there.len() - 1, 0))
            }
            "PATCH" => {
                let first = request.header("content-range").unwrap().split_once('-').unwrap().0;
                let upload = &mut there[number];
                let stale = !request.target.ends_with(&format!("state={}", upload.len()));
                if first.parse::<usize>().unwrap() != upload.len() || stale {
                    return refusal(416, "BLOB_UPLOAD_INVALID", "out of order");
                }
                upload.extend_from_slice(&request.body[..request.body.len().min(taken)]);
                self.progress(202, number, upload)
            }
            "GET" => self.progress(204, number, &there[number]),
            "PUT" if request.target.contains("/manifests/") => Answer::new(201, ""),
            "PUT" => {
                there[number].extend_from_slice(&request.body);
                let digest = request.target.split_once("digest=sha256%3A").unwrap().1;
                assert_eq!(Digest::of(&there[number]).hex(), digest);
                self.blobs.lock().unwrap().push(there[number].clone());
                Answer::new(201, "")
            }
            other => panic!("{other}"),
        }
    }

    fn progress(&self, status: u16, number: usize, upload: &[u8]) -> Answer {
        Answer::new(status, "")
            .header("location", format!("/v2/app/blobs/up/{number}?state={}", upload.len()))
            .header("range", format!("0-{}", upload.len().saturating_sub(1)))
    }
}

/// First and last byte of each chunk.
fn chunks(server: &Server) -> Vec<(usize, usize)> {
    let all = server.requests();
    let ranges = all.iter().filter(|request| request.method == "PATCH").map(|request| {
        let (first, last) = request.header("content-range").unwrap().split_once('-').unwrap();
        assert_eq!(request.header("content-length"), Some(request.body.len().to_string().as_str()));
        (first.parse().unwrap(), last.parse().unwrap())
    });
    ranges.collect()
}

#[test]
fn root_what_is_too_large_is_sent_in_chunks() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let uploads = Uploads::new(CHUNK);
    let own = Arc::clone(&uploads);
    let server = Server::start(move |request| own.answer(request, usize::MAX));
    push(&stage, &server.host()).unwrap();
    let size = stage.blob.len();
    let expected: Vec<_> = (0..size).step_by(CHUNK).map(|first| (first, size.min(first + CHUNK) - 1)).collect();
    assert_eq!(chunks(&server), expected);
    assert!(uploads.blobs.lock().unwrap().contains(&stage.blob));
    // What needs no chunks is sent at once.
    let stage = Stage::new();
    let uploads = Uploads::new(usize::MAX);
    let own = Arc::clone(&uploads);
    let server = Server::start(move |request| own.answer(request, usize::MAX));
    push(&stage, &server.host()).unwrap();
    assert_eq!(chunks(&server), []);
}

#[test]
fn root_an_upload_that_is_cut_goes_on() {
    if !is_root() {
        return;
    }
    // The whole is cut, then a chunk, once without an answer and once with one: parts of it are there.
    for (cut, answer) in [(0, None), (2, None), (2, Some(502)), (6, None), (6, Some(503))] {
        for taken in [0, 1000] {
            let stage = Stage::new();
            let uploads = Uploads::new(usize::MAX);
            let (own, patches) = (Arc::clone(&uploads), Mutex::new(0));
            let server = Server::start(move |request| {
                if request.method == "PUT" && request.body.len() > CHUNK {
                    return Answer::none();
                }
                let mut patches = patches.lock().unwrap();
                let cuts = request.method == "PATCH" && *patches == cut;
                *patches += usize::from(request.method == "PATCH");
                match cuts {
                    false => own.answer(request, usize::MAX),
                    true => {
                        own.answer(request, taken);
                        answer.map_or_else(Answer::none, |status| Answer::new(status, ""))
                    }
                }
            });
            push(&stage, &server.host()).unwrap();
            let sent = chunks(&server);
            assert_eq!(sent.len(), 8, "{sent:?}");
            assert_eq!(sent[cut + 1].0, cut * CHUNK + taken, "{cut}: {sent:?}");
            assert!(uploads.blobs.lock().unwrap().contains(&stage.blob));
        }
    }
}

#[test]
fn root_uploads_that_go_wrong_are_told() {
    if !is_root() {
        return;
    }
    type Row = (&'static str, fn(&Request, Answer) -> Answer, Result<(), &'static str>);
    let rows: [Row; 6] = [
        // Without chunks it is tried as a whole again, and that answer is told.
        ("no chunks", |_, _| Answer::new(405, ""), Err("PUT http://127.0.0.1")),
        (
            "too large still",
            |_, _| refusal(413, "SIZE_INVALID", "too large"),
            Err("413 Payload Too Large: SIZE_INVALID"),
        ),
        (
            "more than was sent",
            |_, answer| Answer { headers: Vec::new(), ..answer }.header("range", "0-999999"),
            Err("has 1000000 bytes after bytes 0 to 65535 were sent to it"),
        ),
        ("nothing of what it has", |_, answer| Answer { headers: answer.headers[..1].to_vec(), ..answer }, Ok(())),
        (
            "another scheme",
            |_, answer| Answer { headers: Vec::new(), ..answer }.header("location", "ftp://x/y"),
            Err("PATCH ftp://x/y"),
        ),
        (
            "no address",
            |_, answer| Answer { headers: Vec::new(), ..answer }.header("location", "http://"),
            Err("is no address"),
        ),
    ];
    for (what, lie, expected) in rows {
        let stage = Stage::new();
        let uploads = Uploads::new(CHUNK);
        let own = Arc::clone(&uploads);
        let server = Server::start(move |request| {
            let answer = own.answer(request, usize::MAX);
            if request.method == "PATCH" { lie(request, answer) } else { answer }
        });
        match (push(&stage, &server.host()), expected) {
            (Ok(_), Ok(())) => assert!(uploads.blobs.lock().unwrap().contains(&stage.blob), "{what}"),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{what}: {error}"),
            (result, _) => panic!("{what}: {result:?}"),
        }
    }
}

/// Passes a request on.
fn forward(request: &Request, host: &str) -> Answer {
    let mut stream = TcpStream::connect(host).unwrap();
    let mut head = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", request.method, request.target);
    for (name, value) in request.headers.iter().filter(|(name, _)| *name != "connection") {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"\r\n").unwrap();
    stream.write_all(&request.body).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut answer = Answer::new(head.split(' ').nth(1).unwrap().parse().unwrap(), &bytes[end + 4..]);
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        if !["content-length", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
            answer = answer.header(name, value);
        }
    }
    answer
}

#[test]
fn root_dockers_registry_takes_chunks_and_tells_its_tags() {
    if !is_root() {
        return;
    }
    let Some(registry) = Distribution::start("", "") else { return };
    let stage = Stage::new();
    let (host, cut) = (registry.host.clone(), Mutex::new(0));
    // In front of it is somebody who passes on small requests only, and forgets an answer.
    let server = Server::start(move |request| {
        if request.body.len() > CHUNK {
            return refusal(413, "SIZE_INVALID", "too large");
        }
        let answer = forward(request, &host);
        let mut cut = cut.lock().unwrap();
        *cut += usize::from(request.method == "PATCH");
        if *cut == 3 && request.method == "PATCH" { Answer::none() } else { answer }
    });
    push(&stage, &server.host()).unwrap();
    // It has thrown away the upload whose answer was lost: another one has all chunks.
    let sent = chunks(&server);
    assert_eq!((sent.len(), sent[3].0), (10, 0), "{sent:?}");
    // Pulled back, as it was.
    let client = Registry::new(stage.config()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let store = cri::image::Store::open(scratch.path()).unwrap();
    let name = format!("{}/app:2", registry.host).parse().unwrap();
    store.pull(&client, &name, &registry_script::stage::anonymous(), &mut |_| {}).unwrap();
    let tags = client.tags(&name, &nobody(), &Cancel::new()).unwrap();
    assert_eq!(tags, [name]);
    let absent = format!("{}/absent", registry.host).parse().unwrap();
    let error = client.tags(&absent, &nobody(), &Cancel::new()).unwrap_err().to_string();
    assert!(error.contains("/v2/absent/tags/list") && error.contains("404"), "{error}");
}

#[test]
fn tags_come_in_pages_of_one_host() {
    let config = Config { retries: 0, ..Config::default() };
    let tags = |server: &Server| {
        let client = Registry::new(config.clone()).unwrap();
        let found = client.tags(&format!("{}/app", server.host()).parse().unwrap(), &nobody(), &Cancel::new());
        found.map(|tags| tags.iter().map(|name| name.tag().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let server = Server::start(|request| match request.target.contains("last=b") {
        false => Answer::new(200, r#"{"name":"app","tags":["a","b"]}"#)
            .header("link", r#"</v2/app/tags/list?n=1000&last=b>; rel="next""#),
        true => Answer::new(200, r#"{"name":"app","tags":["c"]}"#),
    });
    assert_eq!(tags(&server).unwrap(), ["a", "b", "c"]);
    assert_eq!(server.log(), ["GET /v2/app/tags/list?n=1000", "GET /v2/app/tags/list?n=1000&last=b"]);
    let rows: [(Answer, &str); 5] = [
        (Answer::new(200, "<html>"), "the answer is no list of tags"),
        (Answer::new(200, r#"{"tags":["../x"]}"#), "\"../x\" is no tag"),
        (
            Answer::new(200, r#"{"tags":["a"]}"#).header("link", r#"<http://localhost:1/x>; rel="next""#),
            "its list goes on at another host, which is refused",
        ),
        // It never ends.
        (
            Answer::new(200, format!(r#"{{"tags":["{}"]}}"#, vec!["a"; 3000].join("\",\"")))
                .header("link", r#"</v2/app/tags/list?n=1000>; rel="next""#),
            "more than 10000 tags",
        ),
        (refusal(403, "DENIED", "no"), "403 Forbidden: DENIED: no"),
    ];
    for (answer, expected) in rows {
        let server = Server::start(move |_| answer.clone());
        let error = tags(&server).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("/v2/app/tags/list"), "{error}");
    }
    let server = Server::start(|_| Answer::new(200, r#"{"name":"app","tags":null}"#));
    assert_eq!(tags(&server).unwrap(), [""; 0]);
}
