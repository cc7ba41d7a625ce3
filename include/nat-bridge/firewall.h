/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other owners' firewalls: what keeps a mapping from working where no opener of ours can
 * help. Nothing is changed; this is read to be told.
 */
#ifndef NAT_BRIDGE_FIREWALL_H
#define NAT_BRIDGE_FIREWALL_H

#include "nat-bridge/link.h"
#include "nat-bridge/netlink.h"

/* The packets of one mapping on one bridge. Sorted by bridge, many are looked at quickly. */
struct nb_flow_path {
	char bridge[NB_IFNAME_SIZE];
	int index; /* of the bridge; 0 = not known */
	uint8_t protocol;
	uint16_t port; /* that the container dials */
	struct nb_target target;
};

/*
 * Warn of every rule that drops these packets or their answers for certain, hides them from
 * connection tracking, or takes our mark away before a chain that needs it; of rules that use
 * the bit of the mark; of a reverse path filter that refuses the bridge's own addresses. Each
 * with family, table, chain, handle, text, and the command that mends it. What cannot be read
 * is left out. Returns 0 or -ENOMEM.
 */
int nb_firewall_advise(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		       size_t count, struct nb_warnings *warnings, struct nb_error *err);

#endif
