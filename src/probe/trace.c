/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nftrace of our own probes: from the tables that begin it to the sum of what was told. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <libmnl/libmnl.h>

#include "nat-bridge/plan.h"
#include "trace.h"

#define GROUP(number)  (1u << ((number)-1))
#define RECEIVE_BUFFER (16 << 20)
#define SETTLED_MS     60 /* no message for so long: there are no more */
#define LONGEST_MS     1000

static int listen_to_kernel(struct nb_trace *trace, struct nb_error *err)
{
	int size = RECEIVE_BUFFER, fd;

	trace->events = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!trace->events ||
	    mnl_socket_bind(trace->events, GROUP(NFNLGRP_NFTRACE), MNL_SOCKET_AUTOPID) < 0)
		return nb_netlink_error(err, NULL, errno ? -errno : -EIO, "listen to traces");
	fd = mnl_socket_get_fd(trace->events);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return 0;
}

static void end(struct nb_trace *trace)
{
	if (!trace)
		return;
	if (trace->events)
		mnl_socket_close(trace->events);
	nb_netlink_free(trace->nl);
	free(trace->ids);
	free(trace->accepted);
	free(trace->reached);
	free(trace);
}

int nb_trace_begin(const struct nb_link_list *links, const char *bridge,
		   struct nb_trace_flow *flows, size_t count, struct nb_trace **ret,
		   struct nb_error *err)
{
	struct nb_trace *trace = calloc(1, sizeof(*trace));
	struct nb_error ignored;
	int r;

	if (trace) {
		trace->nl = nb_netlink_new();
		trace->ids = calloc(NB_TRACE_IDS, sizeof(*trace->ids));
		trace->accepted = calloc(count + 1, sizeof(*trace->accepted));
		trace->reached = calloc(count + 1, sizeof(*trace->reached));
	}
	if (!trace || !trace->nl || !trace->ids || !trace->accepted || !trace->reached) {
		end(trace);
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	}
	trace->bridge = bridge;
	trace->flows = flows;
	trace->count = count;
	trace->complete = true;
	snprintf(trace->table, sizeof(trace->table), "nat-bridge-trace-%d", (int)getpid());
	r = listen_to_kernel(trace, err);
	if (r == 0)
		r = nb_trace_make_table(trace, NFPROTO_INET, links, err);
	if (r < 0) {
		end(trace);
		return r;
	}
	/* a kernel without them has no rules there either */
	(void)nb_trace_make_table(trace, NFPROTO_BRIDGE, links, &ignored);
	(void)nb_trace_make_table(trace, NFPROTO_NETDEV, links, &ignored);
	*ret = trace;
	return 0;
}

static void read_messages(struct nb_trace *trace, const char *buffer, ssize_t length)
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)buffer;
	int left = (int)length;

	for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left))
		nb_trace_read(trace, header);
}

/* An answer to what never came to a socket is a rejection. */
static void sum_up(struct nb_trace_flow *flow, const enum nb_trace_stage *reached)
{
	flow->rejected = reached[NB_ANSWERS] && reached[NB_REQUESTS] < NB_STAGE_DELIVERED;
	flow->stage = reached[NB_ANSWERS] && !flow->rejected ? reached[NB_ANSWERS]
							     : reached[NB_REQUESTS];
}

bool nb_trace_end(struct nb_trace *trace)
{
	struct pollfd poller = { .fd = mnl_socket_get_fd(trace->events), .events = POLLIN };
	int64_t deadline = nb_monotonic_ms() + LONGEST_MS;
	char *buffer = malloc(NB_NETLINK_BUFFER);
	bool complete;

	while (buffer && nb_monotonic_ms() < deadline && poll(&poller, 1, SETTLED_MS) > 0) {
		ssize_t length = mnl_socket_recvfrom(trace->events, buffer, NB_NETLINK_BUFFER);

		if (length > 0)
			read_messages(trace, buffer, length);
		else if (length < 0 && errno == ENOBUFS)
			trace->complete = false;
	}
	for (size_t i = 0; i < trace->count; i++)
		sum_up(&trace->flows[i], trace->reached[i]);
	complete = trace->complete && buffer;
	free(buffer);
	end(trace);
	return complete;
}
