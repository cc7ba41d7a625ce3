/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All marks that a set has, as the bits of them. Of other sets one member is asked for: sets.h. */
#ifndef NAT_BRIDGE_FIREWALL_MARK_SETS_H
#define NAT_BRIDGE_FIREWALL_MARK_SETS_H

#include "nat-bridge/netlink.h"
#include "walk.h"

/* Bits that some number from @low to @high has; none for "any" and for "any but 0". */
uint32_t nb_range_bits(uint32_t low, uint32_t high);
/*
 * Bits that some key of a set has in the 32 bits at @offset, in host byte order; @turned: they
 * are in network byte order there, as in a set with intervals. 0 for what cannot be read.
 */
uint32_t nb_set_key_bits(struct nb_netlink *nl, const struct nb_chain *chain, const char *set,
			 size_t offset, bool turned);
/* The same of a map's values, at their beginning. */
uint32_t nb_set_value_bits(struct nb_netlink *nl, const struct nb_chain *chain, const char *map);

#endif
