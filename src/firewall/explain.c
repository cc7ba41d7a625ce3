/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One rule of others that was seen to drop a packet: where it stands, and what mends it. */
#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnftnl/expr.h>

#include "nat-bridge/firewall.h"
#include "program.h"
#include "tell.h"
#include "way.h"

/* @seen, by the place of a chain in the list: each is looked at once. */
static bool reaches(const struct nb_way *way, const struct nb_chain *from,
		    const struct nb_chain *to, bool *seen)
{
	if (from == to)
		return true;
	seen[from - way->chains.items] = true;
	for (size_t i = 0; i < from->count; i++) {
		const char *name = nb_rule_target(from->rules[i]);
		const struct nb_chain *next;

		next = name ? nb_chain_find(&way->chains, from, name) : NULL;
		if (next && !seen[next - way->chains.items] && reaches(way, next, to, seen))
			return true;
	}
	return false;
}

static bool leads_to(const struct nb_way *way, const struct nb_chain *from,
		     const struct nb_chain *to)
{
	bool *seen = calloc(way->chains.count, sizeof(*seen)), found;

	if (!seen)
		return from == to;
	found = reaches(way, from, to, seen);
	free(seen);
	return found;
}

static bool is_there(const struct nb_chain *chain, const struct nb_obstacle *obstacle,
		     struct nb_place *place)
{
	if (chain->legacy || chain->family != obstacle->family ||
	    strcmp(chain->table, obstacle->table) != 0 || strcmp(chain->name, obstacle->chain) != 0)
		return false;
	*place = (struct nb_place){ .chain = chain };
	for (size_t i = 0; obstacle->handle && i < chain->count; i++)
		if (chain->rules[i] &&
		    nftnl_rule_get_u64(chain->rules[i], NFTNL_RULE_HANDLE) == obstacle->handle)
			*place = (struct nb_place){ chain, chain->rules[i], i };
	return !obstacle->handle || place->rule;
}

static void explain(const struct nb_way *way, const struct nb_flow_path *path,
		    const struct nb_place *place, struct nb_obstacle *ret)
{
	const struct nb_chain *base = place->chain;
	enum nb_leg leg = NB_LEG_NONE;
	struct nb_flow_path there = *path;
	bool answers = ret->answers;

	/* a chain that is jumped to from several: that which the packet passed */
	for (size_t i = 0; i < way->sorted_count && leg == NB_LEG_NONE; i++) {
		const struct nb_chain *one = way->sorted[i];
		enum nb_leg of = nb_way_leg(way, one, path);

		/* a translation before ours, and the ingress of a bridge's port */
		if (of == NB_LEG_NONE && !answers &&
		    (one->device_count ||
		     (one->hook == NF_INET_PRE_ROUTING && one->family != NFPROTO_BRIDGE)))
			of = NB_LEG_ARRIVES;
		if (of == NB_LEG_NONE || !leads_to(way, one, place->chain) ||
		    answers != (of >= NB_LEG_ANSWERS))
			continue;
		base = one;
		leg = of;
	}
	ret->kind = NB_OBSTACLE_DROPS;
	ret->path = *path;
	ret->owned = base->owned;
	nb_obstacle_at(ret, place);
	nb_program_of(&way->chains, base, ret->program, sizeof(ret->program));
	if (base->device_count && !nb_chain_has_device(base, path->bridge))
		memcpy(there.bridge, base->devices[0], sizeof(there.bridge));
	if (leg != NB_LEG_NONE)
		nb_obstacle_cure(&there, leg, base, way->mark, ret->cure, sizeof(ret->cure));
	else
		snprintf(ret->cure, sizeof(ret->cure), "make an exception for %s in chain %s %s %s",
			 path->bridge, nb_family_name(ret->family), ret->table, ret->chain);
}

int nb_firewall_explain(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *path,
			struct nb_obstacle *ret, struct nb_error *err)
{
	struct nb_way way = { .nl = nl, .mark = mark };
	int r = nb_way_read(&way, err);
	struct nb_place place;

	nb_way_read_bridge_nf(&way, path);
	if (r == 0)
		r = -ENOENT;
	for (size_t i = 0; r == -ENOENT && i < way.chains.count; i++)
		if (is_there(&way.chains.items[i], ret, &place)) {
			explain(&way, path, &place, ret);
			r = 0;
		}
	nb_way_clear(&way);
	return r;
}
