//! The calls on images, with a registry on loopback.

use proto::v1::{
    AuthConfig, Image, ImageFilter, ImageFsInfoRequest, ImageSpec, ImageStatusRequest, ListImagesRequest,
    PullImageRequest, RemoveImageRequest, StreamImagesRequest,
};
use tests::{RegistryOptions, RegistryServer, Rtd, needs, rtd_test};
use tonic::{Code, Status};

const BUSYBOX: &str = concat!("oci:", env!("RT_TEST_IMAGE"), ":latest");

fn spec(image: &str) -> Option<ImageSpec> {
    Some(ImageSpec { image: image.to_owned(), ..ImageSpec::default() })
}

async fn pull(rtd: &mut Rtd<'_>, image: &str, auth: Option<AuthConfig>) -> Result<String, Status> {
    let request = PullImageRequest { image: spec(image), auth, sandbox_config: None };
    rtd.images.pull_image(request).await.map(|answer| answer.into_inner().image_ref)
}

async fn status(rtd: &mut Rtd<'_>, image: &str) -> Option<Image> {
    let request = ImageStatusRequest { image: spec(image), verbose: false };
    rtd.images.image_status(request).await.unwrap().into_inner().image
}

async fn list(rtd: &mut Rtd<'_>, image: &str) -> Vec<Image> {
    let request = ListImagesRequest { filter: Some(ImageFilter { image: spec(image) }) };
    rtd.images.list_images(request).await.unwrap().into_inner().images
}

async fn remove(rtd: &mut Rtd<'_>, image: &str) {
    rtd.images.remove_image(RemoveImageRequest { image: spec(image) }).await.unwrap();
}

async fn used(rtd: &mut Rtd<'_>) -> u64 {
    let info = rtd.images.image_fs_info(ImageFsInfoRequest::default()).await.unwrap().into_inner();
    info.image_filesystems[0].used_bytes.unwrap().value
}

#[test]
fn pulled_seen_and_removed() {
    rtd_test(async |rtd| {
        if let Some(missing) = RegistryServer::missing() {
            needs!(rtd.test, false, &missing);
        }
        let registry = RegistryServer::start(rtd.test, "registry", &RegistryOptions::default());
        registry.put(BUSYBOX, "busybox:1");
        registry.put(BUSYBOX, "busybox:2");
        let (one, two) = (format!("{}/busybox:1", registry.host), format!("{}/busybox:2", registry.host));
        // The directories of a store without images.
        let empty = used(rtd).await;
        assert!(empty < 100_000, "{empty}");
        assert!(status(rtd, &one).await.is_none());

        let id = pull(rtd, &one, None).await.unwrap();
        // The same image under another name has the same id.
        assert_eq!(pull(rtd, &two, None).await.unwrap(), id);
        for query in [one.as_str(), two.as_str(), id.as_str()] {
            let image = status(rtd, query).await.unwrap();
            assert_eq!((&image.id, &image.repo_tags), (&id, &vec![one.clone(), two.clone()]), "{query}");
            assert!(image.size > 100_000, "{}", image.size);
            assert_eq!(list(rtd, query).await, [image]);
        }
        let digest = status(rtd, &id).await.unwrap().repo_digests.pop().unwrap();
        assert!(digest.starts_with(&format!("{}/busybox@sha256:", registry.host)), "{digest}");
        assert_eq!(status(rtd, &digest).await.unwrap().id, id);
        assert!(used(rtd).await > empty + 100_000);
        let mut parts = rtd.images.stream_images(StreamImagesRequest::default()).await.unwrap().into_inner();
        assert_eq!(parts.message().await.unwrap().unwrap().images, list(rtd, "").await);
        assert!(parts.message().await.unwrap().is_none());

        // One name takes the image and all of its names along; again is no error.
        remove(rtd, &one).await;
        remove(rtd, &one).await;
        assert!(status(rtd, &two).await.is_none());
        assert_eq!(list(rtd, "").await, []);
        let left = used(rtd).await;
        assert!(left <= empty + 32_768, "{left} of {empty}");
    });
}

