/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other owners' tables.
 *
 * An accept in one base chain is not final for the next one of the same hook,
 * so every foreign input chain that can drop needs an opener of its own.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "foreign.h"
#include "opener.h"

#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER 0x2
#endif

static int remember(struct nb_foreign_name **list, size_t *count, uint8_t family, const char *table)
{
	struct nb_foreign_name *grown;

	for (size_t i = 0; i < *count; i++)
		if ((*list)[i].family == family && strcmp((*list)[i].table, table) == 0)
			return 0;
	grown = realloc(*list, (*count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	*list = grown;
	grown[*count].family = family;
	grown[*count].table = strdup(table);
	if (!grown[*count].table)
		return -ENOMEM;
	(*count)++;
	return 0;
}

int nb_foreign_table(struct nb_foreign *foreign, const struct nftnl_table *table)
{
	if (!(nftnl_table_get_u32(table, NFTNL_TABLE_FLAGS) & NFT_TABLE_F_OWNER))
		return 0;
	return remember(&foreign->owned, &foreign->owned_count,
			(uint8_t)nftnl_table_get_u32(table, NFTNL_TABLE_FAMILY),
			nftnl_table_get_str(table, NFTNL_TABLE_NAME));
}

static bool is_owned(const struct nb_foreign *foreign, uint8_t family, const char *table)
{
	for (size_t i = 0; i < foreign->owned_count; i++)
		if (foreign->owned[i].family == family &&
		    strcmp(foreign->owned[i].table, table) == 0)
			return true;
	return false;
}

/* Tables and chains that iptables-nft makes. Its rules must be readable for it. */
static bool is_iptables(uint8_t family, const char *table, const char *chain)
{
	static const char *const tables[] = { "filter", "mangle", "security", "nat", "raw" };

	if (family != NFPROTO_IPV4 || strcmp(chain, "INPUT") != 0)
		return false;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (strcmp(table, tables[i]) == 0)
			return true;
	return false;
}

int nb_foreign_chain(struct nb_foreign *foreign, const struct nftnl_chain *chain)
{
	uint8_t family = (uint8_t)nftnl_chain_get_u32(chain, NFTNL_CHAIN_FAMILY);
	const char *table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE);
	const char *name = nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME);
	struct nb_state *state = foreign->state;
	struct nb_input_chain *input;
	const char *type;
	uint32_t hook;

	if ((family != NFPROTO_INET && family != NFPROTO_IPV4) ||
	    !nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM))
		return 0;
	hook = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM);
	type = nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE);
	if (hook == NF_INET_PRE_ROUTING && strcmp(type, "nat") == 0)
		return remember(&foreign->nat, &foreign->nat_count, family, table);
	if (hook != NF_INET_LOCAL_IN)
		return 0;

	input = realloc(state->chains, (state->chain_count + 1) * sizeof(*input));
	if (!input)
		return -ENOMEM;
	state->chains = input;
	input = &input[state->chain_count];
	memset(input, 0, sizeof(*input));
	input->family = family;
	input->table = strdup(table);
	input->name = strdup(name);
	state->chain_count++;
	if (!input->table || !input->name)
		return -ENOMEM;
	input->owned = is_owned(foreign, family, table);
	input->iptables = is_iptables(family, table, name);
	input->can_drop = nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_DROP;
	return 0;
}

struct chain_reader {
	struct nb_input_chain *chain;
	uint32_t mark;
	bool policy_drops;
	bool dropper_seen; /* a rule that can drop stands before what comes now */
};

static int read_input_rule(const struct nlmsghdr *message, void *data)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct chain_reader *reader = data;
	struct nb_input_chain *chain = reader->chain;
	uint64_t handle, *extra;
	uint32_t mark;
	int r = 0;

	if (!rule)
		return -ENOMEM;
	if (nftnl_rule_nlmsg_parse(message, rule) < 0) {
		/* an expression that libnftnl does not know: it may do anything */
		reader->dropper_seen = chain->can_drop = true;
		goto out;
	}
	if (!nb_opener_recognise(rule, &mark)) {
		if (nb_rule_can_drop(rule))
			reader->dropper_seen = chain->can_drop = true;
		else if (nb_rule_diverts(rule, reader->policy_drops))
			reader->dropper_seen = true;
		goto out;
	}
	handle = nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE);
	if (mark == reader->mark && !chain->keep && !reader->dropper_seen) {
		chain->keep = handle;
		goto out;
	}
	extra = realloc(chain->extra, (chain->extra_count + 1) * sizeof(*extra));
	if (!extra) {
		r = -ENOMEM;
		goto out;
	}
	chain->extra = extra;
	chain->extra[chain->extra_count++] = handle;
out:
	nftnl_rule_free(rule);
	return r;
}

int nb_foreign_read(struct nb_foreign *foreign, bool with_dnat, struct nb_error *err)
{
	struct nb_state *state = foreign->state;
	int r;

	for (size_t i = 0; i < state->chain_count; i++) {
		struct chain_reader reader = {
			.chain = &state->chains[i],
			.mark = foreign->mark,
			.policy_drops = state->chains[i].can_drop,
		};

		r = nb_foreign_dump_rules(foreign->nl, state->chains[i].family,
					  state->chains[i].table, state->chains[i].name,
					  read_input_rule, &reader, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; with_dnat && i < foreign->nat_count; i++) {
		r = nb_foreign_read_dnat(foreign->nl, &foreign->nat[i], state, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void forget(struct nb_foreign_name *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i].table);
	free(list);
}

void nb_foreign_clear(struct nb_foreign *foreign)
{
	forget(foreign->owned, foreign->owned_count);
	forget(foreign->nat, foreign->nat_count);
	foreign->owned = foreign->nat = NULL;
	foreign->owned_count = foreign->nat_count = 0;
}
