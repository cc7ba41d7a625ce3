/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a service takes what its listener's queue holds. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "nat-bridge/listen.h"
#include "sockdiag.h"

struct look {
	struct nb_connection *connections;
	size_t count;
};

static bool is_of(const struct nb_connection *connection, const struct nb_socket *socket)
{
	return connection->address == socket->local && connection->port == socket->local_port &&
	       connection->remote_port == socket->remote_port;
}

static bool is_wanted(const struct nb_socket *socket, const void *data)
{
	const struct look *look = data;

	for (size_t i = 0; i < look->count; i++)
		if (is_of(&look->connections[i], socket))
			return true;
	return false;
}

static enum nb_taken taken(const struct nb_socket *socket)
{
	if (socket->inode)
		return NB_TAKEN_YES;
	return socket->state == TCP_ESTABLISHED || socket->state == TCP_CLOSE_WAIT ? NB_TAKEN_WAITS
										   : NB_TAKEN_HALF;
}

int nb_connections_look(struct nb_netlink *nl, struct nb_connection *connections, size_t count,
			struct nb_error *err)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	struct look look = { .connections = connections, .count = count };
	/* the kernel chooses by one port, or not at all */
	uint16_t port = count == 1 ? connections[0].port : 0;
	struct nb_socket_list sockets = { 0 };
	struct nb_netlink_ack ack;
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(families); i++) {
		r = nb_sockdiag_dump(nl, families[i], IPPROTO_TCP, port, is_wanted, &look, &sockets,
				     &ack);
		/* a kernel without IPv6 */
		if (families[i] == AF_INET6 && (r == -ENOENT || r == -EAFNOSUPPORT))
			r = 0;
	}
	for (size_t i = 0; i < count; i++) {
		connections[i].taken = NB_TAKEN_UNKNOWN;
		for (size_t j = 0; j < sockets.count; j++)
			if (is_of(&connections[i], &sockets.items[j]) &&
			    taken(&sockets.items[j]) > connections[i].taken)
				connections[i].taken = taken(&sockets.items[j]);
	}
	nb_socket_list_clear(&sockets);
	return r < 0 ? nb_netlink_error(err, &ack, r, "ask for connections") : 0;
}
