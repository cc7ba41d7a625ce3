/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A state of the kernel and a wish, made by hand; and a plan as one line of text. */
#ifndef NAT_BRIDGE_WORLD_H
#define NAT_BRIDGE_WORLD_H

#include "nat-bridge/plan.h"

struct world {
	struct nb_state state;
	struct nb_desired desired;
	struct nb_plan plan;
	struct nb_warnings warnings;
	struct nb_error err;
	bool explain;
	char text[65536];
};

/* Zero-initialise a world, then say what is there ... */
void has_link(struct world *world, const char *name, int index, uint32_t route_localnet,
	      uint32_t tag);
void has_bridge(struct world *world, const char *name, const char *comment);
void has_target(struct world *world, const char *bridge, int protocol, unsigned int port,
		unsigned int target);
void has_accepted(struct world *world, const char *bridge, int protocol, unsigned int port,
		  unsigned int target);
/* Both of it. */
void has_mapping(struct world *world, const char *bridge, int protocol, unsigned int port,
		 unsigned int target);
/* The last element of @list. */
struct nb_element *last(struct nb_element_list *list);
struct nb_input_chain *has_chain(struct world *world, uint8_t family, const char *table,
				 const char *name, bool can_drop, uint64_t keep);
void has_extra(struct nb_input_chain *chain, uint64_t handle);
/* A sound table, a guarded and enabled bridge br0 (device 3) with 80/tcp and 53/udp. */
void has_usual(struct world *world);

/* ... and what is wanted. */
struct nb_mapping mapping_of(const char *network, int protocol, unsigned int port,
			     unsigned int target);
void wants(struct world *world, const char *bridge, const char *network, int protocol,
	   unsigned int port, unsigned int target);
void wants_usual(struct world *world);

/*
 * The plan as text, kept in the world until the next one is made:
 *   "close br0 0 0 | first +table +B:br0(iface:br0) +T:br0.tcp.80>81 +A:… +O:ip.filter.INPUT |
 *    enable br0 1 6e620000 | started 3:53 | ended 3:80 | restore br0 0 0 |
 *    second -B:br0 -O:ip.filter.INPUT#7 -table"
 * Sections without anything are left out; "" is a plan that does nothing.
 */
const char *planned(struct world *world);
const char *plan_text(const struct nb_plan *plan, char *buffer, size_t size);
/* All findings with @explain, "what [network]" each on a line of its own. */
const char *findings(struct world *world);
void world_clear(struct world *world);

#endif
