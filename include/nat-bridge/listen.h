/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who listens on a port of the host, by sock_diag. */
#ifndef NAT_BRIDGE_LISTEN_H
#define NAT_BRIDGE_LISTEN_H

#include "nat-bridge/mapping.h"
#include "nat-bridge/netlink.h"

/* A TCP socket that listens, or a UDP socket that is not connected. */
struct nb_listener {
	char address[48];    /* as one writes it: "127.0.0.1", "[::1]", "*" = every address */
	bool ipv4;	     /* takes IPv4 packets: all but sockets of IPv6 alone */
	bool any;	     /* bound to no address */
	uint32_t bound;	     /* the IPv4 address it is bound to, host byte order; 0 = any or none */
	unsigned int device; /* index of the device it is bound to, 0 = none */
	uint16_t port;	     /* host byte order */
	uint32_t inode;	     /* by which a process is found that holds it (see host.h), 0 = none */
	uint32_t uid;	     /* whose it is */
	uint32_t waiting;    /* of TCP: connections that nobody has accepted yet, */
	uint32_t room;	     /* and how many may wait */
};

struct nb_listener_list {
	struct nb_listener *items;
	size_t count;
	size_t capacity;
};

/*
 * All listeners on @port (host byte order) of @protocol, IPv4 and IPv6; with 0 those of every
 * port, sorted by it, from one dump. A kernel without the diag modules gives -ENOENT. @ret is
 * zeroed first; free with nb_listener_list_clear(), also after a failure.
 */
int nb_listeners(struct nb_netlink *nl, uint8_t protocol, uint16_t port,
		 struct nb_listener_list *ret, struct nb_error *err);
/*
 * The listeners on @port in a list of every port's: a part of @list, with nothing to free.
 */
struct nb_listener_list nb_listeners_on(const struct nb_listener_list *list, uint16_t port);
/*
 * Does it take packets to @address (host byte order) that come from a bridge? One that is bound
 * to a device refuses them.
 */
bool nb_listener_serves(const struct nb_listener *listener, uint32_t address);

/* How far a TCP connection came at its listener's side. */
enum nb_taken {
	NB_TAKEN_UNKNOWN, /* no such socket was seen */
	NB_TAKEN_HALF, /* the third packet of its handshake is not there; or waits, as the service asked
			     for (TCP_DEFER_ACCEPT), for a first byte */
	NB_TAKEN_WAITS, /* in the listener's queue */
	NB_TAKEN_YES,	/* a process has it */
};

/* A connection, by the listener's address and port and by the other side's port; host byte order. */
struct nb_connection {
	uint32_t address;
	uint16_t port;
	uint16_t remote_port;
	enum nb_taken taken; /* of several with these ports the furthest */
};

/* Fill how far each of @count came, from one dump. 0, or -errno with @err filled. */
int nb_connections_look(struct nb_netlink *nl, struct nb_connection *connections, size_t count,
			struct nb_error *err);

void nb_listener_list_clear(struct nb_listener_list *list);

#endif
