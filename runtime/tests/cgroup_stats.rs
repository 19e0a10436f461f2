//! What groups use, read from recorded trees of v1 and v2.
#![allow(clippy::unwrap_used, reason = "a test program")]

use std::fs;
use std::path::{Path, PathBuf};

use runtime::cgroup::{
    Cgroup, CpuStats, Host, HugetlbStats, IoStats, MemoryStats, PidsStats, Pressure, Pressures, Stall, Stats,
};

const PRESSURE: &str =
    "some avg10=1.25 avg60=0.50 avg300=0.10 total=1234567\nfull avg10=0.75 avg60=0.00 avg300=0.00 total=7654\n";

/// A folder that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("rt-stats-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tree(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn open(mounts: &str) -> Stats {
    let host = Host::from_mountinfo(mounts.as_bytes()).unwrap();
    Cgroup::open(&host, &"/kubepods/pod1/c1".parse().unwrap()).unwrap().unwrap().stats().unwrap()
}

fn pressure() -> Pressure {
    Pressure {
        some: Stall { avg10: 125, avg60: 50, avg300: 10, total_us: 1_234_567 },
        full: Stall { avg10: 75, total_us: 7654, ..Stall::default() },
    }
}

/// Kernel 6.18, limits of 20 % of a CPU, 64 MiB of memory, no swap.
#[test]
fn v2() {
    let scratch = Scratch::new("v2");
    let root = scratch.0.as_path();
    let files = [
        (
            "cpu.stat",
            "usage_usec 161092\nuser_usec 60109\nsystem_usec 100983\nnice_usec 0\nnr_periods 12\nnr_throttled 3\nthrottled_usec 212345\nnr_bursts 0\n",
        ),
        ("cpu.pressure", PRESSURE),
        ("memory.current", "13844480\n"),
        ("memory.peak", "20971520\n"),
        ("memory.max", "67108864\n"),
        ("memory.min", "1048576\n"),
        ("memory.swap.current", "4096\n"),
        ("memory.swap.max", "0\n"),
        (
            "memory.stat",
            "anon 536576\nfile 11411456\nkernel 1323008\nkernel_stack 16384\npagetables 61440\nfile_mapped 2031616\ninactive_file 9306112\nactive_file 2105344\npgfault 2013\npgmajfault 91\n",
        ),
        ("memory.events", "low 0\nhigh 0\nmax 17\noom 2\noom_kill 1\noom_group_kill 0\n"),
        ("memory.pressure", PRESSURE),
        ("pids.current", "3\n"),
        ("pids.max", "4096\n"),
        ("io.stat", "254:0 rbytes=11259904 wbytes=4096 rios=93 wios=1 dbytes=0 dios=0\n"),
        ("hugetlb.2MB.current", "2097152\n"),
        ("hugetlb.2MB.max", "max\n"),
        ("hugetlb.2MB.events", "max 4\n"),
        ("hugetlb.2MB.rsvd.current", "0\n"),
    ];
    for (file, text) in files {
        tree(root, &[(&format!("kubepods/pod1/c1/{file}"), text)]);
    }
    let expected = Stats {
        cpu: CpuStats {
            usage_ns: 161_092_000,
            user_ns: 60_109_000,
            system_ns: 100_983_000,
            periods: 12,
            throttled_periods: 3,
            throttled_ns: 212_345_000,
        },
        memory: Some(MemoryStats {
            usage_bytes: 13_844_480,
            peak_bytes: Some(20_971_520),
            limit_bytes: Some(64 << 20),
            working_set_bytes: 13_844_480 - 9_306_112,
            inactive_file_bytes: 9_306_112,
            anon_bytes: 536_576,
            file_bytes: 11_411_456,
            mapped_file_bytes: 2_031_616,
            kernel_bytes: Some(1_323_008),
            reserved_bytes: 1 << 20,
            limit_hits: 17,
            swap_usage_bytes: 4096,
            swap_limit_bytes: Some(0),
            page_faults: 2013,
            major_page_faults: 91,
            oom_kills: 1,
        }),
        pids: Some(PidsStats { current: 3, limit: Some(4096) }),
        io: vec![IoStats {
            major: 254,
            minor: 0,
            read_bytes: 11_259_904,
            write_bytes: 4096,
            read_operations: 93,
            write_operations: 1,
        }],
        hugetlb: vec![HugetlbStats {
            page_size: "2MB".into(),
            usage_bytes: 2 << 20,
            peak_bytes: None,
            limit_bytes: None,
            failures: 4,
        }],
        pressure: Pressures { cpu: Some(pressure()), memory: Some(pressure()), io: None },
    };
    let mounts = format!("30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n", root.display());
    assert_eq!(open(&mounts), expected);

    // Before 5.18 nobody adds up the kernel's memory; a group without limits.
    tree(
        root,
        &[
            ("kubepods/pod1/c1/memory.stat", "anon 1\nfile 2\nkernel_stack 100\npagetables 20\nslab 3\npercpu 4\n"),
            ("kubepods/pod1/c1/memory.max", "max\n"),
            ("kubepods/pod1/c1/memory.swap.max", "max\n"),
        ],
    );
    fs::remove_file(root.join("kubepods/pod1/c1/memory.peak")).unwrap();
    let memory = open(&mounts).memory.unwrap();
    assert_eq!(memory.kernel_bytes, Some(127));
    assert_eq!((memory.limit_bytes, memory.swap_limit_bytes, memory.peak_bytes), (None, None, None));
}

