// A program of another ABI of x86, without a C library: times(2) with no buffer, and what the kernel answers is the exit code (a negative
// errno without its sign; 0 for a value).
#if defined(__i386__)
#define TIMES 43
#define EXIT 1
static long call(long nr, long a) {
    long ret;
    __asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a) : "memory");
    return ret;
}
#elif defined(__ILP32__)
#define TIMES (0x40000000 | 100)
#define EXIT (0x40000000 | 60)
static long call(long nr, long a) {
    long long ret, number = nr, first = a;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(number), "D"(first) : "rcx", "r11", "memory");
    return (long)ret;
}
#else
#error "-m32 or -mx32"
#endif

void _start(void) {
    long ret = call(TIMES, 0);
    call(EXIT, ret < 0 && ret > -256 ? -ret : 0);
    for (;;)
        ;
}
