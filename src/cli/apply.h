/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `apply` without its output: what the command and the watcher share. */
#ifndef NAT_BRIDGE_APPLY_H
#define NAT_BRIDGE_APPLY_H

#include "wanted.h"

struct nb_application {
	struct nb_wanted wanted;
	struct nb_mapping_list removed; /* live, and asked for by nothing any more, */
	struct nb_element_list were;	/* as the kernel had it; parallel */
	bool look_closely; /* an earlier apply's word is not enough; set by the caller */
	bool heed_flush;   /* what `flush` took out stays out; set by the caller */
	bool flushed;	   /* and that is so: nothing was done */
	bool read;  /* the kernel was read, and not only found to be what an earlier apply left */
	bool found; /* with a table of ours in it, at first */
	struct nb_outcome outcome;
	struct nb_report report; /* filled by nb_apply() but for the words */
	int status;		 /* enum nb_status, if it succeeded */
};

/*
 * Make the kernel what the rule files say. run->options decide how. @application is zeroed but
 * for what the caller sets. Returns 0 or -errno with run->error filled.
 */
int nb_apply(struct nb_run *run, struct nb_application *application);
void nb_application_clear(struct nb_application *application);

#endif
