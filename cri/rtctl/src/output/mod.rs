//! What is printed: tables, templates, JSON, sizes and times for people.

pub(crate) mod human;
pub(crate) mod list;
pub(crate) mod table;
