/* What of a machine no test may change, answered in the C library's stead. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

/* CLOCK_STATUS and CLOCK_ERROR_US are the kernel's opinion of its clock. */
int adjtimex(struct timex *answer)
{
	const char *status = getenv("CLOCK_STATUS");

	if (!status)
		return syscall(SYS_adjtimex, answer);
	memset(answer, 0, sizeof *answer);
	answer->status = atoi(status);
	answer->esterror = answer->maxerror = atol(getenv("CLOCK_ERROR_US"));
	return 0;
}

/* STAT_BEFORE is /proc/stat the first time, STAT_AFTER from then on. */
int open64(const char *path, int flags, ...)
{
	static int times;
	const char *before = getenv("STAT_BEFORE");
	mode_t mode = 0600;

	if (before && !strcmp(path, "/proc/stat"))
		path = times++ ? getenv("STAT_AFTER") : before;
	return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
