/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One writer at a time in a network namespace, and in a rules directory.
 *
 * A blocking flock(2) with an interval timer, never a poll: the timer's
 * signal interrupts the wait, and it repeats, so that one that fires just before flock() is
 * entered loses nothing but a tenth of a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli.h"

#define LOCK_DIRECTORY "/run/nat-bridge"
#define TICK_US	       100000

static void on_alarm(int signal)
{
	(void)signal;
}

static int cannot(struct nb_run *run, const char *what, const char *path)
{
	int number = errno;

	return nb_error_set(&run->error, NB_STATUS_FAILED, number,
			    number == EACCES || number == EPERM ? "permission" : "lock",
			    "cannot %s %s: %s%s", what, path, strerror(number),
			    number == EACCES || number == EPERM ? " (run it as root)" : "");
}

/* @path is below LOCK_DIRECTORY, so that only root can open it, and hold it. */
static int open_lock(struct nb_run *run, const char *path)
{
	struct stat directory;
	int fd;

	if (mkdir(LOCK_DIRECTORY, 0700) < 0 && errno != EEXIST)
		return cannot(run, "make", LOCK_DIRECTORY);
	if (lstat(LOCK_DIRECTORY, &directory) < 0)
		return cannot(run, "use", LOCK_DIRECTORY);
	if (!S_ISDIR(directory.st_mode) || directory.st_uid != geteuid() ||
	    (directory.st_mode & 022)) {
		errno = EPERM;
		return cannot(run, "trust (another's, or writable by others)", LOCK_DIRECTORY);
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return cannot(run, "open", path);
	return fd;
}

/* "pid 123 (nat-bridge apply)" as the holder wrote it. */
static void read_holder(int fd, char *holder, size_t size)
{
	ssize_t length = pread(fd, holder, size - 1, 0);

	if (length <= 0)
		length = snprintf(holder, size, "another process");
	holder[length] = '\0';
	holder[strcspn(holder, "\n")] = '\0';
}

static int wait_for(int fd, int64_t seconds)
{
	struct sigaction action = { .sa_handler = on_alarm }, old_action;
	const struct itimerval off = { 0 };
	struct itimerval timer = {
		.it_interval = { .tv_usec = TICK_US },
		.it_value = { .tv_usec = TICK_US },
	};
	int64_t deadline = nb_monotonic_ms() + seconds * 1000;
	int r;

	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK || seconds == 0)
		return -errno;
	/* no SA_RESTART: flock() shall return */
	sigaction(SIGALRM, &action, &old_action);
	setitimer(ITIMER_REAL, &timer, NULL);
	do {
		r = flock(fd, LOCK_EX) < 0 ? -errno : 0;
	} while (r == -EINTR && nb_monotonic_ms() < deadline);
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old_action, NULL);
	return r;
}

/* Open, wait, and tell later ones who holds it. Returns the descriptor. */
static int take(struct nb_run *run, const char *path)
{
	int fd = open_lock(run, path), r, length;
	char holder[128];

	if (fd < 0)
		return fd;
	r = wait_for(fd, run->options.wait);
	if (r == -EINTR || r == -EWOULDBLOCK) {
		read_holder(fd, holder, sizeof(holder));
		close(fd);
		return nb_error_set(&run->error, NB_STATUS_FAILED, EBUSY, "locked",
				    "%s holds the lock %s: try again, or --wait longer", holder,
				    path);
	}
	if (r < 0) {
		close(fd);
		errno = -r;
		return cannot(run, "lock", path);
	}
	length = snprintf(holder, sizeof(holder), "pid %d (nat-bridge %s)\n", (int)getpid(),
			  run->command->name);
	/* what a waiter is told; a lock without it still locks */
	if (ftruncate(fd, 0) < 0 || pwrite(fd, holder, (size_t)length, 0) < 0)
		nb_warn(&run->warnings, "cannot write to %s: %s", path, strerror(errno));
	return fd;
}

int nb_lock_take(struct nb_run *run)
{
	char path[128];
	int fd;

	if (!nb_runtime_path(path, sizeof(path), ".lock"))
		return cannot(run, "find the network namespace:", "/proc/self/ns/net");
	fd = take(run, path);
	if (fd < 0)
		return fd;
	run->lock = fd;
	return 0;
}

int nb_lock_rules(struct nb_run *run)
{
	/* one for all directories: held for moments, and no file for each is left in /run */
	int fd = take(run, LOCK_DIRECTORY "/rules.lock");

	if (fd < 0)
		return fd;
	run->rules_lock = fd;
	return 0;
}

int nb_lock_watch(struct nb_run *run)
{
	char path[128];
	int64_t wait = run->options.wait;
	int fd;

	if (!nb_runtime_path(path, sizeof(path), ".watch"))
		return cannot(run, "find the network namespace:", "/proc/self/ns/net");
	/* the last look of one that was killed may just be closing it */
	run->options.wait = 1;
	fd = take(run, path);
	run->options.wait = wait;
	if (fd == -EBUSY) {
		char holder[128];
		int other = open_lock(run, path);

		read_holder(other, holder, sizeof(holder));
		close(other);
		return nb_error_set(&run->error, NB_STATUS_FAILED, EBUSY, "locked",
				    "%s watches here already", holder);
	}
	return fd;
}
