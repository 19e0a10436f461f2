//! A large layer is fetched in ranges, several at a time, also from registries that do them badly.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;
mod registry_script;

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use cri::image::registry::{Config, Pulled, Registry};
use cri::image::{Cancel, Error};
use image_layout::{Layer, Tar, is_root, layout};
use registry_script::stage::{Stage, anonymous, part, user};
use registry_script::{Answer, Content, Request, Server, Tail, refusal};

/// Bytes of a range; the large layer has seven.
const RANGE: usize = 64 << 10;

/// A server that is slow because much else runs is not one that stands still.
fn config(stage: &Stage) -> Config {
    let idle_timeout = Duration::from_secs(30);
    Config { downloads: 6, ranges: 4, range_bytes: RANGE as u64, idle_timeout, ..stage.config() }
}

/// For servers that do stand still.
fn impatient(stage: &Stage) -> Config {
    Config { idle_timeout: Duration::from_secs(2), ..config(stage) }
}

fn pull(stage: &Stage, config: Config, server: &Server) -> Result<Pulled, Error> {
    let registry = Registry::new(config).unwrap();
    let name = format!("{}/app:1", server.host()).parse().unwrap();
    stage.store().pull(&registry, &name, &anonymous(), &mut |_| {})
}

/// First byte and the one behind the last of each request for the large layer; no range: all of it.
fn ranges(stage: &Stage, server: &Server) -> Vec<(usize, usize)> {
    let size = stage.blob.len();
    let all = server.requests();
    let range = |request: &Request| match request.range() {
        Some((first, last)) => (first, last.map_or(size, |last| last + 1)),
        None => (0, size),
    };
    all.iter().filter(|request| request.target.contains(&stage.large)).map(range).collect()
}

/// A number that only a meeting of that many ends.
struct Meeting {
    state: Mutex<(usize, usize, bool)>,
    changed: Condvar,
    wanted: usize,
}

impl Meeting {
    fn of(wanted: usize) -> Arc<Meeting> {
        Arc::new(Meeting { state: Mutex::default(), changed: Condvar::new(), wanted })
    }

    /// Comes, waits until so many are there or were once, and goes.
    fn attend(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        state.1 = state.1.max(state.0);
        state.2 |= state.0 >= self.wanted;
        self.changed.notify_all();
        while !state.2 {
            let (next, waited) = self.changed.wait_timeout(state, Duration::from_secs(20)).unwrap();
            state = next;
            assert!(!waited.timed_out(), "{} of {} came", state.1, self.wanted);
        }
        state.0 -= 1;
    }

    fn most(&self) -> usize {
        self.state.lock().unwrap().1
    }
}

#[test]
fn root_ranges_are_fetched_at_the_same_time() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let meeting = Meeting::of(4);
    let (partial, whole, met) = (stage.partial(), stage.blob.clone(), Arc::clone(&meeting));
    let server = stage.server(move |request, blob, number| {
        // The first range says that there can be more.
        if number > 0 {
            met.attend();
        }
        // What is in the file is a beginning of the blob at any time.
        let there = fs::read(&partial).unwrap_or_default();
        assert!(whole.starts_with(&there), "{} bytes", there.len());
        part(request, blob)
    });
    pull(&stage, config(&stage), &server).unwrap();
    assert_eq!(meeting.most(), 4);
    let mut asked = ranges(&stage, &server);
    asked.sort_unstable();
    let size = stage.blob.len();
    let expected: Vec<_> = (0..size).step_by(RANGE).map(|first| (first, size.min(first + RANGE))).collect();
    assert_eq!(asked, expected, "each byte is asked for once");
    let blob = stage.root().join("images/blobs/sha256").join(stage.large.strip_prefix("sha256:").unwrap());
    assert_eq!(fs::read(blob).unwrap(), stage.blob);
}

