//! The daemon is killed before each step of a pull (a sample of them; with `RT_TEST_ROUNDS=1000` before all): what is in the store afterwards is
//! as it was packed, the same pull succeeds, and a removal leaves nothing.
//!
//! The image has one entry of each kind, in two layers: a step more for each further file would tell nothing new.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use proto::v1::{ImageSpec, ListImagesRequest, PullImageRequest, RemoveImageRequest};
use tests::{Killer, RegistryOptions, RegistryServer, Rtd, needs, program, rtd_test};
use tonic::Status;

use crate::crash::{sample, wake};

/// Makes a docker archive, `image.tar`, in the folder it runs in.
const IMAGE: &str = r#"
mkdir -p one/dir/gone two/dir/opaque
printf text >one/dir/file
ln one/dir/file one/hard
ln -s dir/file one/soft
mkfifo one/pipe
mknod one/device c 1 3
printf x >noted
truncate -s 1M one/sparse
chown 7:8 one/dir
chmod 4711 one/dir/file
printf other >one/dir/gone/file
touch two/dir/.wh.gone two/dir/opaque/.wh..wh..opq
printf more >two/dir/opaque/file
diffs=
for layer in one two; do
    tar --sort=name --mtime=@1 --numeric-owner --sparse --format=posix -C $layer -cf $layer.tar .
    tar --format=posix --pax-option=SCHILY.xattr.user.note:=word -rf $layer.tar noted
    diffs="$diffs,\"sha256:$(sha256sum $layer.tar | cut -d' ' -f1)\""
done
printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%s]}}' "${diffs#,}" >config.json
echo '[{"Config":"config.json","RepoTags":["each:1"],"Layers":["one.tar","two.tar"]}]' >manifest.json
tar -cf image.tar manifest.json config.json one.tar two.tar
"#;

/// All paths below a directory.
fn stored(dir: &Path, found: &mut BTreeSet<String>) {
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        found.insert(path.display().to_string());
        if path.is_dir() && !path.is_symlink() {
            stored(&path, found);
        }
    }
}

/// What is in the store is as it was packed, file by file.
fn check(rtd: &Rtd<'_>, when: &str) {
    let mut fsck = Command::new(program("rtctl"));
    let output = fsck.env("RT_ROOT", rtd.root()).env("RT_STATE", rtd.state()).args(["image", "fsck"]).output().unwrap();
    assert!(output.status.success(), "{when}: {output:?}");
}

#[test]
fn pull_image() {
    rtd_test(async |rtd| {
        if let Some(missing) = RegistryServer::missing() {
            needs!(rtd.test, false, &missing);
        }
        let image = rtd.test.dir.join("image");
        fs::create_dir(&image).unwrap();
        let made = Command::new("sh").args(["-euc", IMAGE]).current_dir(&image).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let registry = RegistryServer::start(rtd.test, "registry", &RegistryOptions::default());
        registry.put(&format!("docker-archive:{}", image.join("image.tar").display()), "each:1");
        let spec = Some(ImageSpec { image: format!("{}/each:1", registry.host), ..ImageSpec::default() });
        let pull = PullImageRequest { image: spec.clone(), ..PullImageRequest::default() };
        let remove = RemoveImageRequest { image: spec.clone() };
        rtd.images.pull_image(pull.clone()).await.unwrap();
        rtd.images.remove_image(remove.clone()).await.unwrap();
        let mut empty = BTreeSet::new();
        stored(&rtd.root(), &mut empty);
        let mut steps = 0;
        let mut at = u32::MAX;
        let mut points = Vec::new();
        loop {
            let killer = Killer::watch(rtd.pid(), at, &rtd.test.dir);
            let answer = rtd.images.pull_image(pull.clone()).await;
            let done = killer.end(wake(rtd)).await;
            eprintln!("PullImage: killed before step {at}: {:?}", answer.as_ref().map_err(Status::code));
            if at == u32::MAX {
                steps = done;
                points = sample(steps).into_iter().rev().collect();
                eprintln!("PullImage: {steps} steps");
            } else {
                rtd.kill();
                check(rtd, &format!("killed before step {at}"));
                rtd.restart().await;
            }
            let id = rtd.images.pull_image(pull.clone()).await.unwrap().into_inner().image_ref;
            let images = rtd.images.list_images(ListImagesRequest::default()).await.unwrap().into_inner().images;
            assert_eq!(images.iter().map(|image| &image.id).collect::<Vec<_>>(), [&id]);
            check(rtd, &format!("pulled again after step {at}"));
            rtd.images.remove_image(remove.clone()).await.unwrap();
            let mut left = BTreeSet::new();
            stored(&rtd.root(), &mut left);
            assert_eq!(left.difference(&empty).collect::<Vec<_>>(), [""; 0], "{at}");
            match points.pop() {
                Some(next) => at = next,
                None => break,
            }
        }
        assert!(steps > 0);
    });
}
