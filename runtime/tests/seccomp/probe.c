/* Makes system calls as programs of all three x86 ABIs do, and prints a line for each: its label and the negative errno that
 * it got, or 0. With an argument only the one call of that label. Built static and not position independent, so that its
 * data is where 32-bit calls can reach it.
 */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *only;

static long native(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

/* The 32-bit entry, which a 64-bit program can use as well; with its own numbers. */
static long compat(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "r8", "r9", "r10", "r11", "memory");
	return (int)result;
}

#define X32(number) (0x40000000L | (number))

#define PROBE(label, call) \
	do { \
		if (!only || !strcmp(only, label)) { \
			long result = (call); \
			printf("%s %ld\n", label, result < 0 ? result : 0); \
			fflush(stdout); \
		} \
	} while (0)

int main(int argc, char **argv)
{
	static unsigned int inet_stream[3] = { 2, 1, 0 };

	only = argc > 1 ? argv[1] : NULL;
	PROBE("getpid", native(SYS_getpid, 0, 0, 0));
	PROBE("mount", native(SYS_mount, 0, 0, 0));
	PROBE("unshare", native(SYS_unshare, 0x04000000, 0, 0));
	PROBE("keyctl", native(250, 0, 0, 0));
	PROBE("io_uring_setup", native(425, 0, 0, 0));
	PROBE("clone3", native(435, 0, 0, 0));
	PROBE("new", native(999, 0, 0, 0));
	PROBE("minus_one", native(-1, 0, 0, 0));
	PROBE("socket_unix", native(SYS_socket, 1, 1, 0));
	PROBE("socket_alg", native(SYS_socket, 38, 5, 0));
	PROBE("socket_alg_hidden", native(SYS_socket, 1L << 32 | 38, 5, 0));
	PROBE("personality_query", native(SYS_personality, 0xffffffff, 0, 0));
	PROBE("personality_random", native(SYS_personality, 0x0040000, 0, 0));
	PROBE("compat_getpid", compat(20, 0, 0, 0));
	PROBE("compat_mount", compat(21, 0, 0, 0));
	PROBE("compat_keyctl", compat(288, 0, 0, 0));
	PROBE("compat_new", compat(999, 0, 0, 0));
	PROBE("compat_socket_unix", compat(359, 1, 1, 0));
	PROBE("compat_socket_alg", compat(359, 38, 5, 0));
	PROBE("compat_socket_alg_hidden", compat(359, 1L << 32 | 38, 5, 0));
	PROBE("compat_socketcall", compat(102, 1, (long)inet_stream, 0));
	PROBE("x32_getpid", native(X32(39), 0, 0, 0));
	PROBE("x32_mount", native(X32(165), 0, 0, 0));
	PROBE("x32_new", native(X32(999), 0, 0, 0));
	return 0;
}