#[test]
fn root_small_layers_and_one_range_at_a_time_are_one_stream() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    for (count, bytes) in [(1, RANGE), (4, stage.blob.len() / 2 + 1)] {
        let stage = Stage::new();
        let server = stage.good();
        pull(&stage, Config { ranges: count, range_bytes: bytes as u64, ..config(&stage) }, &server).unwrap();
        let ask = server.requests().into_iter().filter(|request| request.target.contains(&stage.large));
        assert_eq!(ask.map(|request| request.range()).collect::<Vec<_>>(), [None], "{count} {bytes}");
    }
}

#[test]
fn root_no_more_than_the_window_is_ahead() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let asked = Mutex::new(Vec::new());
    let (late, before) = mpsc::channel();
    let server = stage.server(move |request, blob, number| {
        let first = request.range().unwrap().0;
        let mut asked = asked.lock().unwrap();
        // When the first range goes on, all others had the time of its standing still.
        if number > 0 && first < RANGE {
            late.send(asked.clone()).unwrap();
        }
        asked.push(first);
        let answer = part(request, blob);
        match number {
            0 => Answer { body: answer.body[..1000].to_vec(), ..answer }.announce(Some(RANGE)).tail(Tail::Hang),
            _ => answer,
        }
    });
    pull(&stage, impatient(&stage), &server).unwrap();
    let mut before = before.recv().unwrap();
    before.sort_unstable();
    assert_eq!(before, [0, RANGE, 2 * RANGE, 3 * RANGE]);
}

#[test]
fn root_the_limit_of_transfers_counts_ranges() {
    if !is_root() {
        return;
    }
    for downloads in [1, 2, 3] {
        let stage = Stage::of(&[]);
        let meeting = Meeting::of(downloads);
        let met = Arc::clone(&meeting);
        let server = stage.server(move |request, blob, number| {
            if number > 0 {
                met.attend();
            }
            part(request, blob)
        });
        pull(&stage, Config { downloads, ..config(&stage) }, &server).unwrap();
        let most = meeting.most();
        let asked = ranges(&stage, &server);
        match downloads {
            // Nothing is gained by ranges one after the other.
            1 => assert_eq!(asked, [(0, stage.blob.len())]),
            _ => assert_eq!(most, downloads, "{asked:?}"),
        }
    }
}

#[test]
fn root_one_stream_becomes_several_when_there_is_room() {
    if !is_root() {
        return;
    }
    let mut stage = Stage::of(&[]);
    layout(&stage.scratch.path().join("other"), "app:2", &[Layer::plain(Tar::new().file("own", "x"))]);
    let other = Content::of_layout(&stage.scratch.path().join("other"), "2");
    let json: serde_json::Value = serde_json::from_slice(&other.manifests["2"].1).unwrap();
    let small = json["layers"][0]["digest"].as_str().unwrap().to_owned();
    stage.content.manifests.extend(other.manifests);
    stage.content.blobs.extend(other.blobs);
    // The small layer has the rest of the limit, until the large one has begun; that one goes on when the small one is there.
    let (asked, wait) = mpsc::channel();
    let (begun, go) = mpsc::channel();
    let (pulled, there) = mpsc::channel();
    let gates = (Mutex::new(go), Mutex::new(there));
    let (content, large, blob, count) =
        (stage.content.clone(), stage.large.clone(), stage.blob.clone(), AtomicUsize::new(0));
    let server = Server::start(move |request| {
        if request.target.contains(&small) {
            asked.send(()).unwrap();
            gates.0.lock().unwrap().recv().unwrap();
        }
        if !request.target.contains(&large) {
            return content.answer(request);
        }
        let answer = part(request, &blob);
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => {
                begun.send(()).unwrap();
                let length = answer.body.len();
                Answer { body: answer.body[..1000].to_vec(), ..answer }.announce(Some(length)).tail(Tail::Close)
            }
            1 => {
                gates.1.lock().unwrap().recv().unwrap();
                answer
            }
            _ => answer,
        }
    });
    let registry = Registry::new(Config { downloads: 2, ..config(&stage) }).unwrap();
    let name = |tag: u8| format!("{}/app:{tag}", server.host()).parse::<cri::image::Reference>().unwrap();
    std::thread::scope(|scope| {
        let (stage, registry, small) = (&stage, &registry, name(2));
        scope.spawn(move || {
            stage.store().pull(registry, &small, &anonymous(), &mut |_| {}).unwrap();
            pulled.send(()).unwrap();
        });
        wait.recv().unwrap();
        stage.store().pull(registry, &name(1), &anonymous(), &mut |_| {}).unwrap();
    });
    let asked = ranges(&stage, &server);
    let size = stage.blob.len();
    assert_eq!((asked[0], asked[1]), ((0, size), (1000, size)));
    let short = asked[2..].iter().all(|(first, last)| *first > 1000 && last - first <= RANGE);
    assert!(asked.len() > 2 && short, "{asked:?}");
}

