/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections and datagrams by ordinary sockets, many at once.
 *
 * All of it is done in the thread that entered the place's namespace: a window of sockets, each
 * with a time of its own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nat-bridge/plan.h"
#include "place.h"

#define WINDOW 256 /* sockets at once; descriptors are 1024 by default */

struct attempt {
	int fd;
	bool connecting; /* TCP, not yet */
	int64_t deadline;
	struct nb_probe *probe;
};

struct run {
	struct nb_probe *probes;
	size_t count, next;
	int timeout_ms;
	nb_probe_look_fn *look;
	void *data;
	struct attempt attempts[WINDOW];
	size_t active;
};

static enum nb_probe_result judge(int number)
{
	switch (number) {
	case ECONNREFUSED:
	case ECONNRESET:
		return NB_PROBE_REFUSED;
	case ETIMEDOUT:
		return NB_PROBE_TIMED_OUT;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case EACCES:
	case ENOPROTOOPT: /* "protocol unreachable" */
		return NB_PROBE_UNREACHABLE;
	}
	return NB_PROBE_FAILED;
}

static void set(struct nb_probe *probe, enum nb_probe_result result, int number)
{
	probe->result = result;
	probe->number = number;
}

/* A reset at the end, not a connection that lingers. */
static void hang_up(const struct attempt *attempt)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	if (attempt->probe->protocol == IPPROTO_TCP)
		setsockopt(attempt->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(attempt->fd);
}

static int dial(int fd, struct nb_probe *probe)
{
	struct sockaddr_in name = {
		.sin_family = AF_INET,
		.sin_port = htons(probe->source_port),
	};
	socklen_t length = sizeof(name);
	int on = 1, r;

	if (probe->source_port) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
			return -errno;
	}
	name.sin_addr.s_addr = htonl(probe->address);
	name.sin_port = htons(probe->port);
	r = connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0 ? -errno : 0;
	if (getsockname(fd, (struct sockaddr *)&name, &length) == 0)
		probe->source_port = ntohs(name.sin_port);
	if (r == 0 && probe->protocol == IPPROTO_UDP &&
	    send(fd, probe->payload ? probe->payload : "", probe->length, MSG_NOSIGNAL) < 0)
		r = -errno;
	return r;
}

/* Begin the next probe. False: no descriptor is left, and some will be. */
static bool begin(struct run *run)
{
	struct nb_probe *probe = &run->probes[run->next];
	bool tcp = probe->protocol == IPPROTO_TCP;
	struct attempt *attempt = &run->attempts[run->active];
	int fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);
	int r;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE) && run->active)
		return false;
	run->next++;
	probe->spoke = probe->closed = false;
	probe->said_length = 0;
	if (probe->said)
		probe->said[0] = '\0';
	if (fd < 0) {
		set(probe, NB_PROBE_FAILED, errno);
		return true;
	}
	*attempt = (struct attempt){
		.fd = fd,
		.connecting = tcp,
		.deadline = nb_monotonic_ms() + run->timeout_ms,
		.probe = probe,
	};
	r = dial(fd, probe);
	if (r < 0 && r != -EINPROGRESS) {
		set(probe, judge(-r), -r);
		close(fd);
		return true;
	}
	run->active++;
	return true;
}

static void keep(struct nb_probe *probe, const char *bytes, size_t length)
{
	size_t room;

	if (!probe->said)
		return;
	room = probe->said_size - 1 - probe->said_length;
	if (length > room)
		length = room;
	memcpy(probe->said + probe->said_length, bytes, length);
	probe->said_length += length;
	probe->said[probe->said_length] = '\0';
}

/* What comes after the connection stands. True: it is over. */
static bool listen_to(struct attempt *attempt)
{
	struct nb_probe *probe = attempt->probe;
	char bytes[512];
	ssize_t length = recv(attempt->fd, bytes, sizeof(bytes), 0);

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	probe->spoke |= length > 0;
	if (!probe->patience_ms)
		return true;
	probe->closed = length <= 0;
	if (length > 0)
		keep(probe, bytes, (size_t)length);
	return probe->closed;
}

