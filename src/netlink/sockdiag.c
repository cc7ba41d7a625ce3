/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connected sockets by sock_diag. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sockdiag.h"

/* of the enum in include/net/tcp_states.h, which is not exported; netinet/tcp.h ends before it */
#define TCP_STATE_NEW_SYN_RECV 12

#define STATE(state) (UINT32_C(1) << (state))

/* What still is, or may become, a connection. */
#define TCP_STATES                                                             \
	(STATE(TCP_ESTABLISHED) | STATE(TCP_SYN_SENT) | STATE(TCP_SYN_RECV) |  \
	 STATE(TCP_FIN_WAIT1) | STATE(TCP_FIN_WAIT2) | STATE(TCP_CLOSE_WAIT) | \
	 STATE(TCP_LAST_ACK) | STATE(TCP_CLOSING) | STATE(TCP_STATE_NEW_SYN_RECV))
/* A UDP socket is "established" as long as it is connected. */
#define UDP_STATES STATE(TCP_ESTABLISHED)

static uint32_t states_of(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? TCP_STATES : UDP_STATES;
}

/* The IPv4 address that a socket of @family shows, or false if it has none. */
static bool ipv4_of(uint8_t family, const uint32_t *words, uint32_t *ret)
{
	if (family == AF_INET) {
		*ret = ntohl(words[0]);
		return true;
	}
	if (family != AF_INET6 || words[0] != 0 || words[1] != 0 || words[2] != htonl(0xffff))
		return false;
	*ret = ntohl(words[3]);
	return true;
}

struct dump {
	uint8_t protocol;
	bool (*wanted)(const struct nb_socket *socket, const void *data);
	const void *data;
	struct nb_socket_list *list;
};

static int append(struct nb_socket_list *list, const struct nb_socket *socket)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 16;
		struct nb_socket *items = realloc(list->items, capacity * sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = *socket;
	return 0;
}

static int collect(const struct nlmsghdr *message, void *data)
{
	const struct inet_diag_msg *diag = mnl_nlmsg_get_payload(message);
	const struct dump *dump = data;
	struct nb_socket found = { .protocol = dump->protocol };

	if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(*diag)))
		return 0;
	found.family = diag->idiag_family;
	found.state = diag->idiag_state;
	found.inode = diag->idiag_inode;
	found.id = diag->id;
	found.local_port = ntohs(diag->id.idiag_sport);
	found.remote_port = ntohs(diag->id.idiag_dport);
	if (!ipv4_of(found.family, diag->id.idiag_src, &found.local) ||
	    !ipv4_of(found.family, diag->id.idiag_dst, &found.remote))
		return 0;

	/* the request asked for these states only; nothing else may slip through */
	if (found.state > 31 || !(STATE(found.state) & states_of(found.protocol)))
		return 0;
	if (found.remote == 0 || found.remote_port == 0)
		return 0;
	if (!dump->wanted(&found, dump->data))
		return 0;
	return append(dump->list, &found);
}

struct nlmsghdr *nb_sockdiag_request(char *buffer, uint8_t family, uint8_t protocol,
				     uint32_t states, uint16_t port)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *query;

	request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	request->nlmsg_flags = NLM_F_DUMP;
	query = mnl_nlmsg_put_extra_header(request, sizeof(*query));
	query->sdiag_family = family;
	query->sdiag_protocol = protocol;
	query->idiag_states = states;
	query->id.idiag_sport = htons(port);
	return request;
}

int nb_sockdiag_dump(struct nb_netlink *nl, uint8_t family, uint8_t protocol, uint16_t port,
		     bool (*wanted)(const struct nb_socket *socket, const void *data),
		     const void *data, struct nb_socket_list *list, struct nb_netlink_ack *ack)
{
	struct dump dump = { .protocol = protocol, .wanted = wanted, .data = data, .list = list };
	char buffer[256];
	struct nlmsghdr *request = nb_sockdiag_request(buffer, family, protocol,
						       states_of(protocol), port);
	int r;

	r = nb_netlink_ask(nl, NETLINK_SOCK_DIAG, request, collect, &dump, ack);
	/* these dumps are best effort anyway: sockets come and go while they run */
	return r == -EINTR ? 0 : r;
}

void nb_socket_list_clear(struct nb_socket_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}

int nb_sockdiag_destroy(struct nb_netlink *nl, const struct nb_socket *socket,
			struct nb_netlink_ack *ack)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *query;
	int r;

	/* "any cookie" would allow the fallback to the listener */
	if (socket->id.idiag_cookie[0] == INET_DIAG_NOCOOKIE &&
	    socket->id.idiag_cookie[1] == INET_DIAG_NOCOOKIE)
		return 0;

	request->nlmsg_type = SOCK_DESTROY;
	query = mnl_nlmsg_put_extra_header(request, sizeof(*query));
	query->sdiag_family = socket->family;
	query->sdiag_protocol = socket->protocol;
	query->idiag_states = states_of(socket->protocol);
	query->id = socket->id;
	r = nb_netlink_ask(nl, NETLINK_SOCK_DIAG, request, NULL, NULL, ack);
	switch (r) {
	case 0:
		return 1;
	case -ENOENT:
	case -ESTALE: /* the lookup found another socket, whose cookie differs */
		return 0;
	case -EOPNOTSUPP:
		/*
		 * A FIN_WAIT2 may live on as a mere timewait entry, which older
		 * kernels do not abort: the service has closed it already.
		 */
		return socket->state == TCP_FIN_WAIT2 ? 0 : r;
	}
	return r;
}
