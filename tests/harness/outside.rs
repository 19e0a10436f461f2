//! A folder of the host that no container may touch.

use std::fs;
use std::path::{Path, PathBuf};

use crate::test::Test;

impl Test {
    /// A new folder on the host with a file `file` in it; [`untouched`] looks whether it is as it was.
    pub fn outside(&self) -> PathBuf {
        let folder = self.dir.join(self.id());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "untouched").unwrap();
        folder
    }
}

/// Nothing was made, changed or removed in a folder of [`Test::outside`].
#[track_caller]
pub fn untouched(folder: &Path) {
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"], "{folder:?}");
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "untouched");
}
