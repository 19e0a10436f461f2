//! What the tests on a real kernel share.
