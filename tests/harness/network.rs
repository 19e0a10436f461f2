//! The network namespace of a test: what it makes there is nobody else's, and what it leaves there is seen.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use nix::sched::{CloneFlags, unshare};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{netlink, recv, send, socket_with};
use serde_json::Value;

use crate::programs;

const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const ACK: u16 = 4;

/// Moves the calling thread, and what it starts from now on, to a network namespace of its own with loopback up.
pub(crate) fn enter() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    // struct ifinfomsg (rtnetlink(7)): family, type, index of lo, flags, mask: RTM_NEWLINK sets IFF_UP.
    let mut up = vec![0, 0, 0, 0];
    up.extend(1_u32.to_ne_bytes());
    up.extend(1_u32.to_ne_bytes());
    up.extend(1_u32.to_ne_bytes());
    request(None, 16, REQUEST | ACK, &up).expect("every kernel that has network namespaces has rtnetlink(7)");
}

/// Another host: a network namespace that is joined to the test's by a cable.
#[derive(Debug)]
pub struct Host {
    /// Keeps the namespace.
    child: Child,
}

impl Host {
    /// Makes it: the test has 192.0.2.1 and 2001:db8::1 (RFC 5737, RFC 3849), the other host 192.0.2.2 and 2001:db8::2.
    pub fn cabled() -> Host {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up; echo ready; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let host = Host { child };
        let pid = host.child.id().to_string();
        let here = |args: &str| run(Command::new("ip").args(args.split(' ')));
        here(&format!("link add cable type veth peer name cable netns {pid}"));
        for (number, run) in [("1", &here as &dyn Fn(&str)), ("2", &|args: &str| host.ip(args))] {
            run(&format!("address add 192.0.2.{number}/24 dev cable"));
            run(&format!("address add 2001:db8::{number}/64 dev cable nodad"));
            run("link set cable up");
        }
        host
    }

    /// A command there.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.child.id())).arg(program).args(args).stdin(Stdio::null());
        command
    }

    /// `ip ARGS` there; it must succeed.
    pub fn ip(&self, args: &str) {
        run(&mut self.command("ip", &args.split(' ').collect::<Vec<_>>()));
    }

    /// The answer of `payload answer` somewhere, asked from there; `None` when none comes.
    pub fn ask(&self, protocol: &str, address: &str, port: u16) -> Option<String> {
        answer(&mut self.command(programs::payload().to_str().unwrap(), &["ask", protocol, address, &port.to_string()]))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // At once, and with it the other end, which would go with the namespace at some time.
        let _gone_already = Command::new("ip").args(["link", "delete", "cable"]).status();
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// What `payload ask` prints, without the end of the line.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The answer of `payload answer` somewhere, asked from the test's own host.
pub fn ask(protocol: &str, address: &str, port: u16) -> Option<String> {
    let mut command = Command::new(programs::payload());
    answer(command.args(["ask", protocol, address, &port.to_string()]))
}

/// Whether this kernel has what networks are made of: bridges, veth and the expressions of nftables that our rules use. Debian's user-mode
/// Linux has no nft_nat and no nft_fib.
pub fn has_networks() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let rules = "ip link add rt0 type bridge && ip link add v0 type veth peer name v1 && nft 'add table inet t; \
                     add chain inet t c { type nat hook prerouting priority 0; }; \
                     add rule inet t c fib daddr type local dnat ip to 192.0.2.1; add table bridge t'";
        let mut probe = Command::new("unshare");
        probe.args(["--net", "sh", "-c", rules]).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    })
}

/// Names of the links here.
pub fn links() -> Vec<String> {
    let replies = request(None, 18, REQUEST | DUMP, &[0; 16]).expect("every kernel has rtnetlink(7)");
    replies.iter().filter_map(|reply| string(reply.get(16..)?, 3)).collect()
}

/// nft tables here: family and name; empty on a kernel without nf_tables.
pub(crate) fn tables() -> Vec<String> {
    // struct nfgenmsg (linux/netfilter/nfnetlink.h): any family, version 0, resource 0; NFT_MSG_GETTABLE of subsystem 10.
    let replies = request(Some(netlink::NETFILTER), 10 << 8 | 1, REQUEST | DUMP, &[0; 4]).unwrap_or_default();
    replies.iter().filter_map(|reply| Some(format!("{} {}", reply.first()?, string(reply.get(4..)?, 1)?))).collect()
}

/// Sends one message and collects what comes back, without headers, up to the end; nothing where the kernel does not know it.
fn request(protocol: Option<Protocol>, kind: u16, flags: u16, body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol).ok()?;
    let mut message = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    send(&socket, &message, SendFlags::empty()).unwrap();
    let mut replies = Vec::new();
    loop {
        let mut buffer = vec![0; 1 << 16];
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty()).unwrap();
        let mut rest = &buffer[..length];
        while rest.len() >= 16 {
            let length = usize::try_from(u32::from_ne_bytes(rest[..4].try_into().unwrap())).unwrap();
            let body = &rest[16..length];
            match u16::from_ne_bytes(rest[4..6].try_into().unwrap()) {
                // NLMSG_ERROR: an acknowledgement is one without an error.
                2 => return (body[..4] == [0; 4]).then_some(replies),
                // NLMSG_DONE.
                3 => return Some(replies),
                _ => replies.push(body.to_vec()),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// The text of an attribute (struct nlattr: length, type, value, padding to four bytes).
fn string(mut attributes: &[u8], wanted: u16) -> Option<String> {
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes(attributes[..2].try_into().unwrap()));
        if u16::from_ne_bytes(attributes[2..4].try_into().unwrap()) == wanted {
            let text = attributes.get(4..length)?;
            return Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// The default network's bridge and our nft table stay on a host for the next container; with nobody on them and nothing in them.
/// What else there is of networks, the oracle finds.
pub(crate) fn forget_default(state: &Path) {
    for entry in fs::read_dir(state.join("network")).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "json") {
            let book: Value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
            assert_eq!(book["attachments"], Value::Array(Vec::new()), "containers are left on networks");
        }
    }
    if links().iter().any(|link| link == "rt0") {
        assert!(Command::new("ip").args(["link", "delete", "rt0"]).status().unwrap().success());
    }
    // inet and bridge: NFPROTO_INET is 1, NFPROTO_BRIDGE 7.
    for table in tables() {
        let Some((family, name)) = table.split_once(' ').filter(|(_, name)| name.starts_with("rt-")) else {
            continue;
        };
        let family = if family == "1" { "inet" } else { "bridge" };
        let nft = |verb: &str| Command::new("nft").args([verb, "table", family, name]).output().unwrap();
        let listed = String::from_utf8_lossy(&nft("list").stdout).into_owned();
        for elements in listed.split("elements = {").skip(1) {
            let elements = elements.split('}').next().unwrap();
            let others: Vec<&str> =
                elements.split([',', '.']).map(str::trim).filter(|name| *name != "\"rt0\"").collect();
            assert!(others.is_empty(), "left in the firewall: {others:?}\n{listed}");
        }
        assert!(nft("delete").status.success());
    }
}
