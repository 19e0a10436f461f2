//! Pulling from a registry that does as it should.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;
mod registry_script;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cri::image::registry::{Config, Credentials, Fresh, PullOptions, Pulled, PushOptions, Registry};
use cri::image::{Blobs, Cancel, Error, LoadOptions, Progress, Reference, Sent, Source, Store};
use image_layout::{Layer, Tar, is_root, layout};
use registry_script::distribution::Distribution;
use registry_script::{Content, Server};

fn pull(store: &Store, name: &str) -> Result<Pulled, Error> {
    let registry = Registry::new(Config::default()).unwrap();
    let options = PullOptions {
        platform: None,
        credentials: Arc::new(|_| Ok(Credentials::Anonymous)),
        cancel: Cancel::new(),
        blobs: Blobs::Keep,
    };
    store.pull(&registry, &name.parse().unwrap(), &options, &mut |_| {})
}

fn image(scratch: &Path, text: &str) -> Content {
    let path = scratch.join(format!("layout-{text}"));
    let base = Layer::gzip(Tar::new().file("base", "same in all"));
    layout(&path, "app:1", &[base, Layer::plain(Tar::new().file("file", text))]);
    Content::of_layout(&path, "1")
}

#[test]
fn root_an_image_has_its_tag_and_its_digest() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let content = image(scratch.path(), "one");
    let server = Server::start(move |request| content.answer(request));
    let store = Store::open(&scratch.path().join("store")).unwrap();
    let name = format!("{}/app:1", server.host());
    let pulled = pull(&store, &name).unwrap();
    assert_eq!((pulled.name.familiar(), pulled.fresh), (name.clone(), Fresh::New));
    let image = store.resolve(&name).unwrap();
    assert_eq!(image.id, pulled.id);
    let digested = format!("{}/app@{}", server.host(), pulled.resolved);
    assert_eq!(image.digests.iter().map(Reference::familiar).collect::<Vec<_>>(), std::slice::from_ref(&digested));
    assert_eq!(store.resolve(&digested).unwrap().id, pulled.id);
    assert_eq!(store.prepare(&name, &mut |_| {}).unwrap().layers.len(), 2);

    let asked = server.log().len();
    assert_eq!(pull(&store, &name).unwrap().fresh, Fresh::UpToDate);
    assert!(!server.log()[asked..].iter().any(|line| line.contains("/blobs/") && !line.contains(pulled.id.hex())));
}

#[test]
fn root_what_is_pushed_is_pulled() {
    if !is_root() {
        return;
    }
    let Some(server) = Distribution::start("", "") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("layout");
    let base = Layer::gzip(Tar::new().file("base", "same in all"));
    layout(&path, "app:1", &[base.clone(), Layer::plain(Tar::new().file("file", "x")), base]);
    let store = Store::open(&scratch.path().join("store")).unwrap();
    let loaded = store.load(Source::Path(path), &LoadOptions::default(), &mut |_| {}).unwrap().remove(0);
    let registry = Registry::new(Config::default()).unwrap();
    let push = |target: &str| {
        let mut sent = Vec::new();
        let options = PushOptions {
            image: loaded.id.short().into(),
            credentials: Arc::new(|_| Ok(Credentials::Anonymous)),
            cancel: Cancel::new(),
        };
        let target = format!("{}/{target}", server.host).parse().unwrap();
        let pushed = store
            .push(&registry, &target, &options, &mut |event| {
                if let Progress::Pushed { how, .. } = event {
                    sent.push(how);
                }
            })
            .unwrap();
        assert_eq!(pushed.digest, loaded.manifest);
        store.tag(loaded.id.short(), &target).unwrap();
        sent
    };
    assert_eq!(push("team/app:1"), [Sent::Sent; 3], "a blob that is in twice is sent once");
    assert_eq!(push("team/app:2"), [Sent::There; 3]);
    assert_eq!(push("other/app:1"), [Sent::Mounted; 3]);

    let second = Store::open(&scratch.path().join("second")).unwrap();
    let name = format!("{}/other/app:1", server.host);
    let pulled = pull(&second, &name).unwrap();
    assert_eq!((&pulled.id, &pulled.resolved), (&loaded.id, &loaded.manifest));
    assert_eq!(second.prepare(&name, &mut |_| {}).unwrap().layers.len(), 3);
    let error = pull(&second, &format!("{}/other/app:9", server.host)).unwrap_err().to_string();
    assert!(error.ends_with("404 Not Found: MANIFEST_UNKNOWN: manifest unknown"), "{error}");
}

