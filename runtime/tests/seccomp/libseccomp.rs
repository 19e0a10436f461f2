//! The same verdicts as libseccomp (with runc's way of using it, and its ENOSYS for new calls), for every architecture,
//! number and argument that matters.
//!
//! libseccomp is asked through a small program, built on the fly. Where it or a C compiler is missing, the tests say so and
//! pass. For the other byte order `RT_LIBSECCOMP_S390X` names that program, run by emulation (`hack/libseccomp-s390x`).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use caps::Capability;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use runtime::seccomp::{Arch, Instruction, calls, compile_for, default_profile_for};
use runtime::spec::{Seccomp, SeccompArg, SeccompRule};

use super::interpreter::{ALLOW, Call, ENOSYS, KILL_PROCESS, KILL_THREAD, LOG, check, run};
use super::property::{ACTIONS, MULTIPLEXED, OPERATORS, POOL, VALUES, arguments, conjunction, return_value};

const X32_BIT: u32 = 0x4000_0000;
/// Hosts of this machine's byte order: libseccomp mixes no others.
const HOSTS: [Arch; 4] = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::Ppc64le];
/// Hosts of the other one.
const BIG_ENDIAN: [Arch; 1] = [Arch::S390x];

fn is_big_endian(host: Arch) -> bool {
    BIG_ENDIAN.contains(&host)
}

/// The running helper.
struct Oracle {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Whether it runs on a big-endian machine, whose filters it gives.
    big_endian: bool,
}

