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

#define NETDEV_EGRESS 1 /* NF_NETDEV_EGRESS since Linux 5.16 */

/* One device, or several (Linux 5.5). */
static int add_devices(struct nb_chain *chain, const struct nftnl_chain *from)
{
	const char *one[] = { nftnl_chain_get_str(from, NFTNL_CHAIN_DEV), NULL };
	const char *const *names = nftnl_chain_get(from, NFTNL_CHAIN_DEVICES);
	size_t count = 0;

	if (!names)
		names = one;
	while (names[count])
		count++;
	if (!count)
		return 0;
	chain->devices = calloc(count, sizeof(*chain->devices));
	if (!chain->devices)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		snprintf(chain->devices[i], sizeof(chain->devices[i]), "%s", names[i]);
	chain->device_count = count;
	chain->egress = chain->family == NFPROTO_NETDEV && chain->hook == NETDEV_EGRESS;
	return 0;
}

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
	return add_devices(added, chain);
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

static int load(struct nb_netlink *nl, struct nb_chain *chain, struct nb_error *err)
{
	int r;

	if (chain->loaded)
		return 0;
	r = nb_foreign_dump_rules(nl, chain->family, chain->table, chain->name, append_rule, chain,
				  err);
	/* after half a dump it is a chain that nobody can read, and not a short one */
	chain->loaded = r == 0;
	return r;
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
			const char *name = nb_rule_target(chain->rules[i]);

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
