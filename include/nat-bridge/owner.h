/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who lives behind a bridge's ports: a veth ends in a network namespace, and processes are in it. */
#ifndef NAT_BRIDGE_OWNER_H
#define NAT_BRIDGE_OWNER_H

#include <sys/types.h>

#include "nat-bridge/netlink.h"

/* A port of a bridge, and a process in the network namespace at its other end. */
struct nb_owner {
	int bridge; /* index of the device; the port's own if it is of no bridge */
	int port;   /* index of the device; 0: not known */
	pid_t pid;  /* 0: none that this user may look at */
};

struct nb_owner_list {
	struct nb_owner *items; /* sorted by bridge, then by process */
	size_t count;
};

/*
 * Find a process behind some port of the bridge with index @bridge, the one with the lowest number;
 * with @pid not 0 the port behind which that process is. What cannot be found stays 0.
 * Returns 0 or -errno with @err filled.
 */
int nb_owner_find(struct nb_netlink *nl, int bridge, pid_t pid, struct nb_owner *ret,
		  struct nb_error *err);

/*
 * Everybody behind the ports of bridges: of each network namespace and bridge one port, and the
 * process with the lowest number. A namespace without processes that this user may look at has none.
 * Returns 0 or -errno with @err filled. Free with nb_owner_list_clear(), also after a failure.
 */
int nb_owner_find_all(struct nb_netlink *nl, struct nb_owner_list *ret, struct nb_error *err);
void nb_owner_list_clear(struct nb_owner_list *list);

#endif
