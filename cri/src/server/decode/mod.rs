//! From the messages of the wire to the engine's types: all that a message alone can be wrong about is found here.
//!
//! A message may lack any part: an absent part means its defaults, and 0 or empty text means "not given". What is refused is named
//! by its path in the message, with what would be allowed.

mod container;
mod mount;
mod namespace;
mod pod;
mod resources;
mod security;
pub(super) mod signal;
mod syntax;

#[cfg(test)]
mod tests;

pub(crate) use container::container;
pub(crate) use pod::pod;
pub(crate) use resources::resources;

/// What a field of a message cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub(crate) struct Invalid {
    /// Path of the field, such as `config.linux.resources.cpu_quota`.
    pub(crate) field: String,
    /// What is wrong, and what is allowed.
    pub(crate) problem: String,
}

impl Invalid {
    fn new(field: &str, problem: impl Into<String>) -> Invalid {
        Invalid { field: field.to_owned(), problem: problem.into() }
    }

    /// The same, seen from a message that holds this one as `field`.
    pub(crate) fn within(self, field: &str) -> Invalid {
        Invalid { field: format!("{field}.{}", self.field), problem: self.problem }
    }
}

/// Decodes each element of the list `field`, which its errors name by its index.
fn each<T, U>(field: &str, list: Vec<T>, decode: impl Fn(T) -> Result<U, Invalid>) -> Result<Vec<U>, Invalid> {
    let element = |(index, value)| decode(value).map_err(|error| error.within(&format!("{field}[{index}]")));
    list.into_iter().enumerate().map(element).collect()
}