/// The same answer with another header.
fn with(answer: Answer, name: &str, value: &str) -> Answer {
    let mut answer = answer;
    answer.headers.retain(|(other, _)| other != name);
    answer.header(name, value)
}

#[test]
fn root_what_does_no_ranges_gives_one_stream() {
    if !is_root() {
        return;
    }
    type Lie = Box<dyn Fn(&Request, &[u8], usize) -> Answer + Send + Sync>;
    type Row = (&'static str, Lie);
    /// What it does from the second range on, until it is asked for the rest.
    fn later(lie: impl Fn(Answer, &[u8]) -> Answer + Send + Sync + 'static) -> Lie {
        Box::new(move |request, blob, number| match request.range() {
            Some((_, Some(_))) if number > 0 => lie(part(request, blob), blob),
            _ => with(part(request, blob), "etag", "\"a\""),
        })
    }
    let first = |answer: fn(Answer) -> Answer| -> Lie {
        Box::new(
            move |request, blob, number| if number == 0 { answer(part(request, blob)) } else { part(request, blob) },
        )
    };
    let rows: Vec<Row> = vec![
        ("never heard of them", Box::new(|_, blob, _| Answer::new(200, blob))),
        ("not for the first", first(|_| refusal(416, "RANGE_INVALID", "no"))),
        ("a bad request", first(|_| refusal(400, "UNSUPPORTED", "no"))),
        ("not built", first(|_| refusal(501, "UNSUPPORTED", "no"))),
        ("the wrong bytes at first", first(|answer| with(answer, "content-range", "bytes 5-65540/401920"))),
        ("no word of which bytes", first(|answer| Answer { headers: Vec::new(), ..answer })),
        ("not in later ones", later(|_, blob| Answer::new(200, blob))),
        ("refused in later ones", later(|_, _| refusal(416, "RANGE_INVALID", "no"))),
        ("the wrong bytes", later(|answer, _| with(answer, "content-range", "bytes 0-65535/401920"))),
        (
            "another length",
            later(|answer, _| {
                let told = answer.headers[0].1.replace('/', "/1");
                with(with(answer, "content-range", &told), "etag", "\"a\"")
            }),
        ),
        ("another version", later(|answer, _| with(answer, "etag", "\"b\""))),
        ("no version any more", later(|answer, _| answer)),
        (
            "more than was asked for",
            later(|answer, _| {
                let body = [answer.body.clone(), vec![b'x'; 10]].concat();
                with(Answer { body, ..answer }, "etag", "\"a\"").announce(None)
            }),
        ),
        (
            "less than was asked for",
            later(|answer, _| {
                let body = answer.body[..100].to_vec();
                with(Answer { length: Some(100), body, ..answer }, "etag", "\"a\"")
            }),
        ),
    ];
    for (what, answer) in rows {
        let stage = Stage::new();
        let server = stage.server(answer);
        pull(&stage, impatient(&stage), &server).unwrap_or_else(|error| panic!("{what}: {error}"));
        let asked = ranges(&stage, &server);
        assert!(asked.len() <= 6, "{what}: {asked:?}");
        let blob = stage.root().join("images/blobs/sha256").join(stage.large.strip_prefix("sha256:").unwrap());
        assert_eq!(fs::read(blob).unwrap(), stage.blob, "{what}");
    }
    let stage = Stage::new();
    let server = stage.server(|_, blob, _| Answer::new(200, blob));
    pull(&stage, config(&stage), &server).unwrap();
    assert_eq!(ranges(&stage, &server).len(), 1, "the answer to the first range is the one stream");
}

#[test]
fn root_versions_are_not_mixed() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    // The first version has other bytes; the second is what the digest says.
    let server = stage.server(|request, blob, number| match number {
        0 => {
            let mut answer = part(request, blob);
            answer.body[600..1600].fill(b'x');
            answer.header("etag", "\"old\"")
        }
        _ => part(request, blob).header("etag", "\"new\""),
    });
    pull(&stage, config(&stage), &server).unwrap();
    let asked = ranges(&stage, &server);
    assert_eq!(asked.last(), Some(&(0, stage.blob.len())), "from the start, as one stream: {asked:?}");
}

