//! Registries that fail, lie, or want what is not theirs.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;
mod registry_script;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use cri::image::registry::{Config, Credentials, PushOptions, Registry};
use cri::image::{Cancel, Error, LoadOptions, Progress, Source};
use image_layout::{Layer, Tar, is_root, layout};
use registry_script::stage::{Stage, anonymous, part, pull, pull_as, user};
use registry_script::{Answer, Content, Request, Server, Tail, refusal};

#[test]
fn root_a_transfer_that_is_cut_goes_on_where_it_ended() {
    if !is_root() {
        return;
    }
    for tail in [Tail::Close, Tail::Reset, Tail::Hang] {
        for cut in [0, 1, 511, 70_000, 399_999] {
            let stage = Stage::new();
            let own = tail.clone();
            let server = stage.server(move |request, blob, number| {
                let answer = part(request, blob);
                if number > 1 {
                    return answer;
                }
                let (length, body) = (answer.body.len(), answer.body[..cut.min(answer.body.len() - 1)].to_vec());
                Answer { body, ..answer }.announce(Some(length)).tail(own.clone())
            });
            pull(&stage, &format!("{}/app:1", server.host())).unwrap();
            let asked = server.requests().into_iter().filter(|request| request.target.contains(&stage.large));
            let ranges: Vec<usize> = asked.map(|request| request.range().map_or(0, |(first, _)| first)).collect();
            assert_eq!(ranges.len(), 3, "{cut}");
            // A reset may swallow what was sent just before.
            if !matches!(tail, Tail::Reset) {
                assert_eq!(ranges, [0, cut, cut + cut.min(stage.blob.len() - cut - 1)], "{cut}");
            }
        }
    }
}

#[test]
fn root_a_later_pull_resumes_and_believes_nothing() {
    if !is_root() {
        return;
    }
    let cutting = |request: &Request, blob: &[u8], number: usize| match number {
        0 => Answer::new(200, &blob[..300_000]).announce(Some(blob.len())).tail(Tail::Close),
        1..=3 => Answer::new(503, ""),
        _ => part(request, blob),
    };
    for damage in [false, true] {
        let stage = Stage::new();
        let server = stage.server(cutting);
        let name = format!("{}/app:1", server.host());
        let registry = Registry::new(Config { retries: 2, ..stage.config() }).unwrap();
        let error = stage.store().pull(&registry, &name.parse().unwrap(), &anonymous(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("503 Service Unavailable"), "{error}");
        stage.assert_nothing_came();
        assert_eq!(fs::metadata(stage.partial()).unwrap().len(), 300_000);
        // And what came of the small layer.
        let left = stage.store().partial_bytes().unwrap();
        assert!((300_000..301_000).contains(&left), "{left}");
        if damage {
            let mut bytes = fs::read(stage.partial()).unwrap();
            bytes[200_000] ^= 1;
            fs::write(stage.partial(), bytes).unwrap();
        }
        let mut resumed = None;
        let registry = Registry::new(stage.config()).unwrap();
        stage
            .store()
            .pull(&registry, &name.parse().unwrap(), &anonymous(), &mut |event| {
                if let Progress::Resumed { at, .. } = event {
                    resumed = resumed.max(Some(at));
                }
            })
            .unwrap();
        assert_eq!(resumed, Some(300_000));
        let last = server.requests().into_iter().rfind(|request| request.target.contains(&stage.large)).unwrap();
        assert_eq!(last.range(), (!damage).then_some((300_000, None)), "damaged bytes are fetched again");
        assert_eq!(stage.store().partial_bytes().unwrap(), 0);
    }
}

#[test]
fn root_answers_that_lie_are_refused() {
    if !is_root() {
        return;
    }
    type Lie = fn(&Request, &[u8], usize) -> Answer;
    let rows: [(&str, Lie, &str); 8] = [
        (
            "another byte",
            |_, blob, _| {
                let mut blob = blob.to_vec();
                blob[1000] ^= 1;
                Answer::new(200, blob)
            },
            "digest is",
        ),
        ("too short", |_, blob, _| Answer::new(200, &blob[1..]), "expected 4"),
        ("too long", |_, blob, _| Answer::new(200, [blob, b"x"].concat()), "bytes, expected"),
        ("endless", |_, blob, _| Answer::new(200, blob).announce(None).tail(Tail::Endless), "more than"),
        (
            "another part",
            |request, blob, _| match request.range() {
                None => Answer::new(200, &blob[..5000]).announce(Some(blob.len())).tail(Tail::Close),
                Some(_) => Answer::new(206, &blob[4999..]).header("content-range", "bytes 4999-400999/401000"),
            },
            "bytes from 5000",
        ),
        ("a part that nobody asked for", |_, blob, _| Answer::new(206, blob), "answered with status 206"),
        (
            "a web page",
            |_, _, _| Answer::new(200, "<html>log in here</html>").header("content-type", "text/html"),
            "the answer has 24 bytes",
        ),
        ("gone", |_, _, _| refusal(404, "BLOB_UNKNOWN", "blob unknown"), "404 Not Found: BLOB_UNKNOWN: blob unknown"),
    ];
    for (what, lie, expected) in rows {
        let stage = Stage::new();
        let server = stage.server(lie);
        let error = pull(&stage, &format!("{}/app:1", server.host())).unwrap_err().to_string();
        assert!(error.contains(expected), "{what}: {error}");
        stage.assert_nothing_came();
    }
}

#[test]
fn root_a_server_that_ignores_ranges_is_good_enough() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let server = stage.server(|_, blob, number| match number {
        0 => Answer::new(200, &blob[..5000]).announce(Some(blob.len())).tail(Tail::Close),
        _ => Answer::new(200, blob),
    });
    pull(&stage, &format!("{}/app:1", server.host())).unwrap();
}

