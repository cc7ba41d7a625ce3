/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guard has dropped: counters of our table's rules, and of the devices' ingress. */
#ifndef NAT_BRIDGE_REFUSED_H
#define NAT_BRIDGE_REFUSED_H

#include "nat-bridge/link.h"

struct nb_refusal {
	char where[32];		     /* a chain of our table, or "ingress" */
	char bridge[NB_IFNAME_SIZE]; /* of the latter, else "" */
	uint64_t packets;
	uint64_t bytes;
	bool bytes_known;
};

struct nb_refused {
	struct nb_refusal *items;
	size_t count;
};

/*
 * Read all counters: one row a chain, and one a device that has our filter. No table: no rows.
 * 0, or -errno with @err filled. Free with nb_refused_clear().
 */
int nb_refused_read(struct nb_netlink *nl, struct nb_refused *ret, struct nb_error *err);
/* The row of the same place, or NULL. */
const struct nb_refusal *nb_refused_find(const struct nb_refused *refused,
					 const struct nb_refusal *place);
void nb_refused_clear(struct nb_refused *refused);

#endif
