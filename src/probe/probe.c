/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands here until the real one comes. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nat-bridge/plan.h"
#include "nat-bridge/probe.h"

struct nb_probe_place {
	int fd;
};

int nb_probe_join(struct nb_netlink *nl, const char *bridge, struct nb_probe_place **ret,
		  struct nb_error *err)
{
	(void)nl;
	(void)ret;
	return nb_error_set(err, NB_STATUS_FAILED, EOPNOTSUPP, "unsupported", "no container is on %s",
			    bridge);
}

int nb_probe_enter(pid_t pid, struct nb_probe_place **ret, struct nb_error *err)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	struct nb_probe_place *place = calloc(1, sizeof(*place));
	if (!place)
		return -ENOMEM;
	place->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (place->fd < 0) {
		free(place);
		return nb_error_set(err, NB_STATUS_FAILED, errno, "permission", "cannot open %s",
				    path);
	}
	*ret = place;
	return 0;
}

void nb_probe_leave(struct nb_probe_place *place)
{
	if (place)
		close(place->fd);
	free(place);
}

static enum nb_probe_result result_of(int number)
{
	switch (number) {
	case 0:
		return NB_PROBE_CONNECTED;
	case ECONNREFUSED:
		return NB_PROBE_REFUSED;
	case ETIMEDOUT:
		return NB_PROBE_TIMED_OUT;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EACCES:
		return NB_PROBE_UNREACHABLE;
	}
	return NB_PROBE_FAILED;
}

int nb_probe_run(struct nb_probe_place *place, struct nb_probe *probes, size_t count,
		 int timeout_ms, struct nb_error *err)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct pollfd *fds = calloc(count + 1, sizeof(*fds));
	int64_t deadline = nb_monotonic_ms() + timeout_ms;
	size_t left = count;
	(void)err;
	if (own < 0 || !fds || setns(place->fd, CLONE_NEWNET) < 0) {
		free(fds);
		if (own >= 0)
			close(own);
		return nb_error_set(err, NB_STATUS_FAILED, errno, "permission", "cannot enter");
	}
	for (size_t i = 0; i < count; i++) {
		struct nb_probe *p = &probes[i];
		fds[i].fd = socket(AF_INET,
				   (p->protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM) |
					   SOCK_NONBLOCK | SOCK_CLOEXEC,
				   0);
		fds[i].events = p->protocol == IPPROTO_TCP ? POLLOUT : POLLIN;
	}
	if (setns(own, CLONE_NEWNET) < 0)
		abort();
	close(own);
	for (size_t i = 0; i < count; i++) {
		struct nb_probe *p = &probes[i];
		struct sockaddr_in from = { .sin_family = AF_INET,
					    .sin_port = htons(p->source_port) };
		struct sockaddr_in to = { .sin_family = AF_INET,
					  .sin_port = htons(p->port),
					  .sin_addr.s_addr = htonl(p->address) };
		struct linger linger = { .l_onoff = 1 };
		int one = 1;
		setsockopt(fds[i].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		setsockopt(fds[i].fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		if (p->source_port && bind(fds[i].fd, (void *)&from, sizeof(from)) < 0) {
			p->result = NB_PROBE_FAILED;
			p->number = errno;
			close(fds[i].fd);
			fds[i].fd = -1;
			left--;
			continue;
		}
		p->result = p->protocol == IPPROTO_TCP ? NB_PROBE_TIMED_OUT : NB_PROBE_SENT;
		if (connect(fds[i].fd, (void *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
			p->number = errno;
			p->result = result_of(errno);
			close(fds[i].fd);
			fds[i].fd = -1;
			left--;
			continue;
		}
		if (p->protocol == IPPROTO_UDP)
			(void)send(fds[i].fd, "", 0, 0);
	}
	while (left && nb_monotonic_ms() < deadline) {
		int wait = (int)(deadline - nb_monotonic_ms());
		if (wait <= 0 || poll(fds, count, wait) <= 0)
			break;
		for (size_t i = 0; i < count; i++) {
			int number = 0;
			socklen_t size = sizeof(number);
			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			getsockopt(fds[i].fd, SOL_SOCKET, SO_ERROR, &number, &size);
			probes[i].number = number;
			probes[i].result = number		       ? result_of(number)
					   : probes[i].protocol == IPPROTO_TCP ? NB_PROBE_CONNECTED
									       : NB_PROBE_ANSWERED;
			close(fds[i].fd);
			fds[i].fd = -1;
			left--;
		}
	}
	for (size_t i = 0; i < count; i++)
		if (fds[i].fd >= 0)
			close(fds[i].fd);
	free(fds);
	return 0;
}
