//! Pods: the engine behind the calls of a kubelet. It knows no messages.

pub mod config;
