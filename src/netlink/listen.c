/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listeners. For connected sockets, which may be destroyed, see sockdiag.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nat-bridge/listen.h"
#include "sockdiag.h"

/* An unconnected UDP socket is "closed". */
static uint32_t states_of(uint8_t protocol)
{
	return UINT32_C(1) << (protocol == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
}

static bool is_ipv6_only(const struct nlmsghdr *message)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct inet_diag_msg)) {
		if (mnl_attr_get_type(attr) == INET_DIAG_SKV6ONLY &&
		    mnl_attr_validate(attr, MNL_TYPE_U8) >= 0)
			return mnl_attr_get_u8(attr);
	}
	return false;
}

static void read_ipv4(const uint32_t *word, struct nb_listener *listener)
{
	listener->ipv4 = true;
	listener->bound = ntohl(*word);
	listener->any = listener->bound == 0;
	inet_ntop(AF_INET, word, listener->address, sizeof(listener->address));
}

static void read_ipv6(const struct nlmsghdr *message, const uint32_t *words,
		      struct nb_listener *listener)
{
	const struct in6_addr *address = (const void *)words;
	char text[INET6_ADDRSTRLEN];

	if (IN6_IS_ADDR_V4MAPPED(address)) {
		read_ipv4(&words[3], listener);
		return;
	}
	listener->any = IN6_IS_ADDR_UNSPECIFIED(address);
	listener->ipv4 = listener->any && !is_ipv6_only(message);
	inet_ntop(AF_INET6, words, text, sizeof(text));
	snprintf(listener->address, sizeof(listener->address), "[%s]", text);
}

static int append(struct nb_listener_list *list, const struct nb_listener *listener)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 8;
		struct nb_listener *grown = realloc(list->items, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		list->items = grown;
		list->capacity = capacity;
	}
	list->items[list->count++] = *listener;
	return 0;
}

static int collect(const struct nlmsghdr *message, void *data)
{
	const struct inet_diag_msg *diag = mnl_nlmsg_get_payload(message);
	struct nb_listener listener = { 0 };
	struct nb_listener_list *list = data;

	if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(*diag)))
		return 0;
	/* a closed UDP socket that still knows its peer is connected */
	if (diag->id.idiag_dport)
		return 0;
	listener.device = diag->id.idiag_if;
	listener.port = ntohs(diag->id.idiag_sport);
	listener.inode = diag->idiag_inode;
	listener.uid = diag->idiag_uid;
	listener.waiting = diag->idiag_rqueue;
	listener.room = diag->idiag_wqueue;
	if (diag->idiag_family == AF_INET)
		read_ipv4(diag->id.idiag_src, &listener);
	else
		read_ipv6(message, diag->id.idiag_src, &listener);
	if (listener.any && listener.ipv4)
		strcpy(listener.address, "*");
	return append(list, &listener);
}

static int dump(struct nb_netlink *nl, uint8_t family, uint8_t protocol, uint16_t port,
		struct nb_listener_list *list, struct nb_netlink_ack *ack)
{
	char buffer[256];
	struct nlmsghdr *request = nb_sockdiag_request(buffer, family, protocol,
						       states_of(protocol), port);
	int r;

	r = nb_netlink_ask(nl, NETLINK_SOCK_DIAG, request, collect, list, ack);
	/* listeners come and go while a dump runs */
	return r == -EINTR ? 0 : r;
}

static int by_port(const void *a, const void *b)
{
	const struct nb_listener *first = a, *second = b;

	if (first->port != second->port)
		return first->port < second->port ? -1 : 1;
	if (first->ipv4 != second->ipv4)
		return first->ipv4 ? -1 : 1;
	if (first->inode != second->inode)
		return first->inode < second->inode ? -1 : 1;
	return 0;
}

int nb_listeners(struct nb_netlink *nl, uint8_t protocol, uint16_t port,
		 struct nb_listener_list *ret, struct nb_error *err)
{
	struct nb_netlink_ack ack;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = dump(nl, AF_INET, protocol, port, ret, &ack);
	if (r == 0) {
		r = dump(nl, AF_INET6, protocol, port, ret, &ack);
		/* a kernel without IPv6 */
		if (r == -ENOENT || r == -EAFNOSUPPORT)
			r = 0;
	}
	if (r == 0 && !port && ret->count)
		qsort(ret->items, ret->count, sizeof(*ret->items), by_port);
	return r < 0 ? nb_netlink_error(err, &ack, r, "ask for listeners") : 0;
}

struct nb_listener_list nb_listeners_on(const struct nb_listener_list *list, uint16_t port)
{
	struct nb_listener_list part = { 0 };
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->items[middle].port < port)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < list->count)
		part.items = &list->items[low];
	while (low + part.count < list->count && list->items[low + part.count].port == port)
		part.count++;
	return part;
}

bool nb_listener_serves(const struct nb_listener *listener, uint32_t address)
{
	return listener->ipv4 && !listener->device && (listener->any || listener->bound == address);
}

void nb_listener_list_clear(struct nb_listener_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}
