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

#define FLUSHED	   ".flushed"
#define UNFILTERED ".unfiltered"

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

static bool write_text(const char *suffix, const char *text)
{
	char path[128];
	int fd = -1;
	bool good;

	if (nb_runtime_path(path, sizeof(path), suffix))
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return false;
	good = write(fd, text, strlen(text)) >= 0;
	close(fd);
	return good;
}

/* "": there is none. */
static void read_text(const char *suffix, char *ret, size_t size)
{
	ssize_t length = -1;
	char path[128];
	int fd = -1;

	if (nb_runtime_path(path, sizeof(path), suffix))
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		length = read(fd, ret, size - 1);
		close(fd);
	}
	ret[length > 0 ? length : 0] = '\0';
}

static void remove_text(const char *suffix)
{
	char path[128];

	if (nb_runtime_path(path, sizeof(path), suffix))
		(void)unlink(path);
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

	word_mark(text, sizeof(text));
	if (!write_text(FLUSHED, text))
		nb_warn(&run->warnings,
			"cannot write %s: %s; a watcher that runs brings the rule "
			"files back",
			nb_runtime_path(path, sizeof(path), FLUSHED) ? path : "/run/nat-bridge",
			strerror(errno));
}

void nb_flushed_clear(void)
{
	remove_text(FLUSHED);
}

bool nb_flushed(void)
{
	char text[64], have[64];

	word_mark(text, sizeof(text));
	read_text(FLUSHED, have, sizeof(have));
	return strcmp(have, text) == 0;
}

void nb_unfiltered_note(const char *why)
{
	if (why[0])
		(void)write_text(UNFILTERED, why);
	else
		remove_text(UNFILTERED);
}

bool nb_unfiltered(char *ret_why, size_t size)
{
	read_text(UNFILTERED, ret_why, size);
	return ret_why[0] != '\0';
}
