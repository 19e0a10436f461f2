//! The Container Runtime Interface, `runtime.v1`: what a kubelet says to a container runtime.
//!
//! The definition is in `runtime/v1/*.proto` beside this crate; everything here is generated from it. `tests/drift.rs` compares
//! it with the published one: every name, number and type.

/// Package `runtime.v1`: messages, and the servers and clients of both services.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::cast_possible_truncation,
    reason = "generated; what the messages mean stands in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}
