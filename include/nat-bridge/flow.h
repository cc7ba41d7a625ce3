/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live flows of mappings: conntrack entries, and the sockets of the service
 * at their end. Everything here works on one network namespace: the caller's.
 */
#ifndef NAT_BRIDGE_FLOW_H
#define NAT_BRIDGE_FLOW_H

#include "nat-bridge/mapping.h"
#include "nat-bridge/netlink.h"

/* Which flows: those that bridge @ifindex got translated by one mapping. */
struct nb_flow_match {
	int ifindex;
	uint8_t protocol; /* 0, for nb_flow_end() alone: whatever leads to 127.0.0.0/8 from there */
	uint16_t port;	  /* dialled: the original destination port */
	struct nb_target target;
};

struct nb_flow_result {
	size_t flows;	/* conntrack entries deleted */
	size_t sockets; /* sockets destroyed */
};

/*
 * End exactly the flows of the @count matches: first the service's connected
 * sockets (SOCK_DESTROY by the cookie that a dump showed, so that the peer gets a
 * reset through the NAT that still stands), then the conntrack entries.
 * The listener, an unconnected UDP socket and every other mapping's flows are
 * never touched; where @matches mean all of a bridge, those of the @kept stay.
 * A kernel without SOCK_DESTROY is a warning, not a failure.
 */
int nb_flow_end(struct nb_netlink *nl, const struct nb_flow_match *matches, size_t count,
		const struct nb_flow_match *kept, size_t kept_count, struct nb_flow_result *ret,
		struct nb_warnings *warnings, struct nb_error *err);

/*
 * Forget UDP flows that started before their mapping: entries of that dialled
 * port and bridge that no NAT translated. Only @ifindex, @port are read, and
 * only matches with protocol UDP count. Returns the number deleted, or -errno.
 */
int nb_flow_free_untranslated(struct nb_netlink *nl, const struct nb_flow_match *matches,
			      size_t count, struct nb_error *err);

/* counts[i] = live flows of matches[i]. One dump, whatever @count is. */
int nb_flow_count(struct nb_netlink *nl, const struct nb_flow_match *matches, size_t count,
		  uint64_t *counts, struct nb_error *err);

#endif
