/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connected TCP and UDP sockets of the host: dump and destroy, by sock_diag.
 *
 * SOCK_DESTROY can kill the service: for a flow without a socket of its own
 * the kernel falls back to the listener. So there is no way here to
 * destroy anything but a socket that a dump showed connected, by the cookie
 * that this dump gave it.
 */
#ifndef NAT_BRIDGE_NETLINK_SOCKDIAG_H
#define NAT_BRIDGE_NETLINK_SOCKDIAG_H

#include <linux/inet_diag.h>

#include "nat-bridge/netlink.h"

/* Make a dump request in @buffer (256 bytes): sockets in any of @states (bits), of @port or 0. */
struct nlmsghdr *nb_sockdiag_request(char *buffer, uint8_t family, uint8_t protocol,
				     uint32_t states, uint16_t port);

/* An IPv4 flow's end, held by a socket of AF_INET or by an IPv4-mapped one of AF_INET6. */
struct nb_socket {
	uint32_t local; /* host byte order, as the next three */
	uint32_t remote;
	uint16_t local_port;
	uint16_t remote_port;
	uint8_t family;
	uint8_t protocol;
	uint8_t state;
	uint32_t inode;		    /* 0: no process has taken it from its listener */
	struct inet_diag_sockid id; /* the kernel's own words, cookie included */
};

struct nb_socket_list {
	struct nb_socket *items;
	size_t count;
	size_t capacity;
};

/*
 * Append the connected sockets of @family and @protocol that @wanted accepts to
 * @list; with @port only those of that local port, 0 = of all. No listener,
 * no unconnected UDP socket and nothing that waits in TIME_WAIT is ever shown to
 * @wanted. Returns 0 or -errno (-ENOENT: no diag module) with @ack filled;
 * what was appended stays.
 */
int nb_sockdiag_dump(struct nb_netlink *nl, uint8_t family, uint8_t protocol, uint16_t port,
		     bool (*wanted)(const struct nb_socket *socket, const void *data),
		     const void *data, struct nb_socket_list *list, struct nb_netlink_ack *ack);
void nb_socket_list_clear(struct nb_socket_list *list);

/*
 * Abort exactly @socket; its peer gets a reset. Returns 1 if that was done, 0
 * if it was gone already, or -errno (-EOPNOTSUPP: a kernel without SOCK_DESTROY) with @ack filled.
 */
int nb_sockdiag_destroy(struct nb_netlink *nl, const struct nb_socket *socket,
			struct nb_netlink_ack *ack);

#endif
