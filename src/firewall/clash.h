/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Somebody who uses our bit of the packet mark. */
#ifndef NAT_BRIDGE_FIREWALL_CLASH_H
#define NAT_BRIDGE_FIREWALL_CLASH_H

#include "nat-bridge/firewall.h"
#include "walk.h"

/*
 * Find who uses a bit of @mark, by a rule of these chains or of policy routing, and append at most
 * one obstacle for all of them; and one for a rule that compares the whole mark and does something
 * else to packets of @paths, sorted by bridge, because they have ours. 0 or -ENOMEM.
 */
int nb_clash_find(struct nb_netlink *nl, struct nb_chain_list *chains, uint32_t mark,
		  const struct nb_flow_path *paths, size_t count, struct nb_obstacle_list *ret);

#endif
