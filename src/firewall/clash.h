/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Somebody who uses our bit of the packet mark. */
#ifndef NAT_BRIDGE_FIREWALL_CLASH_H
#define NAT_BRIDGE_FIREWALL_CLASH_H

#include "nat-bridge/firewall.h"
#include "walk.h"

/* Find the first rule that sets a bit of @mark, or asks for it and not for the whole mark. */
int nb_clash_find(const struct nb_chain_list *chains, uint32_t mark, struct nb_obstacle_list *ret);

#endif
