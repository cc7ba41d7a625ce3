/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Netlink sockets, requests and acknowledgements.
 *
 * Theory of operation
 * -------------------
 * One socket a netlink family, opened at first use. Every request gets a
 * sequence number of its own, and answers to other numbers are skipped, so
 * that what an interrupted dump left in a queue is never taken for an answer.
 *
 * An nfnetlink batch is processed by the kernel inside sendmsg(2): when that
 * returns, every error is queued already. So the queue is drained without
 * blocking; waiting for a number of acknowledgements would hang, because a
 * stale generation gives exactly one, on the first message. Only the last
 * message asks for an acknowledgement: one for each of 65,000 would overflow
 * the receive buffer.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "nat-bridge/netlink.h"

#define BUS_COUNT	 (NETLINK_NETFILTER + 1)
#define RECEIVE_BUFFER	 (4 * 1024 * 1024)
#define ANSWER_TIMEOUT_S 20

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

struct nb_netlink {
	struct mnl_socket *sockets[BUS_COUNT];
	uint32_t sequence;
	char buffer[NB_NETLINK_BUFFER];
};

uint32_t nb_netlink_port(const struct nb_netlink *nl, int bus)
{
	const struct mnl_socket *socket = nl->sockets[bus];

	return socket ? mnl_socket_get_portid(socket) : 0;
}

struct nb_netlink *nb_netlink_new(void)
{
	return calloc(1, sizeof(struct nb_netlink));
}

void nb_netlink_free(struct nb_netlink *nl)
{
	if (!nl)
		return;
	for (int bus = 0; bus < BUS_COUNT; bus++)
		if (nl->sockets[bus])
			mnl_socket_close(nl->sockets[bus]);
	free(nl);
}

uint32_t nb_netlink_sequences(struct nb_netlink *nl, uint32_t count)
{
	uint32_t first = nl->sequence + 1;

	nl->sequence += count;
	return first;
}

/* Options are best effort: an older kernel lacks some, and a user namespace may not force sizes. */
static void set_options(struct mnl_socket *socket, int bus)
{
	int fd = mnl_socket_get_fd(socket), on = 1, size = RECEIVE_BUFFER;
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };

	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	if (bus == NETLINK_ROUTE)
		setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
}

static int open_bus(struct nb_netlink *nl, int bus, struct mnl_socket **ret)
{
	struct mnl_socket *socket = nl->sockets[bus];
	int number;

	if (!socket) {
		socket = mnl_socket_open2(bus, SOCK_CLOEXEC);
		if (!socket)
			return errno ? -errno : -EIO;
		if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
			number = errno;
			mnl_socket_close(socket);
			return number ? -number : -EIO;
		}
		set_options(socket, bus);
		nl->sockets[bus] = socket;
	}
	*ret = socket;
	return 0;
}

/* Read an NLMSG_ERROR. Returns the negative errno that it carries, 0 for an acknowledgement. */
static int read_ack(const struct nlmsghdr *message, struct nb_netlink_ack *ack)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);
	struct nlattr *attr;
	size_t offset = sizeof(*error);

	if (message->nlmsg_len < mnl_nlmsg_size(sizeof(*error)))
		return -EBADMSG;
	if (!ack)
		return error->error;

	memset(ack, 0, sizeof(*ack));
	ack->sequence = message->nlmsg_seq;
	ack->number = -error->error;
	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS))
		return error->error;
	if (!(message->nlmsg_flags & NLM_F_CAPPED))
		offset += error->msg.nlmsg_len - sizeof(struct nlmsghdr);

	mnl_attr_for_each(attr, message, offset) {
		switch (mnl_attr_get_type(attr)) {
		case NLMSGERR_ATTR_MSG:
			if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
				break;
			strncpy(ack->message, mnl_attr_get_str(attr), sizeof(ack->message) - 1);
			break;
		case NLMSGERR_ATTR_OFFS:
			if (mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
				ack->offset = mnl_attr_get_u32(attr);
			break;
		}
	}
	return error->error;
}

