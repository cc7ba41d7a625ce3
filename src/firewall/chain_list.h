/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chains of others, with their rules. */
#ifndef NAT_BRIDGE_FIREWALL_CHAIN_LIST_H
#define NAT_BRIDGE_FIREWALL_CHAIN_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>

#include "nat-bridge/link.h"

/* A chain of somebody's, a base chain or one that is jumped to. */
struct nb_chain {
	uint8_t family;
	char *table;
	char *name;
	bool base;
	bool dormant; /* its table is switched off: it sees nothing */
	bool owned;   /* its table belongs to a process: nobody else may change it */
	bool legacy;  /* of iptables-legacy, which nf_tables knows nothing of */
	bool policy_drops;
	uint32_t hook;
	int32_t priority;
	char type[8];			 /* "filter", "nat", "route" */
	char (*devices)[NB_IFNAME_SIZE]; /* whose ingress, or egress, it is */
	size_t device_count;
	bool egress;
	bool loaded, waits;	   /* its rules have been read; will be */
	struct nftnl_rule **rules; /* NULL in it: one that libnftnl cannot read */
	size_t count;
	size_t capacity;
};

/* Chains by family, table and name. */
struct nb_chain_list {
	struct nb_chain *items;
	size_t count;
	size_t capacity;
};

/* The chain to which rules of @from jump by that name, or NULL. */
const struct nb_chain *nb_chain_find(const struct nb_chain_list *list, const struct nb_chain *from,
				     const char *name);
/* The name by which @rule jumps or goes to a chain, which is the rule's; NULL: it does not, or is NULL. */
const char *nb_rule_target(struct nftnl_rule *rule);
bool nb_chain_has_device(const struct nb_chain *chain, const char *device);
/* Append an empty chain with copies of these names; NULL: no memory. */
struct nb_chain *nb_chain_list_add(struct nb_chain_list *list, uint8_t family, const char *table,
				   const char *name);
/* Takes @rule (NULL: unreadable), also when it fails with -ENOMEM. */
int nb_chain_append(struct nb_chain *chain, struct nftnl_rule *rule);
void nb_chain_list_clear(struct nb_chain_list *list);

#endif
