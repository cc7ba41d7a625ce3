/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of a trace: the tables that make the kernel tell (trace_table.c), and what it tells. */
#ifndef NAT_BRIDGE_PROBE_TRACE_H
#define NAT_BRIDGE_PROBE_TRACE_H

#include "nat-bridge/trace.h"

#define NB_TRACE_IDS 4096 /* that are kept */

enum nb_trace_direction { NB_REQUESTS, NB_ANSWERS };

/* A chain of ours, and how far a packet is that comes there. */
struct nb_stage_chain {
	const char *name;
	enum nb_trace_stage stage;
	uint32_t hook;
	int32_t priority;
	enum nb_trace_direction direction;
	uint8_t family;
	bool starts; /* the trace of requests, or of answers */
};

extern const struct nb_stage_chain nb_stage_chains[];
extern const size_t nb_stage_chain_count;

/* A trace id, and whose it is. */
struct nb_trace_id {
	uint32_t id;
	uint32_t flow; /* index */
	enum nb_trace_direction direction;
};

struct nb_trace {
	struct nb_netlink *nl; /* its socket owns the tables */
	struct mnl_socket *events;
	char table[32];
	const char *bridge;
	struct nb_trace_flow *flows;
	size_t count;
	struct nb_trace_rule *accepted;	   /* for each flow the last rule that let it go */
	enum nb_trace_stage (*reached)[2]; /* by request and answer */
	struct nb_trace_id *ids;
	size_t id_count;
	bool complete;
};

/*
 * Make the tables of @family: inet, bridge, or netdev for the bridge and its ports. 0 or -errno,
 * with @err filled.
 */
int nb_trace_make_table(struct nb_trace *trace, uint8_t family, const struct nb_link_list *links,
			struct nb_error *err);
/* Take one message of the kernel in. */
void nb_trace_read(struct nb_trace *trace, const struct nlmsghdr *header);

#endif
