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

#include "../firewall/chains.h"
#include "foreign.h"
#include "opener.h"

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

int nb_foreign_remember(struct nb_foreign_name **list, size_t *count,
			const struct nftnl_table *table, uint32_t flag)
{
	if (!(nftnl_table_get_u32(table, NFTNL_TABLE_FLAGS) & flag))
		return 0;
	return remember(list, count, (uint8_t)nftnl_table_get_u32(table, NFTNL_TABLE_FAMILY),
			nftnl_table_get_str(table, NFTNL_TABLE_NAME));
}

bool nb_foreign_is_in(const struct nb_foreign_name *list, size_t count, uint8_t family,
		      const char *table)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].family == family && strcmp(list[i].table, table) == 0)
			return true;
	return false;
}

bool nb_foreign_is_iptables(uint8_t family, const char *table)
{
	static const char *const tables[] = { "filter", "mangle", "security", "nat", "raw" };

	for (size_t i = 0; family == NFPROTO_IPV4 && i < sizeof(tables) / sizeof(tables[0]); i++)
		if (strcmp(table, tables[i]) == 0)
			return true;
	return false;
}

int nb_foreign_table(struct nb_foreign *foreign, const struct nftnl_table *table)
{
	int r = nb_foreign_remember(&foreign->owned, &foreign->owned_count, table,
				    NFT_TABLE_F_OWNER);

	return r < 0 ? r
		     : nb_foreign_remember(&foreign->dormant, &foreign->dormant_count, table,
					   NFT_TABLE_F_DORMANT);
}

int nb_foreign_chain(struct nb_foreign *foreign, const struct nftnl_chain *chain)
{
	uint8_t family = (uint8_t)nftnl_chain_get_u32(chain, NFTNL_CHAIN_FAMILY);
	const char *table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE);
	const char *name = nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME);
	bool owned = nb_foreign_is_in(foreign->owned, foreign->owned_count, family, table);
	bool dormant = nb_foreign_is_in(foreign->dormant, foreign->dormant_count, family, table);
	struct nb_state *state = foreign->state;
	struct nb_input_chain *input;
	struct nb_chain *added;
	int r;

	if (family != NFPROTO_INET && family != NFPROTO_IPV4)
		return 0;
	r = nb_chains_add(&foreign->chains, chain, owned);
	if (r < 0)
		return r;
	added = &foreign->chains.items[foreign->chains.count - 1];
	added->dormant = dormant;
	if (!added->base)
		return 0;
	if (added->hook == NF_INET_PRE_ROUTING && strcmp(added->type, "nat") == 0)
		return dormant ? 0 : remember(&foreign->nat, &foreign->nat_count, family, table);
	if (added->hook != NF_INET_LOCAL_IN)
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
	input->owned = owned;
	input->iptables = nb_foreign_is_iptables(family, table) && strcmp(name, "INPUT") == 0;
	return 0;
}

static bool is_opener(const struct nftnl_rule *rule)
{
	uint32_t mark;

	return nb_opener_recognise(rule, &mark);
}

/* What we admit, of whatever mapping, on its way into a chain of somebody's. */
static void begin(struct nb_walk *walk, const struct nb_foreign *foreign, uint8_t family)
{
	*walk = (struct nb_walk){ .chains = &foreign->chains, .skip = is_opener };
	nb_packet_admitted(&walk->packet, family, foreign->mark);
}

/* Does an opener at that place see all that comes, with the mark? */
static bool is_in_place(const struct nb_foreign *foreign, const struct nb_chain *chain,
			size_t position)
{
	struct nb_walk walk;

	begin(&walk, foreign, chain->family);
	nb_walk_chain(&walk, chain, position);
	return !(walk.outcomes & NB_OUTCOME_DROP) &&
	       (walk.packet.mark & walk.packet.mark_known & foreign->mark) == foreign->mark;
}

static int judge(const struct nb_foreign *foreign, const struct nb_chain *chain,
		 struct nb_input_chain *input)
{
	struct nb_walk walk;

	begin(&walk, foreign, chain->family);
	nb_walk_chain(&walk, chain, chain->count);
	input->can_drop = !chain->dormant && walk.outcomes & NB_OUTCOME_DROP;
	for (size_t i = 0; i < chain->count; i++) {
		uint64_t handle, *extra;
		uint32_t mark;

		if (!chain->rules[i] || !nb_opener_recognise(chain->rules[i], &mark))
			continue;
		handle = nftnl_rule_get_u64(chain->rules[i], NFTNL_RULE_HANDLE);
		if (mark == foreign->mark && !input->keep && is_in_place(foreign, chain, i)) {
			input->keep = handle;
			continue;
		}
		extra = realloc(input->extra, (input->extra_count + 1) * sizeof(*extra));
		if (!extra)
			return -ENOMEM;
		input->extra = extra;
		input->extra[input->extra_count++] = handle;
	}
	return 0;
}

int nb_foreign_read(struct nb_foreign *foreign, bool with_dnat, struct nb_error *err)
{
	struct nb_state *state = foreign->state;
	size_t input = 0;
	int r;

	for (size_t i = 0; i < foreign->chains.count; i++) {
		const struct nb_chain *chain = &foreign->chains.items[i];

		if (!chain->base || chain->hook != NF_INET_LOCAL_IN)
			continue;
		r = nb_chains_load(foreign->nl, &foreign->chains, i, err);
		if (r == 0)
			r = judge(foreign, chain, &state->chains[input++]);
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

void nb_foreign_forget(struct nb_foreign_name *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i].table);
	free(list);
}

void nb_foreign_clear(struct nb_foreign *foreign)
{
	nb_foreign_forget(foreign->owned, foreign->owned_count);
	nb_foreign_forget(foreign->dormant, foreign->dormant_count);
	nb_foreign_forget(foreign->nat, foreign->nat_count);
	nb_chain_list_clear(&foreign->chains);
	foreign->owned = foreign->dormant = foreign->nat = NULL;
	foreign->owned_count = foreign->dormant_count = foreign->nat_count = 0;
}