/// Hybrid: limits by v1, pressure by the cgroup2 mount.
#[test]
fn hybrid() {
    let scratch = Scratch::new("hybrid");
    let root = scratch.0.as_path();
    let group = "kubepods/pod1/c1";
    let files = [
        ("cpu/G/cpu.stat", "nr_periods 12\nnr_throttled 3\nthrottled_time 212345678\n"),
        ("cpuacct/G/cpuacct.usage", "161092123\n"),
        ("cpuacct/G/cpuacct.usage_user", "60109000\n"),
        ("cpuacct/G/cpuacct.usage_sys", "100983123\n"),
        ("memory/G/memory.usage_in_bytes", "13844480\n"),
        ("memory/G/memory.max_usage_in_bytes", "20971520\n"),
        ("memory/G/memory.limit_in_bytes", "67108864\n"),
        ("memory/G/memory.memsw.limit_in_bytes", "134217728\n"),
        ("memory/G/memory.soft_limit_in_bytes", "9223372036854771712\n"),
        ("memory/G/memory.kmem.usage_in_bytes", "1323008\n"),
        ("memory/G/memory.failcnt", "17\n"),
        ("memory/G/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
        (
            "memory/G/memory.stat",
            "cache 1\nrss 2\ninactive_file 3\ntotal_cache 11411456\ntotal_rss 536576\ntotal_mapped_file 2031616\ntotal_swap 4096\ntotal_pgfault 2013\ntotal_pgmajfault 91\ntotal_inactive_file 9306112\n",
        ),
        ("pids/G/pids.current", "3\n"),
        ("pids/G/pids.max", "max\n"),
        (
            "blkio/G/blkio.throttle.io_service_bytes_recursive",
            "254:0 Read 11259904\n254:0 Write 4096\n254:0 Total 11264000\nTotal 11264000\n",
        ),
        ("blkio/G/blkio.throttle.io_serviced_recursive", "254:0 Read 93\n254:0 Write 1\nTotal 94\n"),
        ("unified/G/cpu.pressure", PRESSURE),
        ("unified/G/memory.pressure", PRESSURE),
        ("unified/G/io.pressure", PRESSURE),
        ("unified/G/cpu.stat", "usage_usec 1\nuser_usec 1\nsystem_usec 0\n"),
    ];
    for (file, text) in files {
        tree(root, &[(&file.replace('G', group), text)]);
    }
    let mut mounts = format!("30 23 0:26 / {}/unified rw - cgroup2 cgroup2 rw\n", root.display());
    for (number, name) in ["cpu", "cpuacct", "memory", "pids", "blkio"].into_iter().enumerate() {
        mounts.push_str(&format!("31 23 0:{} / {}/{name} rw - cgroup cgroup rw,{name}\n", 27 + number, root.display()));
    }
    let expected = Stats {
        cpu: CpuStats {
            usage_ns: 161_092_123,
            user_ns: 60_109_000,
            system_ns: 100_983_123,
            periods: 12,
            throttled_periods: 3,
            throttled_ns: 212_345_678,
        },
        memory: Some(MemoryStats {
            usage_bytes: 13_844_480,
            peak_bytes: Some(20_971_520),
            limit_bytes: Some(64 << 20),
            working_set_bytes: 13_844_480 - 9_306_112,
            inactive_file_bytes: 9_306_112,
            anon_bytes: 536_576,
            file_bytes: 11_411_456,
            mapped_file_bytes: 2_031_616,
            kernel_bytes: Some(1_323_008),
            reserved_bytes: 0,
            limit_hits: 17,
            swap_usage_bytes: 4096,
            swap_limit_bytes: Some(64 << 20),
            page_faults: 2013,
            major_page_faults: 91,
            oom_kills: 1,
        }),
        pids: Some(PidsStats { current: 3, limit: None }),
        io: vec![IoStats {
            major: 254,
            minor: 0,
            read_bytes: 11_259_904,
            write_bytes: 4096,
            read_operations: 93,
            write_operations: 1,
        }],
        hugetlb: Vec::new(),
        pressure: Pressures { cpu: Some(pressure()), memory: Some(pressure()), io: Some(pressure()) },
    };
    assert_eq!(open(&mounts), expected);
}
