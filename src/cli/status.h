/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole picture, as `status` gathers it and shows it in three forms. */
#ifndef NAT_BRIDGE_STATUS_H
#define NAT_BRIDGE_STATUS_H

#include "nat-bridge/firewall.h"
#include "nat-bridge/host.h"
#include "view.h"

/* Who takes the packets of a mapping? */
enum nb_serving {
	NB_SERVES_UNKNOWN,
	NB_SERVES_YES,
	NB_SERVES_NOTHING,
	NB_SERVES_ELSEWHERE, /* something listens on that port, on other addresses only */
	NB_SERVES_DEVICE,    /* it is bound to a device, and refuses what comes from a bridge */
};

enum nb_guard {
	NB_GUARD_UNKNOWN,
	NB_GUARD_COMPLETE,
	NB_GUARD_NFTABLES, /* the filter at the bridge's ingress is missing */
	NB_GUARD_INGRESS,  /* our table is missing */
	NB_GUARD_MISSING,
};

struct nb_rate {
	bool known;
	double packets, bytes; /* a second */
};

struct nb_status_mapping {
	struct nb_row row;
	struct nb_listener_list listeners; /* on the target's port; a part of the picture's */
	enum nb_serving serving;
	/* one that listens on every address, so is reachable without a mapping, too; or NULL */
	const struct nb_listener *open;
	uint64_t connections; /* since the mapping was made, if row.counted */
	struct nb_rate rate;
};

/* A network with mappings, on one bridge. */
struct nb_status_network {
	const struct nb_network *network;
	const struct nb_link *link;	  /* NULL: there is no bridge now */
	struct nb_network engine_network; /* what an engine calls it; IFACE: no engine's */
	struct nb_engine_endpoints containers;
	enum nb_guard guard;
	size_t first, count; /* its mappings */
};

struct nb_picture {
	struct nb_view view;
	const struct nb_element_list *before; /* a second ago; NULL: nobody asked */
	double elapsed;			      /* seconds since */
	struct nb_status_mapping *mappings;   /* as the view's inventory */
	size_t mapping_count;
	struct nb_status_network *networks;
	size_t network_count;
	struct nb_host_listeners listeners;
	struct nb_holder *holders;
	size_t holder_count;
	struct nb_firewall_list firewalls;
	bool firewalls_known;
	struct nb_findings drift;
	bool drift_known;
};

/* The process that holds the listener, or NULL: it is not known. */
const struct nb_holder *nb_status_holder(const struct nb_picture *picture,
					 const struct nb_listener *listener);
/* The name of the device it is bound to, or NULL. */
const char *nb_status_device(const struct nb_picture *picture, const struct nb_listener *listener);
/* Words that programs get: "yes", "nothing", ...; NULL: not known. */
const char *nb_serving_name(enum nb_serving serving);
const char *nb_guard_name(enum nb_guard guard);

/* Print it. The warnings are run->warnings. */
int nb_status_print_screen(struct nb_run *run, const struct nb_picture *picture);
void nb_status_print_json(struct nb_run *run, const struct nb_picture *picture);
void nb_status_print_metrics(struct nb_run *run, const struct nb_picture *picture);

#endif
