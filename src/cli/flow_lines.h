/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lines of a log, as docs/log.md has them: what is told of a flow, in which words. */
#ifndef NAT_BRIDGE_FLOW_LINES_H
#define NAT_BRIDGE_FLOW_LINES_H

#include "../watch/flow_table.h"
#include "../watch/sink.h"
#include "nat-bridge/refused.h"

/* Why a flow is over. */
enum nb_flow_reason {
	NB_FLOW_CLOSED,
	NB_FLOW_REFUSED,
	NB_FLOW_REVOKED,
	NB_FLOW_EXPIRED,
	NB_FLOW_IDLE,
	NB_FLOW_DELETED,
	NB_FLOW_UNKNOWN,
};

struct nb_flow_lines {
	struct nb_sink sink;
	char run_name[20]; /* of this process, before the numbers of its flows */
};

/* Each writes one line. What could not be written before is told as soon as it can be. */
void nb_flow_line_start(struct nb_flow_lines *lines, const struct nb_flow *flow);
/*
 * @event is "end", or "late", what comes behind it. @detail NULL: what was counted is not known.
 * flow->over (milliseconds since the epoch) is when; 0: now.
 */
void nb_flow_line_over(struct nb_flow_lines *lines, const char *event, const struct nb_flow *flow,
		       enum nb_flow_reason reason, const struct nb_conntrack_detail *detail);
/* Events were lost, for a reason that fits behind "why". */
void nb_flow_line_lost(struct nb_flow_lines *lines, const char *why);
/* @packets and @bytes of @row are new. */
void nb_flow_line_refused(struct nb_flow_lines *lines, const struct nb_refusal *row,
			  uint64_t packets, uint64_t bytes);
/* @event is "log-begin" or "log-end"; @flows live then. */
void nb_flow_line_frame(struct nb_flow_lines *lines, const char *event, size_t flows,
			bool accounting);

#endif
