/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose an address on a managed bridge is: the device, its network, the container. */
#ifndef NAT_BRIDGE_FLOW_ORIGIN_H
#define NAT_BRIDGE_FLOW_ORIGIN_H

#include "../watch/flow_table.h"
#include "cli.h"

/* The containers of one network, as its engine said. */
struct nb_directory {
	char bridge[NB_IFNAME_SIZE];
	struct nb_engine_endpoints endpoints;
	bool current; /* nothing has happened since that may change it */
	int64_t next; /* when the engine may be asked again, monotonic ms */
};

struct nb_origins {
	struct nb_run *run;
	bool known; /* the next one is what the kernel has */
	struct nb_bridge_list bridges;
	struct nb_directory *directories;
	size_t directory_count;
};

/* The bridges that carry mappings, as the kernel has them. Borrowed until it is asked again. */
const struct nb_bridge_list *nb_origins_bridges(struct nb_origins *origins);
/* Fill bridge and network of @origin, of which the address is known, as far as they can be found. */
void nb_origin_find(struct nb_origins *origins, struct nb_origin *origin);
/*
 * Find the container, if the origin is current and it is not known. Asks an engine for a fifth of
 * the time at most, so that many new addresses cost what one costs; then it stays unknown.
 */
void nb_origin_name(struct nb_origins *origins, struct nb_origin *origin);
/* A device or our table has changed: what is known of them is asked for again. */
void nb_origins_forget(struct nb_origins *origins);
void nb_origins_clear(struct nb_origins *origins);

#endif