/* True: it is over. */
static bool advance_tcp(struct attempt *attempt)
{
	struct nb_probe *probe = attempt->probe;
	socklen_t length = sizeof(int);
	int number = 0;

	if (!attempt->connecting)
		return listen_to(attempt);
	getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &number, &length);
	if (number) {
		set(probe, judge(number), number);
		return true;
	}
	set(probe, NB_PROBE_CONNECTED, 0);
	attempt->connecting = false;
	if (probe->patience_ms)
		attempt->deadline = nb_monotonic_ms() + probe->patience_ms;
	if (!probe->payload)
		return probe->patience_ms == 0;
	return send(attempt->fd, probe->payload, probe->length, MSG_NOSIGNAL) < 0;
}

static bool advance_udp(struct attempt *attempt)
{
	char byte;

	if (recv(attempt->fd, &byte, 1, 0) >= 0)
		set(attempt->probe, NB_PROBE_ANSWERED, 0);
	else if (errno == EAGAIN)
		return false;
	else
		set(attempt->probe, judge(errno), errno);
	return true;
}

static void time_out(const struct attempt *attempt)
{
	if (attempt->connecting)
		set(attempt->probe, NB_PROBE_TIMED_OUT, ETIMEDOUT);
	else if (attempt->probe->protocol == IPPROTO_UDP)
		set(attempt->probe, NB_PROBE_SENT, 0);
}

/* They have said nothing, and the other side has not hung up. */
static void show_standing(const struct run *run, const bool *over)
{
	struct nb_probe *standing[WINDOW];
	size_t count = 0;

	for (size_t i = 0; i < run->active; i++) {
		struct nb_probe *probe = run->attempts[i].probe;

		if (over[i] && probe->protocol == IPPROTO_TCP &&
		    probe->result == NB_PROBE_CONNECTED && !probe->closed)
			standing[count++] = probe;
	}
	if (count && run->look)
		run->look(standing, count, run->data);
}

static void wait_for_some(struct run *run)
{
	struct pollfd pollers[WINDOW];
	bool over[WINDOW];
	int64_t now = nb_monotonic_ms(), left = run->timeout_ms;
	size_t kept = 0;

	for (size_t i = 0; i < run->active; i++) {
		pollers[i] = (struct pollfd){
			.fd = run->attempts[i].fd,
			.events = run->attempts[i].connecting ? POLLOUT : POLLIN,
		};
		if (run->attempts[i].deadline - now < left)
			left = run->attempts[i].deadline - now;
	}
	if (poll(pollers, run->active, left > 0 ? (int)left : 0) < 0)
		return;
	now = nb_monotonic_ms();
	for (size_t i = 0; i < run->active; i++) {
		struct attempt *attempt = &run->attempts[i];
		bool tcp = attempt->probe->protocol == IPPROTO_TCP;

		over[i] = false;
		if (pollers[i].revents)
			over[i] = tcp ? advance_tcp(attempt) : advance_udp(attempt);
		if (!over[i] && attempt->deadline <= now) {
			time_out(attempt);
			over[i] = true;
		}
	}
	show_standing(run, over);
	for (size_t i = 0; i < run->active; i++) {
		if (over[i])
			hang_up(&run->attempts[i]);
		else
			run->attempts[kept++] = run->attempts[i];
	}
	run->active = kept;
}

static int work(void *data)
{
	struct run *run = data;

	while (run->next < run->count || run->active) {
		while (run->next < run->count && run->active < WINDOW && begin(run))
			;
		if (run->active)
			wait_for_some(run);
	}
	return 0;
}

int nb_probe_run(struct nb_probe_place *place, struct nb_probe *probes, size_t count,
		 int timeout_ms, struct nb_error *err)
{
	return nb_probe_run_watched(place, probes, count, timeout_ms, NULL, NULL, err);
}

int nb_probe_run_watched(struct nb_probe_place *place, struct nb_probe *probes, size_t count,
			 int timeout_ms, nb_probe_look_fn *look, void *data, struct nb_error *err)
{
	struct run *run = calloc(1, sizeof(*run));
	int r;

	if (!run)
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	run->probes = probes;
	run->count = count;
	run->timeout_ms = timeout_ms;
	run->look = look;
	run->data = data;
	r = place ? nb_place_do(place, work, run) : work(run);
	free(run);
	return r < 0 ? nb_netlink_error(err, NULL, r, "send probes") : 0;
}
