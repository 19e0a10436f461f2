//! Signals: the interface numbers them by its own.

use nix::libc;

use super::Invalid;

/// Linux' numbers of the interface's signals 1 to 65. Two names of one signal have two numbers there; the first one found is told.
const NUMBERS: [i32; 65] = [
    libc::SIGABRT,
    libc::SIGALRM,
    libc::SIGBUS,
    libc::SIGCHLD,
    libc::SIGCHLD, // SIGCLD
    libc::SIGCONT,
    libc::SIGFPE,
    libc::SIGHUP,
    libc::SIGILL,
    libc::SIGINT,
    libc::SIGIO,
    libc::SIGABRT, // SIGIOT
    libc::SIGKILL,
    libc::SIGPIPE,
    libc::SIGIO, // SIGPOLL
    libc::SIGPROF,
    libc::SIGPWR,
    libc::SIGQUIT,
    libc::SIGSEGV,
    libc::SIGSTKFLT,
    libc::SIGSTOP,
    libc::SIGSYS,
    libc::SIGTERM,
    libc::SIGTRAP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGURG,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGVTALRM,
    libc::SIGWINCH,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    // The C library keeps 32 and 33 for itself: signal(7). From SIGRTMIN to SIGRTMIN+15, then from SIGRTMAX-14 to SIGRTMAX.
    34,
    35,
    36,
    37,
    38,
    39,
    40,
    41,
    42,
    43,
    44,
    45,
    46,
    47,
    48,
    49,
    50,
    51,
    52,
    53,
    54,
    55,
    56,
    57,
    58,
    59,
    60,
    61,
    62,
    63,
    64,
];

/// Linux' number of a signal; absent for the runtime's own choice.
pub(super) fn number(field: &str, message: i32) -> Result<Option<i32>, Invalid> {
    if message == 0 {
        return Ok(None);
    }
    let index = usize::try_from(message).ok().and_then(|message| message.checked_sub(1));
    match index.and_then(|index| NUMBERS.get(index)) {
        Some(number) => Ok(Some(*number)),
        None => Err(Invalid::new(
            field,
            format!("{message} is no signal of the interface; they are 1 to {}", NUMBERS.len()),
        )),
    }
}

/// The interface's number of one of Linux' signals; 0 where it has none.
pub(in crate::server) fn message(number: i32) -> i32 {
    let index = NUMBERS.iter().position(|known| *known == number);
    index.and_then(|index| i32::try_from(index + 1).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proto::v1::Signal;

    use super::*;

    #[test]
    fn table() {
        let cases = [
            (Signal::Sigabrt, 6),
            (Signal::Sighup, 1),
            (Signal::Sigint, 2),
            (Signal::Sigkill, 9),
            (Signal::Sigstkflt, 16),
            (Signal::Sigterm, 15),
            (Signal::Sigusr1, 10),
            (Signal::Sigxfsz, 25),
            (Signal::Sigrtmin, 34),
            (Signal::Sigrtminplus15, 49),
            (Signal::Sigrtmaxminus14, 50),
            (Signal::Sigrtmaxminus1, 63),
            (Signal::Sigrtmax, 64),
        ];
        for (signal, expected) in cases {
            assert_eq!(number("s", signal as i32), Ok(Some(expected)), "{signal:?}");
            assert_eq!(message(expected), signal as i32, "{signal:?}");
        }
        for (alias, signal) in
            [(Signal::Sigcld, Signal::Sigchld), (Signal::Sigiot, Signal::Sigabrt), (Signal::Sigpoll, Signal::Sigio)]
        {
            let known = number("s", alias as i32).expect("a signal").expect("not the runtime's choice");
            assert_eq!(message(known), signal as i32);
        }
        assert_eq!(number("s", 0), Ok(None));
        for wrong in [-1, 66, i32::MIN, i32::MAX] {
            assert_eq!(number("s", wrong).unwrap_err().field, "s", "{wrong}");
        }
        assert_eq!((message(0), message(32), message(65)), (0, 0, 0));
    }

    #[test]
    fn every_name_has_a_number() {
        for signal in 1..=65 {
            assert!(Signal::try_from(signal).is_ok());
            assert!(number("s", signal).expect("a signal").is_some());
        }
        assert!(Signal::try_from(66).is_err());
    }
}
