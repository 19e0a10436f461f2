//! A registry on 127.0.0.1 that answers as the test says, also as no good registry would.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(unreachable_pub, missing_docs, reason = "a module of test programs")]

pub mod distribution;
pub mod stage;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use cri::image::Digest;

/// What a client asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// First and last byte of `range: bytes=FIRST-LAST`; no last: to the end.
    pub fn range(&self) -> Option<(usize, Option<usize>)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()))
    }
}

/// What the client gets.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The announced length, if it is not that of the body; `None`: none is announced, the end of the connection counts.
    pub length: Option<usize>,
    /// Sent after the body, as long as the client takes it.
    pub tail: Tail,
}

/// What comes after the body.
#[derive(Clone)]
pub enum Tail {
    /// Nothing; the connection goes on.
    Keep,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing, and the connection stays open, until the test is over.
    Hang,
    /// Bytes without end.
    Endless,
}

impl Answer {
    /// The connection is closed instead.
    pub fn none() -> Answer {
        Answer::new(0, "")
    }

    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        let body = body.into();
        Answer { status, headers: Vec::new(), length: Some(body.len()), body, tail: Tail::Keep }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn tail(mut self, tail: Tail) -> Answer {
        self.tail = tail;
        self
    }

    pub fn announce(mut self, length: Option<usize>) -> Answer {
        self.length = length;
        self
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

pub struct Server {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    /// Those that are open: a connection is reset when nobody else has it.
    streams: Arc<Mutex<Vec<Weak<TcpStream>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Handler> = Arc::new(handler);
        let (noted, stop, open) = (Arc::clone(&requests), Arc::clone(&ended), Arc::clone(&streams));
        let thread = std::thread::spawn(move || {
            let mut threads = Vec::new();
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let stream = Arc::new(stream.unwrap());
                open.lock().unwrap().push(Arc::downgrade(&stream));
                let (handler, noted) = (Arc::clone(&handler), Arc::clone(&noted));
                // A client that goes away in the middle ends the thread, that is all.
                threads.push(std::thread::spawn(move || drop(serve(&stream, &*handler, &noted))));
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        Server { address, requests, ended, streams, thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What was asked so far: `GET /v2/…`.
    pub fn log(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(mut stream: &TcpStream, handler: &Handler, noted: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        noted.lock().unwrap().push(request.clone());
        let answer = handler(&request);
        if answer.status == 0 {
            return stream.shutdown(std::net::Shutdown::Both);
        }
        let mut head = format!("HTTP/1.1 {} x\r\n", answer.status);
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = answer.length {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if request.method != "HEAD" {
            stream.write_all(&answer.body)?;
        }
        match answer.tail {
            Tail::Keep if answer.length.is_some() => {}
            Tail::Keep | Tail::Close => return stream.shutdown(std::net::Shutdown::Both),
            Tail::Reset => {
                let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger)?;
                return Ok(());
            }
            Tail::Hang => {
                // Ends when the client or the server closes the connection.
                let _ = reader.read(&mut [0]);
                return Ok(());
            }
            Tail::Endless => loop {
                stream.write_all(&[b'x'; 65536])?;
            },
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = headers.get("content-length").and_then(|text| text.parse().ok()) {
        body = vec![0; length];
        reader.read_exact(&mut body)?;
    }
    Ok(Some(Request { method, target, headers, body }))
}

/// Documents and blobs by their digest, and tags.
#[derive(Clone, Default)]
pub struct Content {
    /// Media type and bytes.
    pub manifests: HashMap<String, (String, Vec<u8>)>,
    pub blobs: HashMap<String, Vec<u8>>,
}

impl Content {
    /// What a layout folder holds; its one image gets the tag.
    pub fn of_layout(layout: &std::path::Path, tag: &str) -> Content {
        let mut content = Content::default();
        for entry in std::fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            content.blobs.insert(Digest::of(&bytes).to_string(), bytes);
        }
        let index: serde_json::Value =
            serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        let descriptor = &index["manifests"][0];
        let digest = descriptor["digest"].as_str().unwrap();
        for (digest, bytes) in &content.blobs {
            let json: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
            if let Some(media_type) = json["mediaType"].as_str() {
                content.manifests.insert(digest.clone(), (media_type.into(), bytes.clone()));
            }
        }
        let top = content.manifests[digest].clone();
        content.manifests.insert(tag.into(), top);
        content
    }

    /// What a good registry answers.
    pub fn answer(&self, request: &Request) -> Answer {
        let target = request.target.split('?').next().unwrap();
        let leaf = target.rsplit('/').next().unwrap();
        if target == "/v2/" {
            return Answer::new(200, "{}");
        }
        if target.contains("/manifests/") {
            return match self.manifests.get(leaf) {
                Some((media_type, bytes)) => Answer::new(200, bytes.clone()).header("content-type", media_type),
                None => refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            };
        }
        match (self.blobs.get(leaf), request.range()) {
            (None, _) => refusal(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            (Some(blob), None) => Answer::new(200, blob.clone()).header("accept-ranges", "bytes"),
            (Some(blob), Some((first, last))) => {
                let last = last.unwrap_or(blob.len() - 1).min(blob.len() - 1);
                let range = format!("bytes {first}-{last}/{}", blob.len());
                Answer::new(206, &blob[first..=last]).header("content-range", range)
            }
        }
    }
}

/// An error as registries tell it.
pub fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
    Answer::new(status, body.to_string()).header("content-type", "application/json")
}
