/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who lives behind a bridge's ports: a veth ends in a network namespace, and processes are in it. */
#ifndef NAT_BRIDGE_OWNER_H
#define NAT_BRIDGE_OWNER_H

#include <sys/types.h>

#include "nat-bridge/netlink.h"

/* A port of a bridge, and a process in the network namespace at its other end. */
struct nb_owner {
	int port;  /* index of the device; 0: not known */
	pid_t pid; /* 0: none that this user may look at */
};

/*
 * Find a process behind some port of the bridge with index @bridge, the one with the lowest number;
 * with @pid not 0 the port behind which that process is. What cannot be found stays 0.
 * Returns 0 or -errno with @err filled.
 */
int nb_owner_find(struct nb_netlink *nl, int bridge, pid_t pid, struct nb_owner *ret,
		  struct nb_error *err);

#endif
