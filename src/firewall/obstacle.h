/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What keeps the packets of mappings, found in what was read of everybody's chains. */
#ifndef NAT_BRIDGE_FIREWALL_OBSTACLE_H
#define NAT_BRIDGE_FIREWALL_OBSTACLE_H

#include "way.h"

/*
 * nb_firewall_find() in chains that nb_way_read() has read: append what is found to @ret;
 * @briefly: as many as are warned of, and what one command mends once. 0 or a negative errno, as the kernel gave it where a set or a policy rule could not be read.
 */
int nb_obstacles_find(struct nb_way *way, const struct nb_flow_path *paths, size_t count,
		      bool briefly, struct nb_obstacle_list *ret);

#endif
