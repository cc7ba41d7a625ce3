/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way of a mapping's packets, and of their answers: through all base chains of others, in the
 * order in which the kernel calls them.
 */
#ifndef NAT_BRIDGE_FIREWALL_WAY_H
#define NAT_BRIDGE_FIREWALL_WAY_H

#include "../ruleset/foreign.h"
#include "nat-bridge/firewall.h"
#include "nat-bridge/route.h"
#include "sets.h"
#include "tell.h"
#include "walk.h"

/* One by one, where anything may concern them: 10,000 rules of others are then 2 s. */
#define NB_WAY_MOST_WALKED 2000
/* The priority of our chain `spoofed`, which sets our mark. */
#define NB_STAMPS_AT (NF_IP_PRI_NAT_DST + 1)

struct nb_way {
	struct nb_netlink *nl;
	uint32_t mark;
	struct nb_chain_list chains;
	struct nb_set_reader sets; /* of their tables, for walks */
	struct nb_foreign_name *owned;
	size_t owned_count;
	struct nb_foreign_name *dormant;
	size_t dormant_count;
	const struct nb_chain **sorted;	 /* base chains, in the order of the way */
	size_t sorted_count, link_count; /* all; those before IPv4's */
	/* of the bridge that is looked at */
	bool bridge_nf; /* IPv4 hooks see its packets before its own later chains do */
	bool filtered;	/* and behind those our filter at its ingress asks for our mark */
	struct nb_prefix network;
};

/*
 * Read everybody's chains; @way has a socket and our mark, and is zeroed beside. Call
 * nb_way_clear(), also after a failure. 0 or a negative errno (-EAGAIN: they changed meanwhile).
 */
int nb_way_read(struct nb_way *way, struct nb_error *err);
void nb_way_clear(struct nb_way *way);
/* Read that setting of the path's bridge, or the one of all bridges, and whether our filter is there. */
void nb_way_read_bridge_nf(struct nb_way *way, const struct nb_flow_path *path);

/*
 * Number @n of the chains that are met in a leg, as an index of way->sorted. IPv4's come last, but
 * first on the way out, and where they have been run by the bridge's hook (bridge-nf-call-iptables).
 */
size_t nb_way_nth(const struct nb_way *way, enum nb_leg leg, size_t n);
/* On which stretch does this chain see packets of the mapping? */
enum nb_leg nb_way_leg(const struct nb_way *way, const struct nb_chain *chain,
		       const struct nb_flow_path *path);
/* Set what the marks are at the beginning of a stretch. */
void nb_way_enter(const struct nb_way *way, enum nb_leg leg, struct nb_marks *carried);
/* Is one of our own chains, which sets our mark, before that one in this leg? */
bool nb_way_is_behind_ours(enum nb_leg leg, const struct nb_chain *chain);
/* One chain of the way; the marks are what they were behind the chain before. */
void nb_way_walk(struct nb_walk *walk, struct nb_way *way, const struct nb_flow_path *path,
		 enum nb_leg leg, const struct nb_chain *chain);
/* Is an answer of these packets looked for where it is expected not to be? */
bool nb_zones_differ(const struct nb_zone *requests, const struct nb_zone *answers);

#endif
