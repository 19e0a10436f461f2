//! What registries answer, and what operators write about them.

use cri::image::registry::fuzz;

pub(crate) fn challenge(data: &[u8]) {
    let Ok(header) = std::str::from_utf8(data) else { return };
    assert!(fuzz::challenges(header) <= header.len());
}

pub(crate) fn hosts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    fuzz::hosts(text);
}

/// It is shown on a terminal.
pub(crate) fn refusal(data: &[u8]) {
    let shown = fuzz::refusal(data);
    assert!(shown.len() < 8 << 10 && !shown.contains(|c: char| c.is_control()), "{shown:?}");
}