impl Oracle {
    /// None, with the reason on standard error, if it cannot be built.
    fn start(test: &str) -> Option<Oracle> {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libseccomp-{test}"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seccomp/libseccomp.c");
        let built = Command::new("cc").arg("-O1").arg("-o").arg(&program).arg(source).arg("-lseccomp").output();
        let problem = match built {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Some(format!("cc: {error}")),
        };
        if let Some(problem) = problem {
            eprintln!("SKIPPED {test}: needs cc and libseccomp-dev: {problem}");
            return None;
        }
        Some(Oracle::of(&program, false))
    }

    /// The one of s390x. None, with the reason on standard error, if it is not there.
    fn start_s390x(test: &str) -> Option<Oracle> {
        let program = std::env::var_os("RT_LIBSECCOMP_S390X");
        if program.is_none() {
            eprintln!("SKIPPED {test}: RT_LIBSECCOMP_S390X is not set (hack/libseccomp-s390x makes what it names)");
        }
        program.map(|program| Oracle::of(Path::new(&program), true))
    }

    fn of(program: &Path, big_endian: bool) -> Oracle {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Oracle { child, input, output, big_endian }
    }

    fn ask(&mut self, question: &str) -> String {
        self.input.as_mut().unwrap().write_all(question.as_bytes()).unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// Its number for a call; None if it never heard of the call. Calls of other architectures and functions of
    /// multiplexing calls have negative numbers.
    fn number(&mut self, arch: Arch, name: &str) -> Option<i32> {
        let answer = self.ask(&format!("number {:x} {name}\n", token(arch))).parse().unwrap();
        (answer != -1).then_some(answer)
    }

    /// Compiles as runc does; None if libseccomp refuses.
    fn compile(&mut self, host: Arch, profile: &Seccomp) -> Option<Vec<Instruction>> {
        let default = return_value(&profile.default_action, profile.default_errno_ret);
        let arches: Vec<String> = named(host, profile).iter().map(|arch| format!("{:x}", token(*arch))).collect();
        let mut question = format!("filter {default:x} {}\n", arches.join(","));
        for rule in &profile.syscalls {
            let action = return_value(&rule.action, rule.errno_ret);
            if action == default {
                continue;
            }
            let indices: BTreeSet<u32> = rule.args.iter().map(|arg| arg.index).collect();
            let alternatives: Vec<&[SeccompArg]> =
                if indices.len() < rule.args.len() { rule.args.chunks(1).collect() } else { vec![&rule.args] };
            for name in &rule.names {
                for args in &alternatives {
                    question += &format!("rule {action:x} {name} {}", args.len());
                    for arg in *args {
                        let op = OPERATORS.iter().position(|op| *op == arg.op).unwrap();
                        question += &format!(" {} {op} {:x} {:x}", arg.index, arg.value, arg.value_two);
                    }
                    question += "\n";
                }
            }
        }
        let answer = self.ask(&(question + "end\n"));
        let program = answer.strip_prefix("ok ")?.as_bytes();
        let bytes: Vec<u8> =
            program.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
        let (half, whole) = match self.big_endian {
            true => (u16::from_be_bytes as fn([u8; 2]) -> u16, u32::from_be_bytes as fn([u8; 4]) -> u32),
            false => (u16::from_le_bytes as fn([u8; 2]) -> u16, u32::from_le_bytes as fn([u8; 4]) -> u32),
        };
        let instruction =
            |b: &[u8]| Instruction { code: half([b[0], b[1]]), jt: b[2], jf: b[3], k: whole([b[4], b[5], b[6], b[7]]) };
        Some(bytes.chunks(8).map(instruction).collect())
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

/// libseccomp's number for an architecture; only that of x32 is its own.
fn token(arch: Arch) -> u32 {
    if arch == Arch::X32 { 0x4000_003e } else { arch.audit() }
}

fn named(host: Arch, profile: &Seccomp) -> Vec<Arch> {
    let named = |arch: &Arch| *arch == host || profile.architectures.iter().any(|name| name == arch.name());
    host.presents().iter().copied().filter(named).collect()
}

/// A profile without the calls that this libseccomp is too old for.
fn known_to(oracle: &mut Oracle, host: Arch, mut profile: Seccomp) -> Seccomp {
    let mut known = |name: &str| {
        host.presents().iter().all(|&arch| arch.number(name).is_none() || oracle.number(arch, name).is_some())
    };
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| known(name));
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
    profile
}

/// What runc loads: libseccomp's verdict behind its answer to calls newer than the profile.
fn expected(profile: &Seccomp, host: Arch, program: &[Instruction], call: &Call) -> u32 {
    let default = return_value(&profile.default_action, profile.default_errno_ret);
    let x32 = call.number & X32_BIT != 0 && call.arch == Arch::X32.audit();
    let presents = |arch: &&Arch| arch.audit() == call.arch && (**arch == Arch::X32) == x32;
    // Where the default is this very answer, runc adds nothing, and functions of ipc(2) stay what their rules say.
    if !matches!(default, ALLOW | LOG | ENOSYS)
        && let Some(arch) = named(host, profile).iter().find(presents)
    {
        let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
        let newest = names.filter_map(|name| arch.number(name)).filter(|number| *number & 0xf_0000 != 0xf_0000).max();
        // Runc takes these for the newest of arm: then nothing else on arm is new.
        let private = *arch == Arch::Arm && call.number >= 0xf_0000;
        // Calls that do not fit into the instruction may come as 0 there, which runc answers alike.
        let wide = matches!(arch, Arch::S390x | Arch::S390) && call.number == 0;
        if newest.is_some_and(|newest| call.number > newest || wide) && !private {
            return ENOSYS;
        }
    }
    run(program, call, is_big_endian(host)).0
}

/// Numbers that a program could treat differently.
fn numbers(host: Arch) -> impl Iterator<Item = u32> {
    let edges = [0xf_0000..0xf_0010, X32_BIT - 2..X32_BIT + 600, 0x7fff_fff0..0x7fff_ffff];
    // Without x32, -1 is the number of a call that a tracer skips. What lies between is neither x86_64's nor x32's.
    let last = if host == Arch::X86_64 { vec![u32::MAX] } else { vec![0x8000_0000, u32::MAX - 1, u32::MAX] };
    (0..=600).chain(edges.into_iter().flatten()).chain(last)
}

/// Compares all verdicts: with all of `arguments` where they can matter, with some elsewhere.
fn compare(
    profile: &Seccomp,
    host: Arch,
    ours: &[Instruction],
    theirs: &[Instruction],
    arguments: &[[u64; 6]],
) -> Result<usize, String> {
    let mut compared = 0;
    let conditional: Vec<&String> =
        profile.syscalls.iter().filter(|rule| !rule.args.is_empty()).flat_map(|rule| &rule.names).collect();
    let some = [[0; 6], [u64::MAX; 6], [1, 2, 3, 4, 5, 6]];
    let foreign = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm, Arch::S390x].map(Arch::audit);
    let archs: BTreeSet<u32> = host.presents().iter().map(|arch| arch.audit()).chain(foreign).collect();
    for arch in archs {
        let of_arch: Vec<Arch> = host.presents().iter().copied().filter(|known| known.audit() == arch).collect();
        let numbers_of = |calls: &[&str]| -> BTreeSet<u32> {
            of_arch.iter().flat_map(|arch| calls.iter().filter_map(|call| arch.number(call))).collect()
        };
        let telling = numbers_of(&conditional.iter().map(|name| name.as_str()).collect::<Vec<_>>());
        let multiplexing = numbers_of(&["socketcall", "ipc"]);
        for number in numbers(host) {
            let x32 = number & X32_BIT != 0 && arch == Arch::X32.audit();
            let presented =
                named(host, profile).iter().any(|named| named.audit() == arch && (*named == Arch::X32) == x32);
            let functions: Vec<[u64; 6]> = (0..30).map(|function| [function, 1, 0, 0, 0, 0]).collect();
            if host == Arch::Ppc64le && Some(number) == host.number("ipc") {
                // It does not take rules for functions of ipc(2) apart there.
                continue;
            }
            let arguments = if multiplexing.contains(&number) {
                // Bits that the kernel ignores hide a function from libseccomp: see `policy`.
                &functions
            } else if telling.contains(&number) {
                arguments
            } else {
                &some[..]
            };
            for arguments in arguments {
                let call = Call { number, arch, arguments: *arguments };
                let (found, _) = run(ours, &call, is_big_endian(host));
                let mut expected = expected(profile, host, theirs, &call);
                if !presented && expected == KILL_THREAD {
                    // An architecture that is not named: one thread is killed there, the process here.
                    expected = KILL_PROCESS;
                }
                if found != expected {
                    return Err(format!("{call:x?}: {found:#x}, libseccomp {expected:#x}"));
                }
                compared += 1;
            }
        }
    }
    Ok(compared)
}

