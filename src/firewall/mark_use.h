/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a rule of somebody's does with the packet's mark, and with the connection's. */
#ifndef NAT_BRIDGE_FIREWALL_MARK_USE_H
#define NAT_BRIDGE_FIREWALL_MARK_USE_H

#include "nat-bridge/netlink.h"
#include "walk.h"

/* Bits of marks, in host byte order. */
struct nb_mark_use {
	/* of the packet's mark */
	uint32_t tests;	   /* it asks for them: by a mask, or by a value that has them */
	uint32_t sets;	   /* it may set them */
	uint32_t clears;   /* it takes them away, and leaves others as they are */
	uint32_t restores; /* it gives them what the connection's mark has */
	/* of the connection's */
	uint32_t saves; /* bits of the packet's mark that it writes there */
	uint32_t holds; /* others that it writes there, or asks for there */
	bool asks_all;	/* it compares the whole mark, all bits that others set among it */
	bool acts;	/* it does more to a packet than to accept, drop, count or log it */
};

/*
 * Read @rule of @chain; sets and maps that it asks are read, too. All 0: it does nothing with marks
 * of IPv4 packets. A rule of IPv6 is such a one.
 */
void nb_mark_use_read(struct nb_netlink *nl, const struct nb_chain *chain,
		      const struct nftnl_rule *rule, struct nb_mark_use *ret);

#endif
