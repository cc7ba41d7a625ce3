/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Other owners' chains and rules, read from the kernel. */
#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnftnl/expr.h>

#include "../ruleset/foreign.h"
#include "chains.h"

int nb_chains_add(struct nb_chain_list *list, const struct nftnl_chain *chain, bool owned)
{
	struct nb_chain *added = nb_chain_list_add(
		list, (uint8_t)nftnl_chain_get_u32(chain, NFTNL_CHAIN_FAMILY),
		nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE),
		nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME));
	const char *text;

	if (!added)
		return -ENOMEM;
	added->owned = owned;
	added->base = nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM);
	if (!added->base)
		return 0;
	added->hook = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM);
	added->priority = nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO);
	added->policy_drops = nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_DROP;
	text = nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE);
	if (text && strlen(text) < sizeof(added->type))
		strcpy(added->type, text);
	text = nftnl_chain_get_str(chain, NFTNL_CHAIN_DEV);
	if (text && strlen(text) < sizeof(added->device))
		strcpy(added->device, text);
	return 0;
}

static int append_rule(const struct nlmsghdr *message, void *data)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	if (!rule)
		return -ENOMEM;
	if (nftnl_rule_nlmsg_parse(message, rule) < 0) {
		/* an expression that libnftnl does not know */
		nftnl_rule_free(rule);
		rule = NULL;
	}
	return nb_chain_append(data, rule);
}

static int take_target(struct nftnl_expr *expr, void *data)
{
	if (strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "immediate") == 0 &&
	    nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_CHAIN))
		*(const char **)data = nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN);
	return 0;
}

static int load(struct nb_netlink *nl, struct nb_chain *chain, struct nb_error *err)
{
	if (chain->loaded)
		return 0;
	chain->loaded = true;
	return nb_foreign_dump_rules(nl, chain->family, chain->table, chain->name, append_rule,
				     chain, err);
}

int nb_chains_load(struct nb_netlink *nl, struct nb_chain_list *list, size_t index,
		   struct nb_error *err)
{
	size_t *waiting = malloc((list->count + 1) * sizeof(*waiting));
	size_t count = 0;
	int r = 0;

	if (!waiting)
		return -ENOMEM;
	if (!list->items[index].loaded)
		waiting[count++] = index;
	while (r == 0 && count) {
		struct nb_chain *chain = &list->items[waiting[--count]];

		r = load(nl, chain, err);
		for (size_t i = 0; r == 0 && i < chain->count; i++) {
			const struct nb_chain *target = NULL;
			const char *name = NULL;

			if (!chain->rules[i])
				continue;
			nftnl_expr_foreach(chain->rules[i], take_target, &name);
			if (name)
				target = nb_chain_find(list, chain, name);
			if (!target || target->loaded || target->waits)
				continue;
			list->items[target - list->items].waits = true;
			waiting[count++] = (size_t)(target - list->items);
		}
	}
	free(waiting);
	return r;
}
