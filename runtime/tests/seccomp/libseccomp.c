/* Answers questions on standard input with libseccomp, a line each, until it ends.
 *
 *   number ARCH NAME                     -> its number (negative: none), as seccomp_syscall_resolve_name_arch(3)
 *   filter DEFAULT ARCH[,ARCH...]        -> begins a filter for exactly these architectures; no answer
 *   rule ACTION NAME COUNT [INDEX OP A B]... -> adds a rule; no answer
 *   end                                  -> "ok" and the program in hexadecimal, or "error" and a negative errno
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <seccomp.h>

static int add_arches(scmp_filter_ctx filter, char *list)
{
	int native = 0;

	for (char *at = strtok(list, ","); at; at = strtok(NULL, ",")) {
		uint32_t arch = strtoul(at, NULL, 16);
		int rc = seccomp_arch_add(filter, arch);

		native |= arch == seccomp_arch_native();
		if (rc < 0 && rc != -EEXIST)
			return rc;
	}
	return native ? 0 : seccomp_arch_remove(filter, SCMP_ARCH_NATIVE);
}

static int add_rule(scmp_filter_ctx filter)
{
	static const enum scmp_compare ops[] = {
		SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ,
	};
	uint32_t action = strtoul(strtok(NULL, " \n"), NULL, 16);
	int number = seccomp_syscall_resolve_name(strtok(NULL, " \n"));
	unsigned int count = atoi(strtok(NULL, " \n"));
	struct scmp_arg_cmp args[6];

	for (unsigned int i = 0; i < count; i++) {
		args[i].arg = atoi(strtok(NULL, " \n"));
		args[i].op = ops[atoi(strtok(NULL, " \n"))];
		args[i].datum_a = strtoull(strtok(NULL, " \n"), NULL, 16);
		args[i].datum_b = strtoull(strtok(NULL, " \n"), NULL, 16);
	}
	if (number == __NR_SCMP_ERROR)
		return 0;
	return seccomp_rule_add_array(filter, action, number, count, args);
}

static void print(scmp_filter_ctx filter)
{
	int fd = memfd_create("filter", MFD_CLOEXEC);
	unsigned char byte;
	int rc = seccomp_export_bpf(filter, fd);

	if (rc < 0) {
		printf("error %d\n", rc);
	} else {
		FILE *file = fdopen(fd, "r");

		rewind(file);
		printf("ok ");
		while (fread(&byte, 1, 1, file) == 1)
			printf("%02x", byte);
		printf("\n");
		fclose(file);
		return;
	}
	close(fd);
}

int main(void)
{
	static char line[1 << 16];
	scmp_filter_ctx filter = NULL;
	int rc = 0;

	/* Filters are only looked at: what the kernel knows does not count, and an emulated one knows nothing of them. */
	seccomp_api_set(3);
	while (fgets(line, sizeof line, stdin)) {
		char *word = strtok(line, " \n");

		if (!strcmp(word, "number")) {
			uint32_t arch = strtoul(strtok(NULL, " \n"), NULL, 16);

			printf("%d\n", seccomp_syscall_resolve_name_arch(arch, strtok(NULL, " \n")));
		} else if (!strcmp(word, "filter")) {
			filter = seccomp_init(strtoul(strtok(NULL, " \n"), NULL, 16));
			rc = filter ? add_arches(filter, strtok(NULL, " \n")) : -EINVAL;
		} else if (!strcmp(word, "rule")) {
			int added = add_rule(filter);

			rc = rc < 0 ? rc : added;
		} else if (!strcmp(word, "end")) {
			if (rc < 0)
				printf("error %d\n", rc);
			else
				print(filter);
			seccomp_release(filter);
		}
		fflush(stdout);
	}
	return 0;
}
