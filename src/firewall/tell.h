/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Obstacles in words; see nat-bridge/firewall.h. */
#ifndef NAT_BRIDGE_FIREWALL_TELL_H
#define NAT_BRIDGE_FIREWALL_TELL_H

#include "nat-bridge/firewall.h"
#include "walk.h"

/* Stretches of the way of a mapping's packets. */
enum nb_leg {
	NB_LEG_NONE,
	NB_LEG_ARRIVES,	   /* before it is translated */
	NB_LEG_TRANSLATED, /* before it is routed */
	NB_LEG_ENTERS,
	NB_LEG_ANSWERS,
	NB_LEG_LEAVES,	/* before it gets the address back that was dialled */
	NB_LEG_RETURNS, /* with that, to the bridge and over it */
	NB_LEG_COUNT,
};

/* "ip", "inet", "bridge", "netdev" */
const char *nb_family_name(uint8_t family);
/* "rule 7 of chain ip filter OUTPUT (text)". */
void nb_place_text(const struct nb_place *place, char *buffer, size_t size);
/* What lets these packets through at the head of @base; its own rules stay for all others. */
void nb_obstacle_cure(const struct nb_flow_path *path, enum nb_leg leg, const struct nb_chain *base,
		      uint32_t mark, char *buffer, size_t size);
/* Fill in where @obstacle is. */
void nb_obstacle_at(struct nb_obstacle *obstacle, const struct nb_place *place);
int nb_obstacle_append(struct nb_obstacle_list *list, const struct nb_obstacle *obstacle);

#endif