#[test]
fn root_a_range_that_is_cut_goes_on_where_it_ended() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let size = stage.blob.len();
    for cut_range in 0..size.div_ceil(RANGE) {
        for (cut, tail) in [(0, Tail::Close), (1, Tail::Reset), (8_000, Tail::Close)] {
            let stage = Stage::new();
            let (first, once) = (cut_range * RANGE, AtomicUsize::new(0));
            let own = tail.clone();
            let server = stage.server(move |request, blob, _| {
                let answer = part(request, blob);
                if request.range().unwrap().0 != first || once.fetch_add(1, Ordering::SeqCst) > 0 {
                    return answer;
                }
                let length = answer.body.len();
                Answer { body: answer.body[..cut].to_vec(), ..answer }.announce(Some(length)).tail(own.clone())
            });
            pull(&stage, config(&stage), &server).unwrap();
            let asked = ranges(&stage, &server);
            let last = size.min(first + RANGE);
            type Asked = Vec<(usize, usize)>;
            let (own, others): (Asked, Asked) = asked.iter().partition(|range| (first..last).contains(&range.0));
            // A reset may take bytes along that were sent.
            let goes_on = if matches!(tail, Tail::Reset) { own[1].0 <= first + cut } else { own[1].0 == first + cut };
            assert!(own.len() == 2 && goes_on && own[1].1 == last, "{cut_range} {cut}: {asked:?}");
            let unique: BTreeSet<_> = others.iter().collect();
            assert_eq!((unique.len(), others.len()), (6, 6), "{cut_range} {cut}: {asked:?}");
        }
    }
}

#[test]
fn root_a_range_that_stays_cut_fails_and_a_later_pull_goes_on() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let server = stage.server(|request, blob, _| match request.range().unwrap().0 >= 2 * RANGE {
        true => refusal(503, "UNAVAILABLE", "later").header("retry-after", "0"),
        false => part(request, blob),
    });
    let error = pull(&stage, config(&stage), &server).unwrap_err().to_string();
    assert!(error.contains("503 Service Unavailable: UNAVAILABLE: later"), "{error}");
    stage.assert_nothing_came();
    let there = fs::read(stage.partial()).unwrap();
    assert!(!there.is_empty() && stage.blob.starts_with(&there), "{}", there.len());
    let server = stage.good();
    pull(&stage, config(&stage), &server).unwrap();
    assert_eq!(ranges(&stage, &server).iter().map(|range| range.0).min(), Some(there.len()));
}

