// Makes one system call by number through a chosen ABI and prints what the kernel returned (a negative errno or a value):
// calls x86-64|x32|i386 NUMBER [ARG...]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int main(int argc, char **argv) {
    long a[6] = {0};
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