/// Arguments around every value that the profile's conditions name, and with bits that a 32-bit kernel ignores.
fn telling_arguments(profile: &Seccomp) -> Vec<[u64; 6]> {
    let mut values = BTreeSet::from([0, u64::MAX]);
    for arg in profile.syscalls.iter().flat_map(|rule| &rule.args) {
        for value in [arg.value, arg.value_two] {
            values.extend([value.wrapping_sub(1), value, value.wrapping_add(1), value ^ 1 << 32, value ^ 1 << 63]);
        }
    }
    values.into_iter().map(|value| [value; 6]).collect()
}

#[test]
fn numbers_of_all_calls() {
    let Some(mut oracle) = Oracle::start("numbers") else { return };
    let mut both = 0;
    for host in HOSTS.into_iter().chain([Arch::S390x]) {
        for &arch in host.presents() {
            for name in calls() {
                let (ours, theirs) = (arch.number(name), oracle.number(arch, name));
                match (ours, theirs) {
                    (Some(ours), Some(theirs)) if theirs >= 0 => {
                        assert_eq!(i64::from(ours), i64::from(theirs), "{name} of {arch:?}");
                        both += 1;
                    }
                    // A function of socketcall(2) or ipc(2), which it numbers with the others of that call.
                    (Some(_), Some(theirs)) if theirs > -1000 => {
                        let multiplexes = matches!(arch, Arch::X86 | Arch::Ppc64le | Arch::S390x | Arch::S390);
                        assert!(multiplexes && (-300..=-100).contains(&theirs), "{name} of {arch:?}: {theirs}");
                    }
                    // Newer than this libseccomp (450 is its last), or known to it under another name.
                    (Some(number), _) => assert!(
                        number & 0xffff > 450
                            || ["sync_file_range2", "uretprobe", "uprobe", "riscv_hwprobe"].contains(&name),
                        "{name} of {arch:?}: {number}, libseccomp has none"
                    ),
                    (None, Some(number)) => assert!(number < 0, "{name} of {arch:?}: none, libseccomp has {number}"),
                    (None, None) => {}
                }
            }
        }
    }
    assert!(both > 3000, "{both}");
}

#[test]
fn dockers_profile() {
    let Some(oracle) = Oracle::start("docker") else { return };
    dockers_profiles(oracle, &HOSTS);
}

fn dockers_profiles(mut oracle: Oracle, hosts: &[Arch]) {
    let sets: [&[Capability]; 3] = [
        &[],
        &[Capability::CAP_SYS_ADMIN],
        &[Capability::CAP_SYS_PTRACE, Capability::CAP_SYS_CHROOT, Capability::CAP_BPF, Capability::CAP_SYS_TIME],
    ];
    for &host in hosts {
        for bounding in sets {
            let profile = known_to(&mut oracle, host, default_profile_for(host, bounding));
            let ours = compile_for(host, &profile).unwrap().instructions;
            let theirs = oracle.compile(host, &profile).expect("libseccomp takes docker's profile");
            check(&ours);
            let compared = compare(&profile, host, &ours, &theirs, &telling_arguments(&profile)).unwrap();
            println!("{host:?} {bounding:?}: {} and {} instructions, {compared} verdicts", ours.len(), theirs.len());
        }
    }
}