#[test]
fn root_documents_that_lie_are_refused() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let good = stage.content.manifests["1"].clone();
    let digest = cri::image::Digest::of(&good.1).to_string();
    let other = cri::image::Digest::of(b"other").to_string();
    let json = "application/json";
    let rows: Vec<(Answer, &str)> = vec![
        (Answer::new(200, "<html>").header("content-type", "text/html"), "no JSON document but text/html"),
        (Answer::new(200, "{}").header("content-type", json), "neither the answer nor the document says"),
        (Answer::new(200, good.1.clone()).header("content-type", "text/html"), "media type \"text/html\""),
        (Answer::new(200, good.1.clone()).header("docker-content-digest", &other), "expected sha256:"),
        (Answer::new(200, good.1.clone()).header("docker-content-digest", "md5:1"), "docker-content-digest"),
        (
            Answer::new(200, "{}").header("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
            "docker schema 1",
        ),
        (Answer::new(200, vec![b' '; 5 << 20]), "more than 4194304 bytes"),
        (
            Answer::new(
                200,
                r#"{"schemaVersion":2,"artifactType":"x/y","mediaType":"application/vnd.oci.image.manifest.v1+json"}"#,
            ),
            "is an artifact, not an image",
        ),
        (Answer::new(200, good.1.clone()).header("x-large", "x".repeat(1 << 20)), "GET http://127.0.0.1"),
        (Answer::new(403, "").header("content-type", "text/html"), "403 Forbidden: the answer is a web page"),
    ];
    for (answer, expected) in rows {
        let server = Server::start(move |_| answer.clone());
        let error = pull(&stage, &format!("{}/app:1", server.host())).unwrap_err().to_string();
        assert!(error.contains(expected) && error.len() < 1000, "{expected}: {error}");
    }
    // A name with a digest is that digest, whatever the tag.
    let server = stage.good();
    let error = pull(&stage, &format!("{}/app:1@{other}", server.host())).unwrap_err().to_string();
    assert!(error.contains("404 Not Found"), "{error}");
    let name = format!("{}/app:zzz@{digest}", server.host());
    let pulled = pull(&stage, &name).unwrap();
    assert_eq!(pulled.name.to_string(), format!("{}/app@{digest}", server.host()));
    assert!(stage.store().resolve(&name).unwrap().names.is_empty());
}

#[test]
fn root_what_passes_is_tried_again_and_what_does_not_is_not() {
    if !is_root() {
        return;
    }
    for (status, tries) in [(500, 4), (502, 4), (503, 4), (504, 4), (429, 4), (408, 4), (400, 1), (403, 1), (404, 1)] {
        let stage = Stage::new();
        let server = Server::start(move |_| refusal(status, "X", "why").header("retry-after", "0"));
        let error = pull(&stage, &format!("{}/app:1", server.host())).unwrap_err().to_string();
        assert!(error.contains(&format!("{status} ")) && error.ends_with("X: why"), "{error}");
        assert_eq!(server.log().len(), tries, "{status}");
    }
    let stage = Stage::new();
    let server = stage.server(|request, blob, number| match number {
        0 => refusal(429, "TOOMANYREQUESTS", "slow down").header("retry-after", "1"),
        _ => part(request, blob),
    });
    let started = std::time::Instant::now();
    pull(&stage, &format!("{}/app:1", server.host())).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After is honoured");
}

