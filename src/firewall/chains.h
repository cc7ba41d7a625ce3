/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Other owners' chains and rules, read from the kernel. */
#ifndef NAT_BRIDGE_FIREWALL_CHAINS_H
#define NAT_BRIDGE_FIREWALL_CHAINS_H

#include "nat-bridge/netlink.h"
#include "walk.h"

/* Remember a chain of a dump, without its rules. */
int nb_chains_add(struct nb_chain_list *list, const struct nftnl_chain *chain, bool owned);

/*
 * Read the rules of chain number @index and of all that it jumps to, once each. So a firewall
 * of many thousand rules elsewhere costs nothing. -EAGAIN: it is gone; ask for everything again.
 */
int nb_chains_load(struct nb_netlink *nl, struct nb_chain_list *list, size_t index,
		   struct nb_error *err);

#endif
