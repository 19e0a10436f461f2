//! x
mod template;
fn main() {}