#[test]
fn root_a_pull_in_ranges_that_is_cancelled_leaves_a_beginning() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let (options, cancel) = (anonymous(), Cancel::new());
    let options = cri::image::registry::PullOptions { cancel: cancel.clone(), ..options };
    // The third range stands still; who asks for the last one that the window allows ends all.
    let server = stage.server(move |request, blob, _| {
        let answer = part(request, blob);
        match request.range().unwrap().0 / RANGE {
            2 => Answer { body: answer.body[..1000].to_vec(), ..answer }.announce(Some(RANGE)).tail(Tail::Hang),
            5 => {
                cancel.cancel();
                answer
            }
            _ => answer,
        }
    });
    let registry = Registry::new(Config { idle_timeout: Duration::from_secs(600), ..config(&stage) }).unwrap();
    let name = format!("{}/app:1", server.host()).parse().unwrap();
    let result = stage.store().pull(&registry, &name, &options, &mut |_| {});
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    stage.assert_nothing_came();
    let there = fs::read(stage.partial()).unwrap();
    assert!((2 * RANGE..=2 * RANGE + 1000).contains(&there.len()) && stage.blob.starts_with(&there), "{}", there.len());
}

const CHILD: &str = "RT_TEST_RANGES_CHILD";

/// Not a test of its own: a pull, to be killed.
#[test]
fn work_in_child() {
    let Ok(work) = std::env::var(CHILD) else { return };
    let (root, name) = work.split_once(' ').unwrap();
    let config = Config { ranges: 4, range_bytes: RANGE as u64, ..Config::default() };
    let store = cri::image::Store::open(std::path::Path::new(root)).unwrap();
    let _ = store.pull(&Registry::new(config).unwrap(), &name.parse().unwrap(), &anonymous(), &mut |_| {});
}

#[test]
fn root_a_pull_in_ranges_that_is_killed_is_gone_on_with() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let (reached, wait) = mpsc::channel();
    // The third range stands still, and all that the window allows is asked for.
    let server = stage.server(move |request, blob, _| {
        let answer = part(request, blob);
        match request.range().unwrap().0 / RANGE {
            2 => Answer { body: answer.body[..1000].to_vec(), ..answer }.announce(Some(RANGE)).tail(Tail::Hang),
            5 => {
                reached.send(()).unwrap();
                answer
            }
            _ => answer,
        }
    });
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "work_in_child"])
        .env(CHILD, format!("{} {}/app:1", stage.root().display(), server.host()))
        .spawn()
        .unwrap();
    wait.recv_timeout(Duration::from_secs(60)).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let there = fs::read(stage.partial()).unwrap();
    assert!((2 * RANGE..=2 * RANGE + 1000).contains(&there.len()) && stage.blob.starts_with(&there), "{}", there.len());
    let server = stage.good();
    pull(&stage, config(&stage), &server).unwrap();
    let asked = ranges(&stage, &server);
    assert_eq!(asked.iter().map(|range| range.0).min(), Some(there.len()), "{asked:?}");
}

#[test]
fn root_credentials_of_ranges_stay_with_their_host() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let storage = stage.good();
    let (content, target) = (stage.content.clone(), format!("http://localhost:{}", storage.address.port()));
    let large = stage.large.clone();
    let server = Server::start(move |request| match request.header("authorization") {
        None => refusal(401, "UNAUTHORIZED", "who is there").header("www-authenticate", "Basic realm=\"x\""),
        Some(_) if request.target.contains(&large) => {
            Answer::new(307, "").header("location", format!("{target}{}?sig=1", request.target))
        }
        Some(_) => content.answer(request),
    });
    let registry = Registry::new(config(&stage)).unwrap();
    let credentials = Arc::new(|_: &str| Ok(user()));
    let options = cri::image::registry::PullOptions { credentials, ..anonymous() };
    let name = format!("{}/app:1", server.host()).parse().unwrap();
    stage.store().pull(&registry, &name, &options, &mut |_| {}).unwrap();
    let fetched = storage.requests();
    assert_eq!(fetched.len(), stage.blob.len().div_ceil(RANGE), "{:?}", storage.log());
    assert!(fetched.iter().all(|request| request.header("authorization").is_none()));
    let redirected = server.requests().into_iter().filter(|request| request.target.contains(&stage.large));
    assert!(redirected.into_iter().all(|request| request.header("authorization").is_some()));
}
