/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What networks of engines were when these were asked last: for who must not wait for an answer. */
#ifndef NAT_BRIDGE_RECALL_H
#define NAT_BRIDGE_RECALL_H

#include "nat-bridge/mapping.h"

/* One bridge of a network as mappings name it; of one without there is one, too. */
struct nb_recalled {
	struct nb_network network;
	char *except;		     /* that goes with a pattern, or NULL; owned */
	char bridge[NB_IFNAME_SIZE]; /* "": it has none */
	int ifindex;		     /* that the device had; 0: there was none */
};

struct nb_recall {
	struct nb_recalled *items;
	size_t count;
};

struct nb_resolution;

/*
 * Note what the mapping's network is, unless that is noted, or it is a device by its name. What no
 * engine said does not take the place of what one did: @before, which may be NULL. -ENOMEM.
 */
int nb_recall_note(struct nb_recall *recall, const struct nb_recall *before,
		   const struct nb_mapping *mapping, const struct nb_resolution *resolution);
/* Append a copy of @item. -ENOMEM. */
int nb_recall_append(struct nb_recall *recall, const struct nb_recalled *item);
bool nb_recalled_is_of(const struct nb_recalled *item, const struct nb_mapping *mapping);
void nb_recall_clear(struct nb_recall *recall);

#endif
