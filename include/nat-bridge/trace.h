/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How far packets of our own probes come, and which rule of nf_tables ends them: nftrace of
 * exactly these flows.
 *
 * What nf_tables does not do leaves no trace. So chains of ours stand first and last in every
 * hook; between which two of them a packet vanished says who took it.
 */
#ifndef NAT_BRIDGE_TRACE_H
#define NAT_BRIDGE_TRACE_H

#include "nat-bridge/link.h"
#include "nat-bridge/netlink.h"

/* How far it came: the last of these that was seen. */
enum nb_trace_stage {
	NB_STAGE_NONE,	     /* nothing of it was seen */
	NB_STAGE_PORT,	     /* at the ingress of a bridge's port, or in the bridge's own hooks */
	NB_STAGE_UP,	     /* the last of these hooks let it up to the host */
	NB_STAGE_ARRIVED,    /* first in prerouting */
	NB_STAGE_TRANSLATED, /* in prerouting, behind the priority at which we translate */
	NB_STAGE_PREROUTED,  /* last in prerouting: routing comes next */
	NB_STAGE_FORWARDED,  /* routed to somebody else */
	NB_STAGE_ENTERED,    /* first in input */
	NB_STAGE_DELIVERED,  /* last in input: the socket comes next */
	NB_STAGE_ANSWERED,   /* the host answered: first in output */
	NB_STAGE_REROUTED,   /* last in output */
	NB_STAGE_POSTROUTED, /* last in postrouting: the answer goes to the bridge */
};

/* A rule or policy. */
struct nb_trace_rule {
	uint8_t family; /* NFPROTO_*; 0: there is none */
	char table[128], chain[128];
	uint64_t handle; /* 0: the chain's policy */
	bool answer;	 /* it is the answer that met it */
	bool queued;	 /* it hands the packet to a program, from which it did not come back */
};

struct nb_trace_flow {
	uint8_t protocol;
	uint16_t source_port; /* of the probe; host byte order, as all here */
	/* results */
	enum nb_trace_stage stage;
	bool on_bridge; /* it was seen at the bridge's own ingress */
	struct nb_trace_rule drop;
	struct nb_trace_rule
		translated; /* the rule of somebody else that gave it another destination */
	uint32_t dialled;   /* its first destination; 0: not seen */
	uint16_t dialled_port;
	uint32_t
		address; /* to which it was going when it was translated, or behind where we do; else 0 */
	uint16_t port;
	uint32_t source;      /* of the probe; 0: not seen */
	uint32_t answer_mark; /* that an answer had when it was seen last */
	bool rejected;	      /* somebody answered in the host's name before it came to a socket */
};

struct nb_trace;

/*
 * Trace packets that come through @bridge from the ports of @flows, and the answers to them. The
 * tables that do it belong to this process: they are gone when it ends, however it ends. Returns
 * 0 or -errno with @err filled. @flows is borrowed until nb_trace_end().
 */
int nb_trace_begin(const struct nb_link_list *links, const char *bridge,
		   struct nb_trace_flow *flows, size_t count, struct nb_trace **ret,
		   struct nb_error *err);
/*
 * The probes have been sent: read what the kernel told, fill the results, and take the tables
 * away. False: the kernel told more than could be kept, and the results may lack something.
 */
bool nb_trace_end(struct nb_trace *trace);

#endif
