// The floor: the kernel's part of `run`, for the configuration that `runc spec` writes, and nothing else. No configuration is read, no
// error told, no state kept. It is what a runtime cannot be faster than, and is built and measured by hack/bench.
// floor BUNDLE CGROUP PROGRAM [ARG...]
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRY(call)                                                                                                       \
    ({                                                                                                                  \
        long value_ = (long)(call);                                                                                     \
        if (value_ < 0) {                                                                                               \
            perror(#call);                                                                                              \
            _exit(125);                                                                                                 \
        }                                                                                                               \
        (int)value_;                                                                                                    \
    })
#define CALL(name, ...) TRY(syscall(SYS_##name, __VA_ARGS__))

// A new file system, attached to the directory below `root`; returns its own descriptor.
static int make(int root, const char *at, const char *type, unsigned attributes, const char *const *options) {
    int context = CALL(fsopen, type, FSOPEN_CLOEXEC);
    for (; options && options[0]; options += 2)
        CALL(fsconfig, context, options[1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, options[0], options[1], 0);
    CALL(fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    int made = CALL(fsmount, context, FSMOUNT_CLOEXEC, attributes);
    int target = TRY(openat(root, at, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    CALL(move_mount, made, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    close(context);
    close(target);
    return made;
}

static void cover(int tree, int parent, const char *at) {
    int target = openat(parent, at, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0)
        return;
    int copy = CALL(open_tree, tree, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    CALL(move_mount, copy, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    close(copy);
    close(target);
}

static void fix(int parent, const char *at) {
    int copy = syscall(SYS_open_tree, parent, at, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
    if (copy < 0)
        return;
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    CALL(mount_setattr, copy, "", AT_EMPTY_PATH | AT_RECURSIVE, &read_only, sizeof read_only);
    int target = TRY(openat(parent, at, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    CALL(move_mount, copy, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    close(copy);
    close(target);
}

static void child(int tree, const char *bundle, char **argv) {
    const unsigned plain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    setsid();
    TRY(sethostname("floor", 5));
    int link = TRY(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    TRY(ioctl(link, SIOCSIFFLAGS, &lo));
    close(link);

    TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    CALL(move_mount, tree, "", AT_FDCWD, bundle, MOVE_MOUNT_F_EMPTY_PATH);

    int proc = make(tree, "proc", "proc", 0, NULL);
    int dev = make(tree, "dev", "tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME, (const char *[]){"mode", "755", "size", "65536k", NULL});
    TRY(mkdirat(dev, "pts", 0755));
    TRY(mkdirat(dev, "shm", 0755));
    TRY(mkdirat(dev, "mqueue", 0755));
    close(make(dev, "pts", "devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
               (const char *[]){"newinstance", NULL, "ptmxmode", "0666", "mode", "0620", "gid", "5", NULL}));
    close(make(dev, "shm", "tmpfs", plain, (const char *[]){"mode", "1777", "size", "65536k", NULL}));
    close(make(dev, "mqueue", "mqueue", plain, NULL));
    int sys = make(tree, "sys", "sysfs", plain | MOUNT_ATTR_RDONLY, NULL);
    int cgroup = CALL(open_tree, AT_FDCWD, "/sys/fs/cgroup", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    struct mount_attr attributes = {.attr_set = plain | MOUNT_ATTR_RDONLY};
    CALL(mount_setattr, cgroup, "", AT_EMPTY_PATH, &attributes, sizeof attributes);
    int target = TRY(openat(sys, "fs/cgroup", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    CALL(move_mount, cgroup, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    close(cgroup);
    close(target);

    static const struct { const char *name; int major, minor; } nodes[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
    umask(0);
    for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++)
        TRY(mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
    umask(022);
    TRY(symlinkat("/proc/self/fd", dev, "fd"));
    TRY(symlinkat("/proc/self/fd/0", dev, "stdin"));
    TRY(symlinkat("/proc/self/fd/1", dev, "stdout"));
    TRY(symlinkat("/proc/self/fd/2", dev, "stderr"));
    TRY(symlinkat("pts/ptmx", dev, "ptmx"));

    int null = CALL(open_tree, dev, "null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    int context = CALL(fsopen, "tmpfs", FSOPEN_CLOEXEC);
    CALL(fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    int empty = CALL(fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
    cover(empty, proc, "acpi");
    cover(empty, proc, "asound");
    cover(null, proc, "kcore");
    cover(null, proc, "keys");
    cover(null, proc, "latency_stats");
    cover(null, proc, "timer_list");
    cover(null, proc, "timer_stats");
    cover(null, proc, "sched_debug");
    cover(empty, sys, "firmware");
    cover(empty, proc, "scsi");
    fix(proc, "bus");
    fix(proc, "fs");
    fix(proc, "irq");
    fix(proc, "sys");
    fix(proc, "sysrq-trigger");

    TRY(fchdir(tree));
    CALL(pivot_root, ".", ".");
    TRY(umount2(".", MNT_DETACH));
    TRY(chdir("/"));

    struct rlimit files = {1024, 1024};
    TRY(setrlimit(RLIMIT_NOFILE, &files));
    const uint64_t keep = 1ull << CAP_AUDIT_WRITE | 1ull << CAP_KILL | 1ull << CAP_NET_BIND_SERVICE;
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
        if (!(keep >> capability & 1))
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    CALL(setgroups, 0, NULL);
    CALL(setresgid, 0, 0, 0);
    CALL(setresuid, 0, 0, 0);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2] = {{(uint32_t)keep, (uint32_t)keep, 0}, {(uint32_t)(keep >> 32), (uint32_t)(keep >> 32), 0}};
    CALL(capset, &header, sets);
    TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CALL(close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
    static char *environment[] = {"PATH=/bin", "TERM=xterm", NULL};
    TRY(execve(argv[0], argv, environment));
}

// Two instructions that allow every device: what the kernel does to load and attach is the same for a longer program.
static void devices(int cgroup) {
    struct bpf_insn program[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1}, {.code = BPF_JMP | BPF_EXIT}};
    union bpf_attr load = {0}, attach = {0};
    load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    load.insns = (uintptr_t)program;
    load.insn_cnt = 2;
    load.license = (uintptr_t) "GPL";
    int fd = CALL(bpf, BPF_PROG_LOAD, &load, sizeof load);
    attach.target_fd = cgroup;
    attach.attach_bpf_fd = fd;
    attach.attach_type = BPF_CGROUP_DEVICE;
    attach.attach_flags = BPF_F_ALLOW_MULTI;
    CALL(bpf, BPF_PROG_ATTACH, &attach, sizeof attach);
    close(fd);
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    int bundle = TRY(open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC));
    int tree = CALL(open_tree, bundle, "rootfs", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    struct mount_attr root = {.attr_set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE};
    CALL(mount_setattr, tree, "", AT_EMPTY_PATH, &root, sizeof root);
    TRY(mkdir(argv[2], 0755));
    int cgroup = TRY(open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    devices(cgroup);
    int pidfd = -1;
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_INTO_CGROUP | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        .pidfd = (uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = cgroup,
    };
    pid_t pid = CALL(clone3, &args, sizeof args);
    if (pid == 0)
        child(tree, argv[1], argv + 3);
    siginfo_t info;
    TRY(waitid(P_PIDFD, pidfd, &info, WEXITED));
    TRY(rmdir(argv[2]));
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}