#[test]
fn root_credentials_stay_with_their_host() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    // Another host: `localhost` is not `127.0.0.1`, and another port is another host as well.
    let storage = stage.good();
    let (content, target) = (stage.content.clone(), format!("http://localhost:{}", storage.address.port()));
    let server = Server::start(move |request| match request.header("authorization") {
        None => refusal(401, "UNAUTHORIZED", "log in").header("www-authenticate", "Basic realm=\"x\""),
        Some(_) if request.target.contains("/blobs/") => {
            Answer::new(307, "").header("location", format!("{target}{}?signature=s1gned", request.target))
        }
        Some(_) => content.answer(request),
    });
    let name = format!("{}/app:1", server.host());
    let error = pull(&stage, &name).unwrap_err().to_string();
    assert!(error.ends_with("401 Unauthorized: UNAUTHORIZED: log in"), "{error}");
    pull_as(&stage, &name, user()).unwrap();
    assert!(server.requests().iter().any(|request| request.header("authorization") == Some("Basic bWU6czNjcmV0")));
    let redirected = storage.requests();
    assert!(!redirected.is_empty());
    assert!(redirected.iter().all(|request| request.header("authorization").is_none()), "{redirected:?}");

    // A challenge from there is not answered, and the signature is not shown.
    let stage = Stage::new();
    let thief = Server::start(|_| refusal(401, "X", "give").header("www-authenticate", "Basic realm=\"x\""));
    let (content, target) = (stage.content.clone(), format!("http://localhost:{}", thief.address.port()));
    let server = Server::start(move |request| match request.target.contains("/blobs/") {
        true => Answer::new(302, "").header("location", format!("{target}/steal?signature=s1gned")),
        false => content.answer(request),
    });
    let error = pull_as(&stage, &format!("{}/app:1", server.host()), user()).unwrap_err().to_string();
    assert!(error.contains("401 Unauthorized") && !error.contains("s1gned") && !error.contains("s3cret"), "{error}");
    assert!(thief.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn root_redirects_end() {
    if !is_root() {
        return;
    }
    let rows = [
        ("/v2/again", "more than 10 redirects"),
        ("ftp://x/", "which is refused"),
        ("http://[", "without saying where to"),
    ];
    for (location, expected) in rows {
        let stage = Stage::new();
        let server = Server::start(move |_| Answer::new(302, "").header("location", location));
        let error = pull(&stage, &format!("{}/app:1", server.host())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(server.log().len() <= 11);
    }
}

/// A registry that wants tokens, and its token server.
fn with_tokens(stage: &Stage, token: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> (Server, Server) {
    let tokens = Server::start(token);
    let challenge =
        format!("Bearer realm=\"http://{}/token\",service=\"test\",scope=\"repository:app:pull\"", tokens.host());
    let content = stage.content.clone();
    let server = Server::start(move |request| match request.header("authorization") {
        Some("Bearer good") => content.answer(request),
        _ => refusal(401, "UNAUTHORIZED", "log in").header("www-authenticate", &challenge),
    });
    (server, tokens)
}

#[test]
fn root_tokens_are_asked_for_once_and_with_the_right_credentials() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let (server, tokens) = with_tokens(&stage, |request| match request.method.as_str() {
        "POST" => Answer::new(200, r#"{"access_token": "good", "expires_in": 300}"#),
        _ => Answer::new(200, r#"{"token": "good"}"#),
    });
    let name = format!("{}/app:1", server.host());
    pull(&stage, &name).unwrap();
    assert_eq!(tokens.log(), ["GET /token?service=test&scope=repository%3Aapp%3Apull"]);
    assert_eq!(tokens.requests()[0].header("authorization"), None);

    pull_as(&stage, &name, user()).unwrap();
    let asked = tokens.requests().pop().unwrap();
    assert_eq!(asked.header("authorization"), Some("Basic bWU6czNjcmV0"));
    assert!(asked.target.ends_with("account=me"));

    pull_as(&stage, &name, Credentials::IdentityToken { token: "refr/esh".into() }).unwrap();
    let asked = tokens.requests().pop().unwrap();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    let body = String::from_utf8(asked.body).unwrap();
    let wanted =
        "grant_type=refresh_token&service=test&client_id=rt&scope=repository%3Aapp%3Apull&refresh_token=refr%2Fesh";
    assert_eq!(body, wanted);

    let before = tokens.log().len();
    pull_as(&stage, &name, Credentials::RegistryToken { token: "good".into() }).unwrap();
    assert_eq!(tokens.log().len(), before, "a registry token is shown to the registry itself");
    let error = pull_as(&stage, &name, Credentials::RegistryToken { token: "bad".into() }).unwrap_err().to_string();
    assert!(error.ends_with("401 Unauthorized: UNAUTHORIZED: log in"), "{error}");
}

#[test]
fn root_token_servers_that_fail_are_named() {
    if !is_root() {
        return;
    }
    let rows: Vec<(Answer, &str)> = vec![
        (Answer::new(200, "<html>"), "holds no token"),
        (Answer::new(200, "{}"), "holds no token"),
        (Answer::new(200, "{\"token\": \"a\\nb\"}"), "holds no token"),
        (Answer::new(401, r#"{"details":"incorrect username or password"}"#), "401 Unauthorized: incorrect username"),
        (Answer::new(200, vec![b'x'; 2 << 20]), "more than 1048576 bytes"),
        // A token that the registry does not take.
        (Answer::new(200, r#"{"token": "bad"}"#), "401 Unauthorized: UNAUTHORIZED: log in"),
    ];
    for (answer, expected) in rows {
        let stage = Stage::new();
        let (server, tokens) = with_tokens(&stage, move |_| answer.clone());
        let error = pull_as(&stage, &format!("{}/app:1", server.host()), user()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("s3cret"), "{expected}: {error}");
        assert!(tokens.log().len() <= 1, "{:?}", tokens.log());
    }
    let stage = Stage::new();
    let (server, tokens) = with_tokens(&stage, |_| Answer::new(200, ""));
    let address = tokens.host();
    drop(tokens);
    let error = pull(&stage, &format!("{}/app:1", server.host())).unwrap_err().to_string();
    assert!(error.contains(&format!("GET http://{address}/token?…: connect: ")), "{error}");
}

#[test]
fn root_mirrors_are_tried_in_order_and_errors_name_them_all() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing = Server::start(|_| refusal(403, "DENIED", "not you"));
    // Knows what a tag means, but its layer is wrong.
    let lying = stage.server(|_, blob, _| Answer::new(200, vec![b'x'; blob.len()]));
    let good = stage.good();
    let folder = stage.scratch.path().join("certs.d/registry.example");
    fs::create_dir_all(&folder).unwrap();
    let write = |last: &str| {
        let text = format!(
            "server = \"{last}\"\n[host.\"http://{closed}\"]\n[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
             [host.\"http://{}\"]\n[host.\"http://{}\".header]\nx-key = \"k3y\"\n",
            refusing.host(),
            lying.host(),
            lying.host(),
        );
        fs::write(folder.join("hosts.toml"), text).unwrap();
    };
    write(&format!("http://{}", good.host()));
    let pulled = pull(&stage, "registry.example/app:1").unwrap();
    assert_eq!(pulled.name.to_string(), "registry.example/app:1");
    assert!(refusing.log()[0].ends_with("/v2/app/manifests/1?ns=registry.example"), "{:?}", refusing.log());
    assert!(lying.requests().iter().all(|request| request.header("x-key") == Some("k3y")));
    assert!(
        good.log().iter().all(|line| line.contains(&stage.large)),
        "only what the mirror did not have: {:?}",
        good.log()
    );
    assert!(good.requests().iter().all(|request| request.header("x-key").is_none()));

    // What was changed counts at once.
    write(&format!("http://{closed}"));
    let error = pull(&stage, "registry.example/app:9").unwrap_err().to_string();
    let expected =
        [format!("GET http://{closed}/v2/app/manifests/9"), "403 Forbidden: DENIED".into(), "MANIFEST_UNKNOWN".into()];
    assert!(expected.iter().all(|text| error.contains(text)), "{error}");
    fs::write(folder.join("hosts.toml"), "[host.\"http://x\"]\nskip_verfy = true").unwrap();
    let error = pull(&stage, "registry.example/app:1").unwrap_err().to_string();
    assert!(error.contains("hosts.toml") && error.contains("skip_verfy"), "{error}");
}

#[test]
fn root_a_pull_that_is_cancelled_leaves_only_what_arrived() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let server = stage.server(|_, blob, _| Answer::new(200, &blob[..5000]).announce(Some(blob.len())).tail(Tail::Hang));
    let registry = Registry::new(Config { idle_timeout: Duration::from_secs(600), ..stage.config() }).unwrap();
    let options = anonymous();
    let (cancel, name) = (options.cancel.clone(), format!("{}/app:1", server.host()).parse().unwrap());
    let result = stage.store().pull(&registry, &name, &options, &mut |event| {
        if matches!(event, Progress::Unpacked { .. }) {
            cancel.cancel();
        }
    });
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    stage.assert_nothing_came();
    assert!(fs::metadata(stage.partial()).unwrap().len() <= 5000);
}

#[test]
fn root_pulls_at_the_same_time_fetch_everything_once() {
    if !is_root() {
        return;
    }
    let mut stage = Stage::new();
    // Another image with the same large layer.
    let large = Layer { blob: stage.blob.clone(), ..Layer::plain(Tar::new()) };
    let large = Layer { diff_id: stage.large.clone(), ..large };
    layout(&stage.scratch.path().join("other"), "app:2", &[large, Layer::plain(Tar::new().file("own", "x"))]);
    let other = Content::of_layout(&stage.scratch.path().join("other"), "2");
    stage.content.manifests.extend(other.manifests);
    stage.content.blobs.extend(other.blobs);
    let (started, go) = mpsc::channel::<()>();
    let (arrived, wait) = mpsc::channel();
    let gate = Mutex::new((arrived, go));
    // The first request for the large layer is answered once the other pulls wait.
    let server = stage.server(move |request, blob, number| {
        if number == 0 {
            let gate = gate.lock().unwrap();
            gate.0.send(()).unwrap();
            gate.1.recv().unwrap();
            gate.1.recv().unwrap();
        }
        part(request, blob)
    });
    let name = |tag: u8| format!("{}/app:{tag}", server.host()).parse::<cri::image::Reference>().unwrap();
    let registry = Registry::new(Config { idle_timeout: Duration::from_secs(60), ..stage.config() }).unwrap();
    let other = Registry::new(Config { idle_timeout: Duration::from_secs(60), ..stage.config() }).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| stage.store().pull(&registry, &name(1), &anonymous(), &mut |_| {}).unwrap());
        wait.recv().unwrap();
        for (registry, tag) in [(&registry, 2), (&other, 1)] {
            let (started, name, stage) = (started.clone(), &name, &stage);
            scope.spawn(move || {
                let mut waited = false;
                let pulled = stage.store().pull(registry, &name(tag), &anonymous(), &mut |event| {
                    if matches!(event, Progress::Waiting { .. }) {
                        waited = true;
                        let _ = started.send(());
                    }
                });
                pulled.unwrap();
                assert!(waited);
            });
        }
    });
    let fetched = server.log().into_iter().filter(|line| line.contains(&stage.large)).count();
    assert_eq!(fetched, 1, "{:?}", server.log());
}

#[test]
fn root_pushes_show_what_the_registry_says() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let store = stage.store();
    let path = Source::Path(stage.scratch.path().join("layout"));
    let loaded = store.load(path, &LoadOptions::default(), &mut |_| {}).unwrap().remove(0);
    let push = |server: &Server| {
        let options = PushOptions {
            image: loaded.id.short().into(),
            credentials: Arc::new(|_| Ok(user())),
            cancel: Cancel::new(),
        };
        let registry = Registry::new(stage.config()).unwrap();
        store.push(&registry, &format!("{}/app:2", server.host()).parse().unwrap(), &options, &mut |_| {})
    };
    // Uploads that fail at first are made again from the beginning.
    let failures = AtomicUsize::new(0);
    let server = Server::start(move |request| match request.method.as_str() {
        "HEAD" => Answer::new(404, ""),
        "POST" => Answer::new(202, "").header("location", "/v2/app/blobs/uploads/1?state=x"),
        _ if request.target.contains("/uploads/") && failures.fetch_add(1, Ordering::SeqCst) < 2 => {
            Answer::new(502, "")
        }
        _ => Answer::new(201, ""),
    });
    assert_eq!(push(&server).unwrap().digest, loaded.manifest);
    let sent = server.requests();
    let large = sent.iter().find(|r| r.method == "PUT" && r.body.len() == stage.blob.len()).unwrap();
    assert!(large.target.starts_with("/v2/app/blobs/uploads/1?state=x&digest=sha256%3A"), "{}", large.target);
    assert_eq!(large.header("content-length"), Some(stage.blob.len().to_string().as_str()));
    let last = sent.last().unwrap();
    assert_eq!((last.method.as_str(), last.target.as_str()), ("PUT", "/v2/app/manifests/2"));

    let server = Server::start(|request| match request.method.as_str() {
        "HEAD" => Answer::new(200, ""),
        _ => refusal(403, "DENIED", "requested access to the resource is denied"),
    });
    let error = push(&server).unwrap_err().to_string();
    assert!(error.ends_with("403 Forbidden: DENIED: requested access to the resource is denied"), "{error}");

    fs::remove_file(stage.root().join("blobs")).unwrap_err();
    fs::remove_file(stage.root().join("images/blobs").join(stage.large.replace(':', "/"))).unwrap();
    let error = push(&server).unwrap_err().to_string();
    assert!(error.contains("is not whole") && error.contains(&stage.large), "{error}");
}

/// Runs in a process of its own, whose PATH has the helper; see the next test.
#[test]
fn helper_as_found_by_path() {
    let Some(folder) = std::env::var_os("RT_TEST_HELPER").map(PathBuf::from) else { return };
    let keychain = cri::image::registry::Keychain::open(Some(folder.join("config.json"))).unwrap();
    use cri::image::registry::Kept;
    assert_eq!(keychain.find("r.example").unwrap(), Credentials::Anonymous);
    assert_eq!(keychain.keep("r.example", &user()).unwrap(), Kept::Helper("test".into()));
    assert_eq!(keychain.find("r.example").unwrap(), user());
    let text = fs::read_to_string(folder.join("config.json")).unwrap();
    assert!(text.contains("r.example") && !text.contains("s3cret"), "{text}");
    assert_eq!(keychain.forget("r.example").unwrap(), Some(Kept::Helper("test".into())));
    assert_eq!(keychain.find("r.example").unwrap(), Credentials::Anonymous);
    let error = keychain.find("broken.example").unwrap_err().to_string();
    assert!(error.starts_with("docker-credential-test get: exit status: 1: no "), "{error}");
    let error = keychain.find("none.example").unwrap_err().to_string();
    assert!(error.contains("docker-credential-none get"), "{error}");
}

#[test]
fn helpers_keep_credentials() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\ncd \"${0%/*}\"\nread -r line\ncase $1 in\nstore) echo \"$line\" > kept;;\nerase) rm kept;;\n\
        get) case $line in broken*) echo no luck; exit 1;; esac\ncat kept 2>/dev/null || { echo credentials not found in native keychain; exit 1; };;\nesac\n";
    let helper = scratch.path().join("docker-credential-test");
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let config = r#"{"credsStore": "test", "credHelpers": {"none.example": "none"}}"#;
    fs::write(scratch.path().join("config.json"), config).unwrap();
    let path = format!("{}:{}", scratch.path().display(), std::env::var("PATH").unwrap());
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_as_found_by_path"])
        .env("PATH", path)
        .env("RT_TEST_HELPER", scratch.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_login_is_checked() {
    let stage = Stage::new();
    let registry = Registry::new(stage.config()).unwrap();
    let server = Server::start(|request| match request.header("authorization") {
        Some("Basic bWU6czNjcmV0") => Answer::new(200, "{}"),
        _ => refusal(401, "UNAUTHORIZED", "wrong").header("www-authenticate", "Basic realm=\"x\""),
    });
    let wrong = Credentials::Basic { username: "me".into(), password: "wr0ng".into() };
    assert_eq!(registry.login(&server.host(), &user(), &Cancel::new()).unwrap(), user());
    let error = registry.login(&server.host(), &wrong, &Cancel::new()).unwrap_err().to_string();
    assert!(error.contains("401 Unauthorized: UNAUTHORIZED: wrong") && !error.contains("wr0ng"), "{error}");

    let (server, tokens) =
        with_tokens(&stage, |_| Answer::new(200, r#"{"token": "good", "refresh_token": "refresh"}"#));
    let kept = registry.login(&server.host(), &user(), &Cancel::new()).unwrap();
    assert_eq!(kept, Credentials::IdentityToken { token: "refresh".into() });
    assert!(tokens.log()[0].contains("offline_token=true"));
}