/* One datagram into nl->buffer. Returns its length or a negative errno. */
static ssize_t receive(struct nb_netlink *nl, struct mnl_socket *socket, int flags)
{
	struct sockaddr_nl peer;
	struct iovec iov = { .iov_base = nl->buffer, .iov_len = sizeof(nl->buffer) };
	struct msghdr header = {
		.msg_name = &peer,
		.msg_namelen = sizeof(peer),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};
	ssize_t length;

	do {
		length = recvmsg(mnl_socket_get_fd(socket), &header, flags);
	} while (length < 0 && errno == EINTR && !(flags & MSG_DONTWAIT));
	if (length < 0)
		return -errno;
	if (header.msg_flags & MSG_TRUNC)
		return -ENOSPC;
	/* only the kernel speaks to us; another process could send to our port */
	if (peer.nl_pid != 0)
		return 0;
	return length;
}

struct walk {
	uint32_t sequence;
	uint32_t first; /* that of the first request in the datagram */
	int first_result;
	int (*callback)(const struct nlmsghdr *message, void *data);
	void *data;
	struct nb_netlink_ack *ack;
	bool dump;
	bool interrupted;
	bool done;
	int result;
};

static void walk_message(struct walk *walk, const struct nlmsghdr *message)
{
	int error;

	if (message->nlmsg_seq == walk->first && message->nlmsg_type == NLMSG_ERROR)
		walk->first_result = read_ack(message, NULL);
	if (message->nlmsg_seq != walk->sequence)
		return;
	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		walk->interrupted = true;

	switch (message->nlmsg_type) {
	case NLMSG_NOOP:
		return;
	case NLMSG_OVERRUN:
		walk->interrupted = true;
		return;
	case NLMSG_ERROR:
		error = read_ack(message, walk->ack);
		if (walk->result == 0)
			walk->result = error;
		walk->done = true;
		return;
	case NLMSG_DONE:
		/* a dump that failed half-way says so in its DONE */
		if (message->nlmsg_len >= mnl_nlmsg_size(sizeof(int))) {
			memcpy(&error, mnl_nlmsg_get_payload(message), sizeof(error));
			if (error < 0 && walk->result == 0)
				walk->result = error;
		}
		walk->done = true;
		return;
	}
	if (walk->callback && walk->result == 0) {
		error = walk->callback(message, walk->data);
		if (error < 0)
			walk->result = error;
	}
}

/* @request is the last message of a datagram that begins with @first. */
static int ask(struct nb_netlink *nl, int bus, const struct nlmsghdr *first,
	       struct nlmsghdr *request,
	       int (*callback)(const struct nlmsghdr *message, void *data), void *data,
	       int *ret_first, struct nb_netlink_ack *ack)
{
	size_t before = (size_t)((const char *)request - (const char *)first);
	struct mnl_socket *socket = NULL;
	struct walk walk = {
		.callback = callback,
		.data = data,
		.ack = ack,
		.dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP,
	};
	int r;

	if (ack)
		memset(ack, 0, sizeof(*ack));
	if (ret_first)
		*ret_first = -EINPROGRESS;
	r = open_bus(nl, bus, &socket);
	if (r < 0)
		return r;

	request->nlmsg_flags |= NLM_F_REQUEST;
	if (!walk.dump)
		request->nlmsg_flags |= NLM_F_ACK;
	request->nlmsg_seq = walk.sequence = nb_netlink_sequences(nl, 1);
	walk.first = first->nlmsg_seq;
	if (mnl_socket_sendto(socket, first, before + request->nlmsg_len) < 0)
		return -errno;

	while (!walk.done) {
		ssize_t length = receive(nl, socket, 0);
		const struct nlmsghdr *message = (const struct nlmsghdr *)nl->buffer;
		int left = (int)length;

		if (length < 0)
			return length == -EAGAIN ? -ETIMEDOUT : (int)length;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			walk_message(&walk, message);
	}
	if (ret_first)
		*ret_first = walk.first_result;
	if (walk.result == 0 && walk.interrupted)
		return -EINTR;
	return walk.result;
}

int nb_netlink_ask(struct nb_netlink *nl, int bus, struct nlmsghdr *request,
		   int (*callback)(const struct nlmsghdr *message, void *data), void *data,
		   struct nb_netlink_ack *ack)
{
	return ask(nl, bus, request, request, callback, data, NULL, ack);
}

