/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hear of tracked connections. A host may open a hundred thousand a second that are none of
 * ours, so the socket has a filter: classic BPF, which knows netlink's attributes
 * (SKF_AD_NLATTR, linux/filter.h). It lets those through that were translated to 127.0.0.0/8.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conntrack.h"

/* Some ten thousand events: a burst, or a moment in which somebody else has the processor. */
#define QUEUE_BYTES  (8 << 20)
#define BUFFER_SIZE  32768
#define MOST_AT_ONCE 512

#define GROUP(number) (1u << ((number)-1))

struct nb_conntrack_listener {
	struct mnl_socket *socket;
	uint32_t drops; /* events that the kernel could not queue, as far as they are known */
	char buffer[BUFFER_SIZE];
};

#define LOAD(size, mode, value) BPF_STMT(BPF_LD | (size) | (mode), (value))
/* A is where to look, X the attribute's type; A becomes its offset, 0: there is none. */
#define LOAD_TYPE(type)		   BPF_STMT(BPF_LDX | BPF_IMM, (type))
#define FIND			   LOAD(BPF_B, BPF_ABS, (unsigned int)SKF_AD_OFF + SKF_AD_NLATTR)
#define FIND_NESTED		   LOAD(BPF_B, BPF_ABS, (unsigned int)SKF_AD_OFF + SKF_AD_NLATTR_NEST)
#define ATTRIBUTES		   (unsigned int)(sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg))
#define JUMP(test, value, yes, no) BPF_JUMP(BPF_JMP | (test) | BPF_K, (value), (yes), (no))
#define A_TO_X			   BPF_STMT(BPF_MISC | BPF_TAX, 0)

static int set_filter(const struct mnl_socket *socket)
{
	struct sock_filter code[] = {
		/* 0: the status, which has IPS_DST_NAT; jumps lead to 21 */
		LOAD(0, BPF_IMM, ATTRIBUTES),
		LOAD_TYPE(CTA_STATUS),
		FIND,
		JUMP(BPF_JEQ, 0, 17, 0),
		A_TO_X,
		LOAD(BPF_W, BPF_IND, sizeof(struct nlattr)),
		JUMP(BPF_JSET, IPS_DST_NAT, 0, 14),
		/* 7: the source of answers, which begins with 127 */
		LOAD(0, BPF_IMM, ATTRIBUTES),
		LOAD_TYPE(CTA_TUPLE_REPLY),
		FIND,
		JUMP(BPF_JEQ, 0, 10, 0),
		LOAD_TYPE(CTA_TUPLE_IP),
		FIND_NESTED,
		JUMP(BPF_JEQ, 0, 7, 0),
		LOAD_TYPE(CTA_IP_V4_SRC),
		FIND_NESTED,
		JUMP(BPF_JEQ, 0, 4, 0),
		A_TO_X,
		LOAD(BPF_B, BPF_IND, sizeof(struct nlattr)),
		JUMP(BPF_JEQ, 127, 0, 1),
		/* 20: all of it */
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		/* 21: nothing */
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = {
		.len = sizeof(code) / sizeof(code[0]),
		.filter = code,
	};

	return setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_ATTACH_FILTER, &program,
			  sizeof(program));
}

struct nb_conntrack_listener *nb_conntrack_listen(struct nb_error *err)
{
	struct nb_conntrack_listener *listener = calloc(1, sizeof(*listener));
	const int size = QUEUE_BYTES;

	if (!listener) {
		nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
		return NULL;
	}
	listener->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	/* the filter first: nothing may slip in before it */
	if (!listener->socket || set_filter(listener->socket) < 0 ||
	    mnl_socket_bind(listener->socket,
			    GROUP(NFNLGRP_CONNTRACK_NEW) | GROUP(NFNLGRP_CONNTRACK_UPDATE) |
				    GROUP(NFNLGRP_CONNTRACK_DESTROY),
			    MNL_SOCKET_AUTOPID) < 0) {
		nb_netlink_error(err, NULL, errno ? -errno : -EIO, "listen to connection tracking");
		nb_conntrack_listener_free(listener);
		return NULL;
	}
	/* without the right to, what the system allows has to do */
	if (setsockopt(nb_conntrack_listener_fd(listener), SOL_SOCKET, SO_RCVBUFFORCE, &size,
		       sizeof(size)) < 0)
		(void)setsockopt(nb_conntrack_listener_fd(listener), SOL_SOCKET, SO_RCVBUF, &size,
				 sizeof(size));
	return listener;
}

void nb_conntrack_listener_free(struct nb_conntrack_listener *listener)
{
	if (!listener)
		return;
	if (listener->socket)
		mnl_socket_close(listener->socket);
	free(listener);
}

int nb_conntrack_listener_fd(const struct nb_conntrack_listener *listener)
{
	return mnl_socket_get_fd(listener->socket);
}

static enum nb_conntrack_event event_of(const struct nlmsghdr *message)
{
	if (NFNL_MSG_TYPE(message->nlmsg_type) == IPCTNL_MSG_CT_DELETE)
		return NB_CONNTRACK_DESTROY;
	return message->nlmsg_flags & NLM_F_CREATE ? NB_CONNTRACK_NEW : NB_CONNTRACK_UPDATE;
}

/*
 * ENOBUFS is told once, and first. While the queue is then being emptied more may be lost without a
 * word, so that the socket's counter is what counts.
 */
static bool has_lost(struct nb_conntrack_listener *listener)
{
	uint32_t info[SK_MEMINFO_DROPS + 1] = { 0 };
	socklen_t length = sizeof(info);
	bool lost;

	if (getsockopt(nb_conntrack_listener_fd(listener), SOL_SOCKET, SO_MEMINFO, info, &length) <
	    0)
		return false;
	lost = info[SK_MEMINFO_DROPS] != listener->drops;
	listener->drops = info[SK_MEMINFO_DROPS];
	return lost;
}

unsigned int nb_conntrack_listener_read(struct nb_conntrack_listener *listener,
					void (*handle)(enum nb_conntrack_event event,
						       const struct nb_conntrack *entry,
						       const struct nb_conntrack_detail *detail,
						       void *data),
					void *data)
{
	unsigned int result = 0;

	for (int i = 0; i < MOST_AT_ONCE; i++) {
		ssize_t length = mnl_socket_recvfrom(listener->socket, listener->buffer,
						     sizeof(listener->buffer));
		const struct nlmsghdr *message = (const struct nlmsghdr *)listener->buffer;
		int left = (int)length;

		if (length < 0 && (errno == ENOBUFS || errno == ENOSPC)) {
			result |= NB_CONNTRACK_LOST;
			continue;
		}
		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			return result | (has_lost(listener) ? NB_CONNTRACK_LOST : 0);
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			struct nb_conntrack_detail detail;
			struct nb_conntrack entry;

			if (nb_conntrack_parse(message, &entry, &detail))
				handle(event_of(message), &entry, &detail, data);
		}
	}
	return result | NB_CONNTRACK_MORE;
}
