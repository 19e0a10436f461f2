//! The OCI command line (runtime-spec, runtime.md and runc's command line) on a real kernel, driven from outside.
//!
//! `RT_RUNTIME` chooses the program: every test passes on ours, runc and crun, or says why one of them differs.

mod lifecycle;