int nb_netlink_ask_last(struct nb_netlink *nl, int bus, struct nlmsghdr *first, size_t count,
			int *ret_first, struct nb_netlink_ack *ack)
{
	struct nlmsghdr *request = first;

	for (size_t i = 1; i < count; i++) {
		/* of its answer, which has another sequence, only a first one's errno is kept */
		request->nlmsg_flags |= NLM_F_REQUEST;
		request->nlmsg_seq = nb_netlink_sequences(nl, 1);
		request = mnl_nlmsg_get_payload_tail(request);
	}
	return ask(nl, bus, first, request, NULL, NULL, ret_first, ack);
}

/* One datagram holds the whole batch: the send buffer must take it. */
static void make_room(int fd, size_t length)
{
	int size = (int)(length + 4096);
	int have = 0;
	socklen_t have_length = sizeof(have);

	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &have, &have_length) == 0 && have > size)
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int nb_netlink_commit(struct nb_netlink *nl, const void *batch, size_t length, uint32_t last,
		      struct nb_netlink_ack *acks, size_t *ack_count)
{
	struct mnl_socket *socket = NULL;
	uint32_t first = ((const struct nlmsghdr *)batch)->nlmsg_seq;
	size_t room = *ack_count;
	int r, result = 0;

	*ack_count = 0;
	r = open_bus(nl, NETLINK_NETFILTER, &socket);
	if (r < 0)
		return r;
	make_room(mnl_socket_get_fd(socket), length);
	if (mnl_socket_sendto(socket, batch, length) < 0)
		return -errno;

	for (;;) {
		ssize_t received = receive(nl, socket, MSG_DONTWAIT);
		const struct nlmsghdr *message = (const struct nlmsghdr *)nl->buffer;
		int left = (int)received;

		if (received == -EAGAIN)
			return result;
		if (received < 0)
			return result < 0 ? result : -EINPROGRESS;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			struct nb_netlink_ack ack;

			if (message->nlmsg_type != NLMSG_ERROR ||
			    (int32_t)(message->nlmsg_seq - first) < 0)
				continue;
			r = read_ack(message, &ack);
			if (r == 0 && message->nlmsg_seq == last)
				return result;
			if (r == 0)
				continue;
			if (result == 0)
				result = r;
			if (*ack_count < room)
				acks[(*ack_count)++] = ack;
		}
	}
}

/* errno as an administrator should read it; strerror says nothing useful of some of these. */
static const char *explain(int number, const char **ret_code)
{
	*ret_code = "kernel";
	switch (number) {
	case EPERM:
	case EACCES:
		*ret_code = "permission";
		return "not permitted: run it as root, or with CAP_NET_ADMIN in this network "
		       "namespace";
	case EPROTONOSUPPORT:
	case EAFNOSUPPORT:
		*ret_code = "unsupported";
		return "the kernel has no such netlink family: load nf_tables (modprobe "
		       "nf_tables), or boot a kernel with CONFIG_NF_TABLES";
	case ERESTART:
	case EINTR:
		*ret_code = "busy";
		return "another program kept changing the ruleset: try again";
	case EINPROGRESS:
		*ret_code = "busy";
		return "the kernel's answer was lost: try again";
	case EBUSY:
		*ret_code = "busy";
		return "the kernel is busy with another change: try again";
	case EOPNOTSUPP:
		*ret_code = "unsupported";
		return "this kernel lacks a feature that is needed (5.10 is the oldest that "
		       "works)";
	case ENOENT:
		return "something that it refers to does not exist (or a kernel module is "
		       "missing)";
	case EEXIST:
		*ret_code = "conflict";
		return "it exists already with another content";
	case ENOBUFS:
	case ENOMEM:
		return "the kernel is out of memory for it";
	case EMSGSIZE:
		return "the change is larger than the socket buffer allows: raise "
		       "net.core.wmem_max";
	case ENODEV:
		return "the device does not exist (any more)";
	case ETIMEDOUT:
		return "the kernel did not answer";
	}
	return strerror(number);
}

int nb_netlink_error(struct nb_error *err, const struct nb_netlink_ack *ack, int number,
		     const char *operation)
{
	const char *code, *words = explain(number < 0 ? -number : number, &code);

	if (ack && ack->message[0])
		return nb_error_set(err, NB_STATUS_FAILED, number < 0 ? -number : number, code,
				    "%s: %s (kernel: %s)", operation, words, ack->message);
	return nb_error_set(err, NB_STATUS_FAILED, number < 0 ? -number : number, code, "%s: %s",
			    operation, words);
}
