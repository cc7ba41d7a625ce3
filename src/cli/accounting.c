/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nf_conntrack_acct and nf_conntrack_timestamp. */
#include "accounting.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define DIRECTORY "/proc/sys/net/netfilter/"
#define EVENTS	  DIRECTORY "nf_conntrack_events"
#define SUFFIX	  ".accounting"

static const char *const settings[] = {
	DIRECTORY "nf_conntrack_acct",
	DIRECTORY "nf_conntrack_timestamp",
};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

/* A number in a file of /proc/sys, or -errno. */
static int read_setting(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[16] = "";
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	int number = errno;

	if (fd >= 0)
		close(fd);
	if (length <= 0)
		return length < 0 ? -number : -EIO;
	return text[0] >= '0' && text[0] <= '9' ? text[0] - '0' : -EIO;
}

static int write_file(const char *path, int flags, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0600), number = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		number = errno;
	close(fd);
	return -number;
}

int nb_accounting_check_events(struct nb_run *run)
{
	int value = read_setting(EVENTS);

	if (value > 0)
		return 0;
	if (value == 0)
		return nb_error_set(&run->error, NB_STATUS_FAILED, EOPNOTSUPP, "unsupported",
				    "there is nothing to log: nf_conntrack_events is 0, so the "
				    "kernel tells of no connection: sysctl -w "
				    "net.netfilter.nf_conntrack_events=1");
	return nb_error_set(&run->error, NB_STATUS_FAILED, -value, "unsupported",
			    "there is nothing to log: cannot read " EVENTS
			    " (%s): the kernel has no events of connection tracking",
			    strerror(-value));
}

/* What they were before us, by an earlier begin that nobody ended. */
static bool read_previous(const char *path, int previous[SETTINGS])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t cookie = 0, own = 0;
	char text[128] = "";
	bool good = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0;

	if (fd >= 0)
		close(fd);
	(void)nb_netns_cookie(&own);
	/* that of another namespace, whose inode this one got, does not count */
	return good &&
	       sscanf(text, "acct %d timestamp %d netns %" SCNu64, &previous[0], &previous[1],
		      &cookie) == 3 &&
	       cookie == own;
}

static int keep_previous(const char *path, const int previous[SETTINGS])
{
	uint64_t cookie = 0;
	char text[128];

	(void)nb_netns_cookie(&cookie);
	snprintf(text, sizeof(text), "acct %d timestamp %d netns %" PRIu64 "\n", previous[0],
		 previous[1], cookie);
	return write_file(path, O_CREAT | O_TRUNC, text);
}

int nb_accounting_begin(struct nb_run *run)
{
	int previous[SETTINGS], before[SETTINGS], r;
	const char *what = settings[0];
	char path[128];

	if (!nb_runtime_path(path, sizeof(path), SUFFIX))
		return nb_error_set(&run->error, NB_STATUS_FAILED, errno, "kernel",
				    "cannot find the network namespace");
	for (size_t i = 0; i < SETTINGS; i++) {
		previous[i] = r = read_setting(what = settings[i]);
		if (r < 0)
			goto fail;
	}
	if (!read_previous(path, before)) {
		r = keep_previous(what = path, previous);
		if (r < 0)
			goto fail;
	}
	for (size_t i = 0; i < SETTINGS; i++) {
		r = previous[i] ? 0 : write_file(what = settings[i], 0, "1\n");
		if (r < 0)
			goto fail;
	}
	return 0;
fail:
	return nb_error_set(&run->error, NB_STATUS_FAILED, -r, "log",
			    "cannot turn accounting on: %s: %s; run it where /proc/sys can be "
			    "written, or without --log-accounting",
			    what, strerror(-r));
}

void nb_accounting_end(struct nb_run *run)
{
	int previous[SETTINGS], r = 0;
	char path[128];

	if (!nb_runtime_path(path, sizeof(path), SUFFIX) || !read_previous(path, previous))
		return;
	for (size_t i = 0; i < SETTINGS; i++) {
		int one = previous[i] == 0 ? write_file(settings[i], 0, "0\n") : 0;

		r = r < 0 ? r : one;
	}
	if (r == 0)
		(void)unlink(path);
	else
		nb_warn(&run->warnings, "cannot set " DIRECTORY "nf_conntrack_acct back: %s",
			strerror(-r));
}
