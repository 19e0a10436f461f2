//! What `record` uses of the command line.

#[path = "../../../cri/rtctl/src/flag/time.rs"]
#[allow(dead_code, reason = "the program uses all of it")]
pub(crate) mod time;
