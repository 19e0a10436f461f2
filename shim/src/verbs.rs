//! Which request is allowed in which state of a container: a total, pure function.

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Make it (again).
    Create,
    /// Let it run.
    Start,
    /// Send a signal.
    Kill {
        /// SIGKILL or the container's stop signal: the caller wants it to end.
        ends: bool,
    },
    /// End it for good.
    Stop,
    /// Freeze it.
    Pause,
    /// Thaw it.
    Resume,
    /// Change limits.
    Update,
    /// Run one more process.
    Exec,
    /// Connect to its streams.
    Attach,
    /// Change the size of a terminal.
    Resize,
    /// Remove it.
    Remove {
        /// Kill it first.
        force: bool,
    },
}

/// State of a container as far as requests are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The init process waits for `Start`.
    Created,
    /// The program runs.
    Running,
    /// Frozen.
    Paused,
    /// The init process has ended; the rest is being killed and the last output read.
    Ending,
    /// The restart policy starts it again.
    Restarting,
    /// Nothing of it runs.
    Exited,
}

/// Says whether `verb` is allowed.
///
/// # Errors
/// The reason, and what to do.
pub fn allowed(verb: Verb, condition: Condition) -> Result<(), &'static str> {
    use Condition::{Created, Ending, Exited, Paused, Restarting, Running};
    const ENDING: &str = "container is ending; wait for it first";
    const PAUSED: &str = "container is paused; resume it first";
    const CREATED: &str = "container is created, but not started; start it first";
    const EXITED: &str = "container is not running; start it first";
    const RESTARTING: &str = "container waits for its restart and has no process; try again when it runs";
    match verb {
        Verb::Create => match condition {
            Exited => Ok(()),
            Created => Err("container is created already"),
            Running => Err("container is running already"),
            Paused => Err(PAUSED),
            Ending => Err(ENDING),
            Restarting => Err("container waits for its restart; start or stop it first"),
        },
        Verb::Start => match condition {
            Created | Restarting => Ok(()),
            Running => Err("container is running already"),
            Paused => Err(PAUSED),
            Ending => Err(ENDING),
            Exited => Err("container is not created; create it first"),
        },
        Verb::Kill { ends: true } => match condition {
            Created | Running | Paused | Ending | Restarting => Ok(()),
            Exited => Err("container is not running"),
        },
        Verb::Kill { ends: false } => match condition {
            Created | Running => Ok(()),
            Paused => Err(PAUSED),
            Ending => Err(ENDING),
            Restarting => Err(RESTARTING),
            Exited => Err("container is not running"),
        },
        Verb::Stop => match condition {
            Created | Running | Paused | Ending | Restarting | Exited => Ok(()),
        },
        Verb::Pause => match condition {
            Running => Ok(()),
            Created => Err(CREATED),
            Paused => Err("container is paused already"),
            Ending => Err(ENDING),
            Restarting => Err(RESTARTING),
            Exited => Err(EXITED),
        },
        Verb::Resume => match condition {
            Paused => Ok(()),
            Created | Running | Ending | Restarting | Exited => Err("container is not paused"),
        },
        Verb::Update => match condition {
            Created | Running | Paused | Restarting | Exited => Ok(()),
            Ending => Err(ENDING),
        },
        Verb::Exec => match condition {
            Running => Ok(()),
            Created => Err(CREATED),
            Paused => Err(PAUSED),
            Ending => Err(ENDING),
            Restarting => Err(RESTARTING),
            Exited => Err(EXITED),
        },
        Verb::Attach => match condition {
            Created | Running => Ok(()),
            Paused => Err(PAUSED),
            Ending => Err(ENDING),
            Restarting => Err(RESTARTING),
            Exited => Err(EXITED),
        },
        Verb::Resize => match condition {
            Created | Running | Paused => Ok(()),
            Ending => Err(ENDING),
            Restarting => Err(RESTARTING),
            Exited => Err(EXITED),
        },
        Verb::Remove { force: true } => match condition {
            Created | Running | Paused | Ending | Restarting | Exited => Ok(()),
        },
        Verb::Remove { force: false } => match condition {
            Created | Ending | Exited => Ok(()),
            Running => Err("container is running; stop it first or remove it by force"),
            Paused => Err("container is paused; stop it first or remove it by force"),
            Restarting => Err("container waits for its restart; stop it first or remove it by force"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONDITIONS: [Condition; 6] = [
        Condition::Created,
        Condition::Running,
        Condition::Paused,
        Condition::Ending,
        Condition::Restarting,
        Condition::Exited,
    ];

    /// `y`: allowed, `-`: refused; in the order of `CONDITIONS`.
    #[test]
    fn table() {
        for (verb, expected) in [
            (Verb::Create, "-----y"),
            (Verb::Start, "y---y-"),
            (Verb::Kill { ends: true }, "yyyyy-"),
            (Verb::Kill { ends: false }, "yy----"),
            (Verb::Stop, "yyyyyy"),
            (Verb::Pause, "-y----"),
            (Verb::Resume, "--y---"),
            (Verb::Update, "yyy-yy"),
            (Verb::Exec, "-y----"),
            (Verb::Attach, "yy----"),
            (Verb::Resize, "yyy---"),
            (Verb::Remove { force: true }, "yyyyyy"),
            (Verb::Remove { force: false }, "y--y-y"),
        ] {
            let answers: String =
                CONDITIONS.iter().map(|&condition| if allowed(verb, condition).is_ok() { 'y' } else { '-' }).collect();
            assert_eq!(answers, expected, "{verb:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_state() {
        let refusal = allowed(Verb::Exec, Condition::Paused).unwrap_err();
        assert_eq!(refusal, "container is paused; resume it first");
    }
}
