//! What ranges of a large layer gain where each connection is slow, and what they cost where none is: medians of pairs.
//! `cargo test --release -p cri --test registry_cost -- --ignored --nocapture`
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;
mod registry_script;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use cri::image::registry::{Config, Registry};
use cri::image::{Reference, Store};
use image_layout::{Layer, Tar, is_root, layout};
use registry_script::stage::anonymous;
use registry_script::{Content, Server};

const ROUNDS: usize = 7;
/// Bytes of the layer; they do not compress.
const LARGE: usize = 96 << 20;
/// What a slow connection passes on in a second.
const RATE: usize = 20 << 20;

/// Passes on what the server answers, at that rate for each connection; gives its address. It ends with the program.
fn slow(target: std::net::SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().map(Result::unwrap) {
            let server = TcpStream::connect(target).unwrap();
            let (mut up, mut questions) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                // Either side may be gone.
                let _ = std::io::copy(&mut questions, &mut up);
                up.shutdown(Shutdown::Both)
            });
            std::thread::spawn(move || drop(pass(server, client)));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut due = Instant::now();
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return to.shutdown(Shutdown::Both);
        }
        due = due.max(Instant::now())
            + Duration::from_secs(1) * u32::try_from(length).unwrap() / u32::try_from(RATE).unwrap();
        to.write_all(&buffer[..length])?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

#[test]
#[ignore = "a measurement"]
fn root_ranges_beside_one_stream() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let mut tar = Tar::new();
    for number in 0..LARGE >> 20 {
        let bytes: Vec<u8> = std::iter::repeat_with(&mut noise).take(1 << 20).collect();
        tar = tar.raw(tar::EntryType::Regular, format!("file-{number}").as_bytes(), &bytes, |_| {});
    }
    layout(&scratch.path().join("layout"), "app:1", &[Layer::gzip(tar)]);
    let content = Content::of_layout(&scratch.path().join("layout"), "1");
    let server = Server::start(move |request| content.answer(request));
    let slow = slow(server.address);
    for (what, host) in [("loopback", server.host()), ("20 MiB/s each connection", slow)] {
        let name: Reference = format!("{host}/app:1").parse().unwrap();
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            let mut pair = [(0, 1), (1, Config::default().ranges)];
            if round % 2 == 1 {
                pair.reverse();
            }
            for (at, ranges) in pair {
                let folder = scratch.path().join(format!("{}-{round}-{ranges}", what.len()));
                let (store, registry) =
                    (Store::open(&folder).unwrap(), Registry::new(Config { ranges, ..Config::default() }));
                let registry = registry.unwrap();
                let started = Instant::now();
                store.pull(&registry, &name, &anonymous(), &mut |_| {}).unwrap();
                times[at].push(started.elapsed().as_secs_f64());
                std::fs::remove_dir_all(folder).unwrap();
            }
        }
        let ratios: Vec<f64> = times[0].iter().zip(&times[1]).map(|(one, several)| several / one).collect();
        let [one, several, ratio] = [&times[0], &times[1], &ratios].map(|values| {
            let mut values = values.clone();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        });
        println!("{what}: one stream {one:.2} s, ranges {several:.2} s, median of the pairs {ratio:.2}");
    }
}
