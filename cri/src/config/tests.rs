use super::*;

#[test]
fn all_defaults_are_read() {
    assert_eq!(Loaded::defaults().config.root.to_str(), Some("/var/lib/rt"));
}