/// Runs openssl in a folder.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn root_a_private_registry_wants_certificates_and_a_password() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 9 -subj /CN=ca",
    );
    fs::write(folder.join("server.ext"), "subjectAltName=IP:127.0.0.1").unwrap();
    fs::write(folder.join("client.ext"), "extendedKeyUsage=clientAuth").unwrap();
    for name in ["server", "client"] {
        openssl(
            folder,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ),
        );
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -out {name}.cert -extfile {name}.ext"
            ),
        );
    }
    let passwords = Command::new("htpasswd").args(["-Bbn", "me", "s3cret"]).output().unwrap();
    fs::write(folder.join("htpasswd"), passwords.stdout).unwrap();
    let at = folder.display();
    let tls = format!(", tls: {{certificate: {at}/server.cert, key: {at}/server.key, clientcas: [{at}/ca.crt]}}");
    let auth = format!("auth: {{htpasswd: {{realm: test, path: {at}/htpasswd}}}}\n");
    let Some(server) = Distribution::start(&tls, &auth) else { return };

    let layers = [Layer::gzip(Tar::new().file("file", "x"))];
    layout(&folder.join("layout"), "registry.example:5000/app:1", &layers);
    let store = Store::open(&folder.join("store")).unwrap();
    store.load(Source::Path(folder.join("layout")), &LoadOptions::default(), &mut |_| {}).unwrap();
    let config = Config { hosts_dirs: vec![folder.join("certs.d")], ..Config::default() };
    let registry = Registry::new(config).unwrap();
    let hosts = folder.join("certs.d/registry.example_5000_");
    fs::create_dir_all(&hosts).unwrap();
    let push = |hosts_toml: &str, password: &str| {
        fs::write(hosts.join("hosts.toml"), format!("server = \"https://{}\"\n{hosts_toml}", server.host)).unwrap();
        let user = Credentials::Basic { username: "me".into(), password: password.into() };
        let options = PushOptions {
            image: "registry.example:5000/app:1".into(),
            // The registry has another address, and is shown what is kept under its name.
            credentials: user.only_for("registry.example:5000"),
            cancel: Cancel::new(),
        };
        let target = "registry.example:5000/app:1".parse().unwrap();
        store.push(&registry, &target, &options, &mut |_| {}).map_err(|error| error.to_string())
    };
    let (ca, client) = ("ca = \"../../ca.crt\"\n", "client = [[\"../../client.cert\", \"../../client.key\"]]\n");
    let rows = [
        ("", "s3cret", "UnknownIssuer"),
        // The server closes the connection; how that is seen depends on who is faster.
        (ca, "s3cret", "HEAD https://127.0.0.1"),
        (&*format!("{ca}{client}"), "wrong", "401 Unauthorized"),
        ("ca = \"missing.crt\"", "s3cret", "missing.crt: No such file"),
        ("ca = \"../../server.key\"", "s3cret", "ca: a file without a certificate"),
        ("client = \"../../client.cert\"", "s3cret", "client: certificate and key"),
    ];
    for (hosts_toml, password, expected) in rows {
        let error = push(hosts_toml, password).unwrap_err();
        assert!(error.contains(expected) && !error.contains("s3cret"), "{expected}: {error}");
    }
    push(&format!("{ca}{client}"), "s3cret").unwrap();
    push(&format!("skip_verify = true\n{client}"), "s3cret").unwrap();

    let user = Credentials::Basic { username: "me".into(), password: "s3cret".into() };
    assert_eq!(registry.login("registry.example:5000", &user, &Cancel::new()).unwrap(), user);
    let second = Store::open(&folder.join("second")).unwrap();
    let options = PullOptions {
        platform: None,
        blobs: Blobs::Keep,
        credentials: Arc::new(move |_| Ok(user.clone())),
        cancel: Cancel::new(),
    };
    let pulled =
        second.pull(&registry, &"registry.example:5000/app:1".parse().unwrap(), &options, &mut |_| {}).unwrap();
    assert_eq!(pulled.name.to_string(), "registry.example:5000/app:1");
}
