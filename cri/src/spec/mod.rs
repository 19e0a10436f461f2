//! From image and options to a runtime spec.
