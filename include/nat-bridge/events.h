/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel tells of changes: nf_tables' commits, devices, and filters at their ingress.
 */
#ifndef NAT_BRIDGE_EVENTS_H
#define NAT_BRIDGE_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "nat-bridge/link.h"

enum nb_event {
	NB_EVENT_RULESET =
		1 << 0, /* a commit that may concern us: not one of others' elements alone */
	NB_EVENT_DEVICES = 1 << 1, /* a device */
	NB_EVENT_FILTERS = 1 << 4, /* a filter at one, or its qdisc */
	NB_EVENT_LOST = 1 << 2,	   /* some were lost: anything may have happened */
	NB_EVENT_REMOVED = 1 << 3, /* our table was removed, and not by nat-bridge */
	NB_EVENT_DAMAGED = 1 << 5, /* or anything in it changed */
};

struct nb_event_report {
	unsigned int what;
	/* generations of commits */
	uint32_t generation; /* the last one, with NB_EVENT_RULESET */
	uint32_t touched;    /* the last one in which a nat-bridge changed our table; 0: not seen */
	uint32_t removed;    /* the one in which it was removed, with NB_EVENT_REMOVED, */
	uint32_t before;     /* and the last of a nat-bridge before that */
	char program[32];    /* who made the last one, or "" */
	bool own;	     /* a nat-bridge, as far as its name says */
};

struct nb_events;

/* NULL with @err filled: no memory, no right, no nf_tables. */
struct nb_events *nb_events_open(struct nb_error *err);
void nb_events_close(struct nb_events *events);
/* Two descriptors to poll for input. */
void nb_events_descriptors(const struct nb_events *events, int *ret_ruleset, int *ret_devices);
/* Read all that is there, without waiting. */
void nb_events_read(struct nb_events *events, struct nb_event_report *ret);
/*
 * Whoever changes devices hears of it, too. From the first call on it is kept what devices became;
 * the second one says whether that is what @changes made of them, and nothing else.
 */
void nb_events_listen_devices(struct nb_events *events);
bool nb_events_devices_are(const struct nb_events *events, const struct nb_device_changes *changes);

#endif
