//! The profile of containers that name none: the policy of Docker's default profile.
//!
//! Everything is refused with EPERM that is not listed here. What needs a capability is listed with it, and allowed if the
//! container's bounding set has it: the kernel then checks the capability itself. Not allowed at all are, among others,
//! io_uring, userfaultfd, keyrings, kexec and the swap and module calls of containers without their capability.
//!
//! Source: facts of moby's `profiles/seccomp` as of 2026 (after CVE-2026-31431: socket(2) by list of domains).

use caps::Capability;

use super::Arch;
use crate::spec::{Seccomp, SeccompArg, SeccompRule};

/// Calls that every container may make.
const ALLOWED: &str = "
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid
    getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
    getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname
    getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl
    ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64
    madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
    mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
    name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc
    pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease
    process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat
    rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
    sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid
    setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
    setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr
    setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall
    socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo
    tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill
    truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork
    vmsplice wait4 waitid waitpid write writev";

/// Calls that are allowed with a capability.
const WITH_CAPABILITY: [(Capability, &str); 14] = [
    (Capability::CAP_DAC_READ_SEARCH, "open_by_handle_at"),
    (
        Capability::CAP_SYS_ADMIN,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (Capability::CAP_SYS_BOOT, "reboot"),
    (Capability::CAP_SYS_CHROOT, "chroot"),
    (Capability::CAP_SYS_MODULE, "delete_module init_module finit_module"),
    (Capability::CAP_SYS_PACCT, "acct"),
    (Capability::CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise"),
    (Capability::CAP_SYS_RAWIO, "iopl ioperm"),
    (Capability::CAP_SYS_TIME, "settimeofday stime clock_settime clock_settime64"),
    (Capability::CAP_SYS_TTY_CONFIG, "vhangup"),
    (Capability::CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Capability::CAP_SYSLOG, "syslog"),
    (Capability::CAP_BPF, "bpf"),
    (Capability::CAP_PERFMON, "perf_event_open"),
];

/// Domains of socket(2): all below the first number, and the others. Left out are those that kernels no longer have, AF_ALG
/// (the kernel's cryptography: attack surface without use here, CVE-2026-31431) and AF_VSOCK (it reaches virtual machines
/// across network namespaces). Where socketcall(2) exists it goes around this list: a filter cannot see its arguments.
const DOMAINS_BELOW: u64 = 12;
const DOMAINS: [u64; 25] = [
    13, // AF_NETBEUI
    14, // AF_SECURITY
    15, // AF_KEY
    16, // AF_NETLINK
    17, // AF_PACKET
    18, // AF_ASH
    21, // AF_RDS
    22, // AF_SNA
    24, // AF_PPPOX
    26, // AF_LLC
    27, // AF_IB
    28, // AF_MPLS
    29, // AF_CAN
    30, // AF_TIPC
    31, // AF_BLUETOOTH
    32, // AF_IUCV
    33, // AF_RXRPC
    35, // AF_PHONET
    36, // AF_IEEE802154
    39, // AF_NFC
    41, // AF_KCM
    42, // AF_QIPCRTR
    43, // AF_SMC
    44, // AF_XDP
    45, // AF_MCTP
];

/// Values of personality(2): PER_LINUX, PER_LINUX32, UNAME26, both, and the one that only asks.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: not for containers without CAP_SYS_ADMIN.
const NAMESPACE_FLAGS: u64 =
    0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;

/// Docker's default profile for a container with these capabilities in its bounding set, on this host.
pub fn default_profile(bounding: &[Capability]) -> Seccomp {
    default_profile_for(Arch::NATIVE, bounding)
}

/// Docker's default profile as on a host of another architecture.
pub fn default_profile_for(host: Arch, bounding: &[Capability]) -> Seccomp {
    let mut syscalls = vec![allow(ALLOWED, Vec::new())];
    syscalls.push(allow("socket", vec![argument(0, "SCMP_CMP_LT", DOMAINS_BELOW)]));
    syscalls.extend(DOMAINS.map(|domain| allow("socket", vec![argument(0, "SCMP_CMP_EQ", domain)])));
    syscalls.extend(PERSONALITIES.map(|value| allow("personality", vec![argument(0, "SCMP_CMP_EQ", value)])));
    let of_host = match host {
        Arch::X86_64 | Arch::X32 => "arch_prctl modify_ldt",
        Arch::X86 => "modify_ldt",
        Arch::Aarch64 | Arch::Arm => {
            "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"
        }
        Arch::Riscv64 => "riscv_flush_icache",
        Arch::Ppc64le => "sync_file_range2 swapcontext",
        Arch::S390x | Arch::S390 => "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
    };
    syscalls.push(allow(of_host, Vec::new()));
    for (capability, names) in WITH_CAPABILITY {
        if bounding.contains(&capability) {
            syscalls.push(allow(names, Vec::new()));
        }
    }
    if !bounding.contains(&Capability::CAP_SYS_ADMIN) {
        let flags = match host {
            // The flags are the second argument there.
            Arch::S390x | Arch::S390 => 1,
            Arch::X86_64 | Arch::X86 | Arch::X32 | Arch::Aarch64 | Arch::Arm | Arch::Riscv64 | Arch::Ppc64le => 0,
        };
        syscalls.push(allow("clone", vec![argument(flags, "SCMP_CMP_MASKED_EQ", NAMESPACE_FLAGS)]));
        // Its flags lie in memory. ENOSYS makes C libraries fall back to clone.
        syscalls.push(SeccompRule {
            names: vec!["clone3".to_owned()],
            action: "SCMP_ACT_ERRNO".to_owned(),
            errno_ret: Some(libc::ENOSYS.cast_unsigned()),
            args: Vec::new(),
        });
    }
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(libc::EPERM.cast_unsigned()),
        architectures: host.presents().iter().map(|arch| arch.name().to_owned()).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

fn allow(names: &str, args: Vec<SeccompArg>) -> SeccompRule {
    SeccompRule {
        names: names.split_ascii_whitespace().map(str::to_owned).collect(),
        action: "SCMP_ACT_ALLOW".to_owned(),
        errno_ret: None,
        args,
    }
}

fn argument(index: u32, op: &str, value: u64) -> SeccompArg {
    SeccompArg { index, value, value_two: 0, op: op.to_owned() }
}
