//! Content of `/etc/hosts` and `/etc/resolv.conf`.

/// An additional line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// Name.
    pub name: String,
    /// Address.
    pub address: std::net::IpAddr,
}

/// Settings of the resolver; empty parts are taken from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers.
    pub servers: Vec<std::net::IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// `/etc/hosts` of a container without a network of its own: the loopback names, then `extra`; hosts(5).
pub fn hosts(hostname: &str, domainname: Option<&str>, extra: &[HostEntry]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for HostEntry { name, address } in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    // Programs look their own name up; without another address it is on the loopback interface.
    let names = match domainname {
        Some(domain) => format!("{hostname}.{domain} {hostname}"),
        None => hostname.to_owned(),
    };
    text.push_str(&format!("127.0.0.1\t{names}\n"));
    text
}

/// `/etc/resolv.conf`: the host's text, with the parts that are given replaced; resolv.conf(5).
pub fn resolv_conf(host: &str, given: &Resolver) -> String {
    let replaced = |line: &str| {
        let word = line.split_whitespace().next().unwrap_or("");
        match word {
            "nameserver" => !given.servers.is_empty(),
            "search" | "domain" => !given.search.is_empty(),
            "options" => !given.options.is_empty(),
            _ => false,
        }
    };
    let mut text: String = host.lines().filter(|line| !replaced(line)).map(|line| format!("{line}\n")).collect();
    for server in &given.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    // A single dot asks for no search at all.
    if !given.search.is_empty() && given.search != ["."] {
        text.push_str(&format!("search {}\n", given.search.join(" ")));
    }
    if !given.options.is_empty() {
        text.push_str(&format!("options {}\n", given.options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolver_table() {
        let host = "# made by hand\nnameserver 10.0.0.1\nsearch corp.example\noptions ndots:2\n";
        let given = |servers: &[&str], search: &[&str], options: &[&str]| Resolver {
            servers: servers.iter().map(|text| text.parse().unwrap()).collect(),
            search: search.iter().map(|text| (*text).to_owned()).collect(),
            options: options.iter().map(|text| (*text).to_owned()).collect(),
        };
        assert_eq!(resolv_conf(host, &Resolver::default()), host);
        assert_eq!(
            resolv_conf(host, &given(&["1.1.1.1", "::1"], &[], &[])),
            "# made by hand\nsearch corp.example\noptions ndots:2\nnameserver 1.1.1.1\nnameserver ::1\n"
        );
        assert_eq!(
            resolv_conf(host, &given(&[], &["."], &["rotate"])),
            "# made by hand\nnameserver 10.0.0.1\noptions rotate\n"
        );
    }

    #[test]
    fn hosts_lines() {
        let extra = [HostEntry { name: "db".to_owned(), address: "10.0.0.9".parse().unwrap() }];
        let text = hosts("box", Some("example"), &extra);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.0.0.9\tdb\n127.0.0.1\tbox.example box\n"));
    }
}
