/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of this network namespace in /run/nat-bridge. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define FLUSHED ".flushed"

bool nb_runtime_path(char *path, size_t size, const char *suffix)
{
	struct stat net;

	if (stat("/proc/self/ns/net", &net) < 0)
		return false;
	snprintf(path, size, "/run/nat-bridge/%llu%s", (unsigned long long)net.st_ino, suffix);
	return true;
}

bool nb_netns_cookie(uint64_t *ret)
{
	socklen_t length = sizeof(*ret);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool known;

	if (fd < 0)
		return false;
	known = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &length) == 0;
	close(fd);
	return known;
}

/* What the mark holds. */
static void word_mark(char *text, size_t size)
{
	uint64_t cookie = 0;

	(void)nb_netns_cookie(&cookie);
	snprintf(text, size, "flushed, until apply: netns %llu\n", (unsigned long long)cookie);
}

void nb_flushed_set(struct nb_run *run)
{
	char path[128], text[64];
	int fd = -1;

	word_mark(text, sizeof(text));
	if (nb_runtime_path(path, sizeof(path), FLUSHED))
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		nb_warn(&run->warnings,
			"cannot write %s: %s; a watcher that runs brings the rule "
			"files back",
			path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

void nb_flushed_clear(void)
{
	char path[128];

	if (nb_runtime_path(path, sizeof(path), FLUSHED))
		(void)unlink(path);
}

bool nb_flushed(void)
{
	char path[128], text[64], have[64];
	ssize_t length;
	int fd;

	if (!nb_runtime_path(path, sizeof(path), FLUSHED))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	length = read(fd, have, sizeof(have) - 1);
	close(fd);
	word_mark(text, sizeof(text));
	return length == (ssize_t)strlen(text) && memcmp(have, text, (size_t)length) == 0;
}