/// Podman's default profile, if it is installed: rules with two conditions, and with other defaults.
#[test]
fn podmans_profile() {
    let path = "/usr/share/containers/seccomp.json";
    let Ok(text) = std::fs::read(path) else {
        eprintln!("SKIPPED podmans_profile: needs {path} (golang-github-containers-common)");
        return;
    };
    let Some(mut oracle) = Oracle::start("podman") else { return };
    let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let mut profile: Seccomp = serde_json::from_value(serde_json::json!({
        "defaultAction": document["defaultAction"], "defaultErrnoRet": document["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    }))
    .unwrap();
    for rule in document["syscalls"].as_array().unwrap() {
        if rule["includes"]["caps"].is_null() && rule["includes"]["arches"].is_null() {
            let mut rule = rule.clone();
            if rule["args"].is_null() {
                rule["args"] = serde_json::json!([]);
            }
            profile.syscalls.push(serde_json::from_value(rule).unwrap());
        }
    }
    assert!(profile.syscalls.len() > 10);
    let profile = known_to(&mut oracle, Arch::X86_64, profile);
    let ours = compile_for(Arch::X86_64, &profile).unwrap().instructions;
    let theirs = oracle.compile(Arch::X86_64, &profile).expect("libseccomp takes podman's profile");
    let mut arguments = telling_arguments(&profile);
    arguments.extend([[16, 0, 9, 0, 0, 0], [16, 0, 8, 0, 0, 0], [15, 0, 9, 0, 0, 0]]);
    let compared = compare(&profile, Arch::X86_64, &ours, &theirs, &arguments).unwrap();
    println!("{} and {} instructions, {compared} verdicts", ours.len(), theirs.len());
}

/// Profiles of rules that libseccomp itself gets right: see the two strategies.
fn random(
    hosts: &'static [Arch],
    rules: impl Strategy<Value = Vec<SeccompRule>>,
) -> impl Strategy<Value = (Arch, Seccomp)> {
    let host = select(hosts).prop_flat_map(|host| {
        let names: Vec<String> = host.presents().iter().map(|arch| arch.name().to_owned()).collect();
        (Just(host), prop::sample::subsequence(names.clone(), 0..=names.len()))
    });
    (host, select(&ACTIONS[..]), rules).prop_map(|((host, architectures), default, syscalls)| {
        let profile = Seccomp {
            default_action: default.0.to_owned(),
            default_errno_ret: default.1,
            architectures,
            syscalls,
            ..Seccomp::default()
        };
        (host, profile)
    })
}

fn rule(name: &str, (action, errno_ret, _): (&str, Option<u32>, u32), args: Vec<SeccompArg>) -> SeccompRule {
    SeccompRule { names: vec![name.to_owned()], action: action.to_owned(), errno_ret, args }
}

/// One rule for each call, with several conditions. Functions of multiplexing calls have no conditions: there libseccomp
/// leaves a door open that this compiler does not.
fn one_rule() -> impl Strategy<Value = Vec<SeccompRule>> {
    let calls = [&POOL[..], &MULTIPLEXED[..]].concat();
    let one = (select(&ACTIONS[..]), conjunction(3));
    (prop::sample::subsequence(calls, 0..14), prop::collection::vec(one, 14)).prop_map(|(names, rules)| {
        let rules = names.into_iter().zip(rules).map(|(name, (action, args))| {
            rule(name, action, if MULTIPLEXED.contains(&name) { Vec::new() } else { args })
        });
        rules.collect()
    })
}

/// Several actions for one call, by values of one argument; what overlaps overlaps in a way that libseccomp gets right. (A
/// rule that holds when a comparison does not, such as LT, keeps it from looking at the rules behind it.)
fn one_argument() -> impl Strategy<Value = Vec<SeccompRule>> {
    let one = |ops: &'static [&'static str]| (select(&VALUES[..]), select(ops), select(&ACTIONS[..]));
    let equal = || prop::collection::vec(one(&["SCMP_CMP_EQ"]), 0..5);
    let rules = prop_oneof![
        (equal(), prop::collection::vec(one(&["SCMP_CMP_GE"]), 0..3)),
        (equal(), prop::collection::vec(one(&["SCMP_CMP_GT"]), 0..3)),
        (equal(), prop::collection::vec(one(&["SCMP_CMP_LE", "SCMP_CMP_LT"]), 1)),
    ];
    rules.prop_map(|(equal, ranges)| {
        let rules = equal.into_iter().chain(ranges).map(|(value, op, action)| {
            rule("read", action, vec![SeccompArg { index: 2, value, value_two: 0, op: op.to_owned() }])
        });
        rules.collect()
    })
}

/// Whether a program compares an architecture with the number of a call. That is what libseccomp 2.5.4 does in a profile
/// whose first rule for an architecture is about a call that this one does not have: it forgets to load the number.
fn confused(program: &[Instruction], host: Arch) -> bool {
    const ARCH: u32 = 4;
    let archs: BTreeSet<u32> = host.presents().iter().map(|arch| arch.audit()).collect();
    // Which word may be loaded when an instruction is reached.
    let mut loaded = vec![BTreeSet::new(); program.len() + 256];
    loaded[0].insert(0);
    for (at, instruction) in program.iter().enumerate() {
        let mut after = loaded[at].clone();
        let targets = match instruction.code {
            0x20 => {
                after = BTreeSet::from([instruction.k]);
                vec![0]
            }
            0x05 => vec![instruction.k as usize],
            0x06 => vec![],
            0x15 | 0x25 | 0x35 | 0x45 => {
                if after.contains(&ARCH) && !archs.contains(&instruction.k) {
                    return true;
                }
                vec![usize::from(instruction.jt), usize::from(instruction.jf)]
            }
            _ => vec![0],
        };
        for target in targets {
            loaded[at + 1 + target].extend(&after);
        }
    }
    false
}

/// Whether a profile has rules for functions of ipc(2) on ppc64le: libseccomp 2.5.4 numbers them as if they were calls of their own, and
/// what their rules say comes out for numbers that no rule names (35, for one).
fn spoils(host: Arch, profile: &Seccomp) -> bool {
    let functions = ["semop", "shmat", "msgctl"];
    let named = profile.syscalls.iter().flat_map(|rule| &rule.names);
    host == Arch::Ppc64le && named.into_iter().any(|name| functions.contains(&name.as_str()))
}

fn differential(oracle: Oracle, hosts: &'static [Arch], cases: u32, rules: impl Strategy<Value = Vec<SeccompRule>>) {
    let oracle = std::cell::RefCell::new(oracle);
    let refused = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(
        &(random(hosts, rules), prop::collection::vec(arguments(), 4)),
        |((host, profile), mut arguments)| {
            let mut oracle = oracle.borrow_mut();
            let profile = known_to(&mut oracle, host, profile);
            let theirs =
                oracle.compile(host, &profile).filter(|program| !confused(program, host) && !spoils(host, &profile));
            let Some(theirs) = theirs else {
                refused.set(refused.get() + 1);
                return Ok(());
            };
            let Ok(ours) = compile_for(host, &profile) else {
                return Err(TestCaseError::fail("refused, and libseccomp does not"));
            };
            check(&ours.instructions);
            arguments.extend(telling_arguments(&profile));
            compare(&profile, host, &ours.instructions, &theirs, &arguments).map_err(TestCaseError::fail)?;
            Ok(())
        },
    );
    outcome.unwrap();
    assert!(refused.get() < cases / 2, "libseccomp refuses or spoils {} of {cases} profiles", refused.get());
    println!("{cases} profiles, {} refused or spoilt by libseccomp", refused.get());
}

#[test]
fn random_profiles_with_one_rule_a_call() {
    let Some(oracle) = Oracle::start("one_rule") else { return };
    differential(oracle, &HOSTS, 200, one_rule());
}

#[test]
fn random_profiles_with_one_argument_a_call() {
    let Some(oracle) = Oracle::start("one_argument") else { return };
    differential(oracle, &HOSTS, 200, one_argument());
}

/// The words of an argument are the other way round there, and so is each instruction.
#[test]
fn s390x_dockers_profile() {
    let Some(oracle) = Oracle::start_s390x("s390x_dockers_profile") else { return };
    dockers_profiles(oracle, &BIG_ENDIAN);
}

#[test]
fn s390x_random_profiles() {
    let Some(oracle) = Oracle::start_s390x("s390x_random_profiles") else { return };
    differential(oracle, &BIG_ENDIAN, 200, one_rule());
    let Some(oracle) = Oracle::start_s390x("s390x_random_profiles") else { return };
    differential(oracle, &BIG_ENDIAN, 200, one_argument());
}
