//! Content of `/etc/hosts`; hosts(5).
//!
//! ```text
//!  127.0.0.1  localhost            the loopback names
//!  10.0.0.9   db                   what the user asked for
//!  # its networks, kept current: changes in here are lost
//!  10.1.0.2   box.example box      its own names
//!  10.1.0.3   cache 0123456789ab   other containers there
//!  # end of its networks
//! ```
//!
//! The file is the container's: its programs may change it. Only what is between the two marks is replaced.

use std::net::IpAddr;

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// Names, separated by blanks.
    pub name: String,
    /// Address.
    pub address: IpAddr,
}

const BEGIN: &str = "# its networks, kept current: changes in here are lost";
const END: &str = "# end of its networks";

/// `/etc/hosts`: the loopback names, then `entries`.
pub fn hosts(entries: &[HostEntry]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    lines(&mut text, entries);
    text
}

/// A container's names for itself: with the domain first, as programs that ask for it expect.
pub fn own_names(hostname: &str, domainname: Option<&str>) -> String {
    match domainname {
        Some(domain) => format!("{hostname}.{domain} {hostname}"),
        None => hostname.to_owned(),
    }
}

fn lines(text: &mut String, entries: &[HostEntry]) {
    for HostEntry { name, address } in entries {
        text.push_str(&format!("{address}\t{name}\n"));
    }
}

/// `text` with the lines that are kept current replaced by `entries`; everything else stays as the container left it.
pub fn with_current(text: &str, entries: &[HostEntry]) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut inside = false;
    // A first mark without a second one: the container cut it off, and only the mark is ours for sure.
    let last_end = text.lines().enumerate().filter(|(_, line)| *line == END).last().map_or(0, |(index, _)| index);
    for (index, line) in text.lines().enumerate() {
        match (inside, line) {
            (false, BEGIN) => inside = index < last_end,
            (true, END) => inside = false,
            (false, END) | (true, _) => {}
            (false, _) => {
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    if !entries.is_empty() {
        kept.push_str(&format!("{BEGIN}\n"));
        lines(&mut kept, entries);
        kept.push_str(&format!("{END}\n"));
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(address: &str, name: &str) -> HostEntry {
        HostEntry { name: name.to_owned(), address: address.parse().unwrap() }
    }

    #[test]
    fn lines_of_a_container() {
        let text = hosts(&[entry("10.0.0.9", "db"), entry("10.1.0.2", &own_names("box", Some("example")))]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("ip6-allrouters\n10.0.0.9\tdb\n10.1.0.2\tbox.example box\n"));
        assert_eq!(own_names("box", None), "box");
    }

    #[test]
    fn entries_come_and_go() {
        let own = "127.0.0.1\tlocalhost\n";
        let one = with_current(own, &[entry("10.1.0.3", "cache 0123")]);
        assert_eq!(one, format!("{own}{BEGIN}\n10.1.0.3\tcache 0123\n{END}\n"));
        // What a program of the container added stays, wherever it is.
        let edited = format!("{one}1.2.3.4\tmine\n");
        let two = with_current(&edited, &[entry("10.1.0.4", "db")]);
        assert_eq!(two, format!("{own}1.2.3.4\tmine\n{BEGIN}\n10.1.0.4\tdb\n{END}\n"));
        assert_eq!(with_current(&two, &[]), format!("{own}1.2.3.4\tmine\n"));
        assert_eq!(with_current("no end", &[]), "no end\n");
        assert_eq!(with_current("", &[]), "");
        // Damaged marks do not swallow the container's own lines.
        assert_eq!(with_current(&format!("{BEGIN}\n1.2.3.4\tmine\n"), &[]), "1.2.3.4\tmine\n");
        assert_eq!(with_current(&format!("{END}\n1.2.3.4\tmine\n"), &[]), "1.2.3.4\tmine\n");
    }

    proptest! {
        #[test]
        fn entries_leave_no_trace(
            lines in proptest::collection::vec(
                prop_oneof!["[ -~]{0,20}", Just(BEGIN.to_owned()), Just(END.to_owned())],
                0..8,
            ),
            names in proptest::collection::vec("[a-z]{1,8}", 0..4),
        ) {
            let others: Vec<HostEntry> = names.iter().map(|name| entry("10.0.0.1", name)).collect();
            let text = lines.join("\n");
            let base = with_current(&text, &[]);
            let with = with_current(&text, &others);
            prop_assert_eq!(with_current(&with, &[]), base);
            prop_assert_eq!(with_current(&with, &others), with);
        }
    }
}