/// A registry for `me` with the password `hunter2`, and the name of an image in it.
fn guarded(rtd: &Rtd<'_>) -> (RegistryServer, String) {
    let users = vec![("me".to_owned(), "hunter2".to_owned())];
    let options = RegistryOptions { users, ..RegistryOptions::default() };
    let registry = RegistryServer::start(rtd.test, "registry", &options);
    let name = format!("{}/busybox:1", registry.host);
    let target = format!("docker://{name}");
    let copy = ["copy", "--insecure-policy", "--dest-tls-verify=false", "--dest-creds=me:hunter2", BUSYBOX, &target];
    registry.skopeo(&copy).ok();
    (registry, name)
}

#[test]
fn credentials_of_the_call() {
    rtd_test(async |rtd| {
        if let Some(missing) = RegistryServer::missing() {
            needs!(rtd.test, false, &missing);
        }
        let (_registry, name) = guarded(rtd);
        let auth = |password: &str| {
            Some(AuthConfig { username: "me".into(), password: password.into(), ..AuthConfig::default() })
        };
        for refused in [None, auth("wrong-secret")] {
            let error = pull(rtd, &name, refused).await.unwrap_err();
            assert!(error.message().contains("401"), "{error:?}");
            assert!(!error.message().contains("wrong-secret"), "{error:?}");
        }
        assert!(pull(rtd, &name, auth("hunter2")).await.is_ok());
    });
}

/// Those of the node's file are for pulls that bring none, and are read with each pull.
#[test]
fn credentials_of_the_node() {
    rtd_test(async |rtd| {
        if let Some(missing) = RegistryServer::missing() {
            needs!(rtd.test, false, &missing);
        }
        let (registry, name) = guarded(rtd);
        let file = rtd.test.dir.join("auth.json");
        rtd.configure(&format!("auth_file = {file:?}\n")).await;

        // It need not be there (`rtd config check` warns).
        assert!(pull(rtd, &name, None).await.unwrap_err().message().contains("401"));
        for wrong in ["{\"auths\": []}".to_owned(), format!("{{\"auths\": {{\"{}\": 1}}}}", registry.host)] {
            std::fs::write(&file, &wrong).unwrap();
            let error = pull(rtd, &name, None).await.unwrap_err();
            assert!(error.message().contains("auth.json: auths"), "{error:?}");
        }
        // me:wrong
        let settle = |host: &str, auth: &str| {
            std::fs::write(&file, format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{auth}\"}}}}}}")).unwrap();
        };
        settle(&registry.host, "bWU6d3Jvbmc=");
        let error = pull(rtd, &name, None).await.unwrap_err();
        assert!(error.message().contains("401") && !error.message().contains("bWU6"), "{error:?}");
        // me:hunter2, which is for one host alone.
        settle("127.0.0.1:1", "bWU6aHVudGVyMg==");
        assert!(pull(rtd, &name, None).await.unwrap_err().message().contains("401"));
        settle(&registry.host, "bWU6aHVudGVyMg==");
        let wrong = AuthConfig { username: "me".into(), password: "wrong".into(), ..AuthConfig::default() };
        assert!(pull(rtd, &name, Some(wrong)).await.unwrap_err().message().contains("401"), "the call's own count");
        pull(rtd, &name, None).await.unwrap();
    });
}

#[test]
fn what_makes_no_sense() {
    rtd_test(async |rtd| {
        for image in [None, spec(""), spec("UPPER"), spec("a b")] {
            let request = PullImageRequest { image: image.clone(), ..PullImageRequest::default() };
            let error = rtd.images.pull_image(request).await.unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{image:?}: {error:?}");
        }
        let empty = ImageStatusRequest::default();
        assert_eq!(rtd.images.image_status(empty).await.unwrap_err().code(), Code::InvalidArgument);
        let error = pull(rtd, "127.0.0.1:1/nobody:1", None).await.unwrap_err();
        assert!(error.message().starts_with("RegistryUnavailable: "), "{error:?}");
        remove(rtd, "127.0.0.1:1/nobody:1").await;
    });
}
