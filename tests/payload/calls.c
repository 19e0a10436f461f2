// Makes one system call by number through a chosen ABI and prints what the kernel returned (a negative errno or a value):
// calls x86-64|x32|i386 NUMBER [ARG...]
// Or decides on the calls of others, as the agent of SCMP_ACT_NOTIFY: takes one listener from a socket, prints what came with it, answers
// getpgrp(2) with 4242, lets all other calls go on, and prints the number of each:
// calls decide SOCKET
// Or is a file system that answers late: config.json in it is FILE, and each read of it waits for a line on standard input:
// calls late DIRECTORY FILE
// Or runs a program with a key in a session keyring of its own; tells the key of the session keyring; offers one to whoever joins a session
// keyring by that name, and stays:
// calls with-key KEY TEXT PROGRAM [ARG...]
// calls key KEY
// calls offer-key KEYRING KEY TEXT
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static long call64(long nr, const long *a) {
    long ret;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

static long call32(long nr, const long *a) {
    long ret;
    __asm__ volatile("int $0x80"
                     : "=a"(ret)
                     : "a"(nr), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)ret;
}

static int take(const char *path, char *text, size_t size) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 1))
        return -1;
    puts("listening");
    fflush(stdout);
    int client = accept(server, NULL, NULL);
    struct iovec part = {text, size - 1};
    char control[CMSG_SPACE(sizeof(int))];
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(client, &message, 0);
    struct cmsghdr *rights = length > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!rights || rights->cmsg_type != SCM_RIGHTS)
        return -1;
    text[length] = 0;
    close(client);
    close(server);
    unlink(path);
    return *(int *)CMSG_DATA(rights);
}

static int decide(const char *path) {
    static char text[65536];
    int listener = take(path, text, sizeof text);
    if (listener < 0)
        return 1;
    for (char *at = text; *at; at++)
        if (*at == '\n')
            *at = ' ';
    puts(text);
    fflush(stdout);
    for (;;) {
        struct pollfd poller = {listener, POLLIN, 0};
        struct seccomp_notif call = {0};
        poll(&poller, 1, -1);
        if (poller.revents & POLLHUP)
            return 0;
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call))
            continue;
        struct seccomp_notif_resp answer = {.id = call.id};
        if (call.data.nr == 111)
            answer.val = 4242;
        else
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        printf("%d\n", call.data.nr);
        fflush(stdout);
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

static void attributes(struct fuse_attr *attr, unsigned long node, long size) {
    attr->ino = node;
    attr->mode = node == 1 ? S_IFDIR | 0755 : S_IFREG | 0644;
    attr->nlink = 1;
    attr->size = size;
}

static int late(const char *directory, const char *path) {
    static char text[1 << 20], request[1 << 18];
    int file = open(path, O_RDONLY), fuse = open("/dev/fuse", O_RDWR);
    long size = read(file, text, sizeof text);
    char options[64];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
    if (size < 0 || fuse < 0 || mount("late", directory, "fuse", 0, options)) {
        puts("no");
        return 0;
    }
    puts("mounted");
    fflush(stdout);
    for (;;) {
        ssize_t length = read(fuse, request, sizeof request);
        if (length < 0 && errno == ENODEV)
            return 0;
        if (length < (ssize_t)sizeof(struct fuse_in_header))
            continue;
        struct fuse_in_header *in = (void *)request;
        struct {
            struct fuse_out_header head;
            union {
                struct fuse_init_out init;
                struct fuse_entry_out entry;
                struct fuse_attr_out attr;
                struct fuse_open_out open;
                char data[1 << 17];
            };
        } static out;
        memset(&out, 0, sizeof out.head + 256);
        size_t body = 0;
        switch (in->opcode) {
        case FUSE_INIT:
            out.init.major = 7;
            out.init.minor = 31;
            out.init.max_write = 4096;
            body = sizeof out.init;
            break;
        case FUSE_LOOKUP:
            if (strcmp(request + sizeof *in, "config.json")) {
                out.head.error = -ENOENT;
            } else {
                out.entry.nodeid = 2;
                attributes(&out.entry.attr, 2, size);
                body = sizeof out.entry;
            }
            break;
        case FUSE_GETATTR:
            attributes(&out.attr.attr, in->nodeid, size);
            body = sizeof out.attr;
            break;
        case FUSE_OPEN:
            out.open.open_flags = FOPEN_DIRECT_IO;
            body = sizeof out.open;
            break;
        case FUSE_READ: {
            struct fuse_read_in *want = (void *)(request + sizeof *in);
            if (want->offset == 0) {
                puts("read");
                fflush(stdout);
                getchar();
            }
            long left = size - (long)want->offset;
            body = left < 0 ? 0 : left < want->size ? left : want->size;
            memcpy(out.data, text + want->offset, body);
            break;
        }
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
            continue;
        case FUSE_RELEASE:
        case FUSE_FLUSH:
            break;
        default:
            out.head.error = -ENOSYS;
        }
        out.head.unique = in->unique;
        out.head.len = sizeof out.head + body;
        // Whoever asked may be gone.
        if (write(fuse, &out, out.head.len) < 0 && errno != ENOENT)
            return 1;
    }
}

// A key in the session keyring of that name, a new one without a name.
static long keep_key(const char *keyring, const char *key, const char *text) {
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, keyring) < 0)
        return -1;
    return syscall(SYS_add_key, "user", key, text, strlen(text), KEY_SPEC_SESSION_KEYRING);
}

static int with_key(char **args) {
    if (keep_key(NULL, args[0], args[1]) < 0)
        return 125;
    execvp(args[2], args + 2);
    return 127;
}

static int tell_key(const char *key) {
    char text[100] = "";
    long found = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", key, 0);
    if (found < 0)
        puts(errno == ENOKEY ? "none" : strerror(errno));
    else if (syscall(SYS_keyctl, KEYCTL_READ, found, text, sizeof text - 1) < 0)
        puts(strerror(errno));
    else
        puts(text);
    return 0;
}

static int offer_key(char **args) {
    // All rights for the owner's other processes, which need not possess it.
    const unsigned all = 0x3f3f0000;
    long key = keep_key(args[0], args[1], args[2]);
    long keyring = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    if (key < 0 || syscall(SYS_keyctl, KEYCTL_SETPERM, key, all) < 0 || syscall(SYS_keyctl, KEYCTL_SETPERM, keyring, all) < 0)
        puts(strerror(errno));
    else
        puts("offered");
    fflush(stdout);
    return pause();
}

int main(int argc, char **argv) {
    long a[6] = {0};
    if (argc > 4 && !strcmp(argv[1], "with-key"))
        return with_key(argv + 2);
    if (argc == 3 && !strcmp(argv[1], "key"))
        return tell_key(argv[2]);
    if (argc == 5 && !strcmp(argv[1], "offer-key"))
        return offer_key(argv + 2);
    if (argc == 3 && !strcmp(argv[1], "decide"))
        return decide(argv[2]);
    if (argc == 4 && !strcmp(argv[1], "late"))
        return late(argv[2], argv[3]);
    if (argc < 3)
        return 2;
    long nr = strtol(argv[2], NULL, 0);
    for (int i = 3; i < argc && i < 9; i++)
        a[i - 3] = strtol(argv[i], NULL, 0);
    long ret;
    if (!strcmp(argv[1], "x86-64"))
        ret = call64(nr, a);
    else if (!strcmp(argv[1], "x32"))
        ret = call64(nr | 0x40000000, a);
    else if (!strcmp(argv[1], "i386"))
        ret = call32(nr, a);
    else
        return 2;
    printf("%ld\n", ret);
    return 0;
}
