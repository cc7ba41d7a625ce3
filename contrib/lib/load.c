/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What contrib/bench measures with. Built by it into its temporary directory;
 * no part of the program.
 *
 *   load run NETNS COMMAND...            one line of JSON: seconds and peak KiB of COMMAND
 *   load serve ADDRESS PORT              accepts; answers every byte with a byte
 *   load connect ADDRESS PORT SECONDS N  N clients, new connections: count each second
 *   load talk ADDRESS PORT SECONDS N     N clients, one connection each: exchanges each second
 *
 * "run" measures from here and not from python because the peak memory of a child
 * begins with that of the process which forked it, and this one is small.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 64
#define SERVERS	    4

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void enter(const char *netns)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		die(path);
	close(fd);
}

static int run(char **argv)
{
	struct rusage usage;
	double start, end;
	int status;
	pid_t pid;

	enter(argv[0]);
	start = now();
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		dup2(2, 1); /* standard output belongs to the measurement */
		execvp(argv[1], argv + 1);
		die(argv[1]);
	}
	if (wait4(pid, &status, 0, &usage) < 0)
		die("wait4");
	end = now();
	printf("{\"seconds\": %.6f, \"peak_kib\": %ld, \"status\": %d}\n", end - start,
	       usage.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 0;
}

static struct sockaddr_in address(char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };

	to.sin_port = htons((uint16_t)atoi(argv[1]));
	if (inet_pton(AF_INET, argv[0], &to.sin_addr) != 1) {
		errno = EINVAL;
		die(argv[0]);
	}
	return to;
}

/* Processes that accept and serve one connection after the other. */
static int serve(char **argv)
{
	struct sockaddr_in to = address(argv);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	int i;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(fd, 4096) < 0)
		die("listen");
	for (i = 1; i < SERVERS; i++)
		if (fork() == 0)
			break;
	for (;;) {
		int c = accept(fd, NULL, NULL);
		char byte;

		if (c < 0)
			continue;
		setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while (read(c, &byte, 1) == 1)
			if (write(c, &byte, 1) != 1)
				break;
		close(c);
	}
}

static int dial(const struct sockaddr_in *to)
{
	struct timeval limit = { .tv_sec = 5 };
	struct linger reset = { .l_onoff = 1 };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	/* Closing resets: no TIME-WAIT uses up the ports. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		die("connect");
	return fd;
}

static void exchange(int fd)
{
	char byte = 'x';

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		die("exchange");
}

static int clients(char **argv, bool keep)
{
	struct sockaddr_in to = address(argv);
	double seconds = atof(argv[2]);
	int i, failed = 0, count = atoi(argv[3]);
	unsigned long total = 0;
	unsigned long *done; /* shared, a cache line for each client */
	double start, end;

	if (count < 1 || count > MAX_CLIENTS)
		count = 1;
	done = mmap(NULL, MAX_CLIENTS * 64, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		    0);
	if (done == MAP_FAILED)
		die("mmap");
	start = now();
	for (i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			int fd = keep ? dial(&to) : -1;

			for (end = start + seconds; now() < end; done[i * 8]++) {
				if (!keep)
					fd = dial(&to);
				exchange(fd);
				if (!keep)
					close(fd);
			}
			_exit(0);
		}
	}
	for (i = 0; i < count; i++) {
		int status;

		if (wait(&status) < 0 || status != 0)
			failed = 1;
	}
	end = now();
	for (i = 0; i < count; i++)
		total += done[i * 8];
	printf("%.1f\n", (double)total / (end - start));
	return failed;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc >= 4 && strcmp(argv[1], "run") == 0)
		return run(argv + 2);
	if (argc == 4 && strcmp(argv[1], "serve") == 0)
		return serve(argv + 2);
	if (argc == 6 && strcmp(argv[1], "connect") == 0)
		return clients(argv + 2, false);
	if (argc == 6 && strcmp(argv[1], "talk") == 0)
		return clients(argv + 2, true);
	fputs("usage: see the head of load.c\n", stderr);
	return 2;
}
