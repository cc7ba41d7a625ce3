/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other owners' firewalls: what keeps a mapping from working where no opener of ours can
 * help. Nothing is changed; this is read to be told.
 */
#ifndef NAT_BRIDGE_FIREWALL_H
#define NAT_BRIDGE_FIREWALL_H

#include "nat-bridge/link.h"
#include "nat-bridge/netlink.h"

/* The packets of one mapping on one bridge. Sorted by bridge, many are looked at quickly. */
struct nb_flow_path {
	char bridge[NB_IFNAME_SIZE];
	int index; /* of the bridge; 0 = not known */
	uint8_t protocol;
	uint16_t port; /* that the container dials */
	struct nb_target target;
};

/*
 * Warn of every rule that drops these packets or their answers for certain, hides them from
 * connection tracking, or takes our mark away before a chain that needs it; of rules that use
 * the bit of the mark; of a reverse path filter that refuses the bridge's own addresses. Each
 * with family, table, chain, handle, text, and the command that mends it. What cannot be read
 * is left out. Returns 0 or -ENOMEM.
 */
int nb_firewall_advise(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		       size_t count, struct nb_warnings *warnings, struct nb_error *err);

/* What a chain does to these packets, from good to bad. */
enum nb_passage {
	NB_PASSES_UNSEEN, /* they do not come there */
	NB_PASSES,
	NB_PASSES_PERHAPS, /* it may drop some, or nobody knows */
	NB_PASSES_NOT,	   /* those of some mapping it drops, or hides from connection tracking */
};

/* A base chain of somebody else on the way of mappings' packets or of their answers. */
struct nb_firewall_chain {
	const char *family; /* "ip", "inet", "bridge", "netdev" */
	char *table, *chain;
	const char *hook; /* "ingress", "prerouting", "input", "output", "postrouting" */
	int32_t priority;
	bool legacy;	  /* of iptables-legacy */
	bool owned;	  /* its table belongs to a process: nobody else may change it */
	bool opener;	  /* our accept rule is in it */
	char program[64]; /* who most likely made it, by its names; "" = they do not say */
	enum nb_passage passage;
};

struct nb_firewall_list {
	struct nb_firewall_chain *items; /* by priority */
	size_t count;
};

/*
 * Which chains are there, and does each let the packets through, as the rules are now? @paths
 * as for nb_firewall_advise(). Returns 0 or a negative errno (-EAGAIN: they changed meanwhile, ask
 * again). @ret is zeroed first; free with nb_firewall_list_clear(), also after a failure.
 */
int nb_firewall_overview(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
			 size_t count, struct nb_firewall_list *ret);
void nb_firewall_list_clear(struct nb_firewall_list *list);

#endif
