/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `list` and `status` look at: everything that is stored, as far as this user may see it. */
#ifndef NAT_BRIDGE_VIEW_H
#define NAT_BRIDGE_VIEW_H

#include "cli.h"

struct nb_view {
	bool visible;		   /* the ruleset may be read */
	bool hidden;		   /* the rule files may not */
	bool goes_on;		   /* set by the caller: without the rule files' directory, too, */
	bool unread;		   /* which could not be read: run->error says why */
	bool requires_network;	   /* set by the caller: a NETWORK without mappings is a failure */
	const char *about;	   /* set by the caller, or the NETWORK: only its engine matters */
	struct nb_state state;	   /* ... and is here */
	struct nb_link_list links; /* use nb_view_links() */
	struct nb_inventory inventory;
	/* not OK: run->error says why, beside what could be seen */
	enum nb_status result;
};

/* Check the words, and nb_run_prepare(). Fills run->error on failure. */
int nb_view_prepare(struct nb_run *run);
/*
 * Read everything, or with a NETWORK as the command's word what is stored under that name; what
 * this user may not see is left out, with a warning. Fills run->error on failure. @ret is
 * to be zeroed; clear it also then.
 */
int nb_view_read(struct nb_run *run, struct nb_view *ret);
const struct nb_link_list *nb_view_links(const struct nb_view *view);
/* counts[i] = live flows of the inventory's item i, from one dump; what cannot be known stays. */
void nb_view_count_flows(struct nb_run *run, const struct nb_view *view, uint64_t *counts);
/* The row of the inventory's item @i. */
struct nb_row nb_view_row(const struct nb_run *run, const struct nb_view *view, size_t i,
			  uint64_t connections);
void nb_view_clear(struct nb_view *view);

#endif
