/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which process holds a socket: its descriptors are links to "socket:[INODE]". */
#include "nat-bridge/host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../model/text.h"

#define INIT 1

static int by_inode(const void *a, const void *b)
{
	const struct nb_holder *first = a, *second = b;

	if (first->inode != second->inode)
		return first->inode < second->inode ? -1 : 1;
	return 0;
}

/* The first of that inode: one socket may have been asked for twice. */
static size_t find_first(const struct nb_holder *holders, size_t count, uint64_t inode)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (holders[middle].inode < inode)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct nb_holder *nb_holder_find(const struct nb_holder *holders, size_t count,
				       uint64_t inode)
{
	size_t i = find_first(holders, count, inode);

	return i < count && holders[i].inode == inode ? &holders[i] : NULL;
}

/* A plain number, as processes and descriptors are named. */
static bool read_number(const char *text, long *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtol(text, &end, 10);
	return !*end && !errno && *ret <= INT_MAX;
}

static void read_name(int process, char *name, size_t size)
{
	int fd = openat(process, "comm", O_RDONLY | O_CLOEXEC);
	char text[NB_PROCESS_NAME_SIZE] = "";
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (length > 0 && text[length - 1] == '\n')
		text[length - 1] = '\0';
	nb_copy_line(name, size, text);
}

static bool is_better(pid_t pid, pid_t than)
{
	if (!than || than == INIT)
		return true;
	return pid != INIT && pid < than;
}

/* One descriptor of process @pid, whose directories these are. */
static void look_at(int process, int descriptors, const char *name, pid_t pid,
		    struct nb_holder *holders, size_t count)
{
	char link[64];
	ssize_t length = readlinkat(descriptors, name, link, sizeof(link) - 1);
	uint64_t inode;
	char end;

	if (length <= 0)
		return;
	link[length] = '\0';
	if (sscanf(link, "socket:[%" SCNu64 "%c", &inode, &end) != 2 || end != ']')
		return;
	for (size_t i = find_first(holders, count, inode);
	     i < count && holders[i].inode == inode && is_better(pid, holders[i].pid); i++) {
		holders[i].pid = pid;
		read_name(process, holders[i].name, sizeof(holders[i].name));
	}
}

static void look_into(int proc, const char *name, pid_t pid, struct nb_holder *holders,
		      size_t count)
{
	int process = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = process < 0 ? -1 : openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *descriptors = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	long number;

	if (!descriptors) {
		/* it has ended, or is not for this user to see */
		if (fd >= 0)
			close(fd);
	} else {
		while ((entry = readdir(descriptors)))
			if (read_number(entry->d_name, &number))
				look_at(process, fd, entry->d_name, pid, holders, count);
		closedir(descriptors);
	}
	if (process >= 0)
		close(process);
}

int nb_holders_find(struct nb_holder *holders, size_t count)
{
	const struct dirent *entry;
	long pid;
	DIR *proc;

	if (count == 0)
		return 0;
	qsort(holders, count, sizeof(*holders), by_inode);
	proc = opendir("/proc");
	if (!proc)
		return -errno;
	while ((entry = readdir(proc)))
		if (read_number(entry->d_name, &pid))
			look_into(dirfd(proc), entry->d_name, (pid_t)pid, holders, count);
	closedir(proc);
	return 0;
}
