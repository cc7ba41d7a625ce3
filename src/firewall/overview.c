/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which chains of others are there, and what does each do to the packets of mappings? */
#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter_ipv4.h>
#include <stdlib.h>
#include <string.h>

#include "../ruleset/opener.h"
#include "nat-bridge/firewall.h"
#include "nat-bridge/route.h"
#include "obstacle.h"
#include "program.h"
#include "tell.h"
#include "way.h"

/* What a chain does to the packets of one mapping, whatever other chains did before. */
static enum nb_passage judge_chain(const struct nb_walk *walk, const struct nb_chain *chain)
{
	enum nb_truth untracked = chain->priority < NF_IP_PRI_CONNTRACK ? walk->is_untracked
									: NB_NO;

	if (untracked == NB_YES || walk->diversion.truth == NB_YES ||
	    walk->outcomes == NB_OUTCOME_DROP)
		return NB_PASSES_NOT;
	if (untracked == NB_MAYBE || walk->diversion.truth == NB_MAYBE ||
	    walk->outcomes & NB_OUTCOME_DROP)
		return NB_PASSES_PERHAPS;
	return NB_PASSES;
}

/* @passages, by the order of way->sorted, get what is worse. */
static void survey_leg(struct nb_way *way, const struct nb_flow_path *path, enum nb_leg leg,
		       struct nb_marks *carried, enum nb_passage *passages,
		       struct nb_zone *ret_zone)
{
	bool marked = false;

	for (size_t n = 0; n < way->sorted_count; n++) {
		size_t i = nb_way_nth(way, leg, n);
		const struct nb_chain *chain = way->sorted[i];
		struct nb_walk walk = { .zone = *ret_zone };
		enum nb_passage passage;

		if (nb_way_leg(way, chain, path) != leg)
			continue;
		nb_packet_set_marks(&walk.packet, carried);
		if (!marked && nb_way_is_behind_ours(leg, chain)) {
			nb_packet_write_mark(&walk.packet, way->mark, way->mark);
			marked = true;
		}
		nb_way_walk(&walk, way, path, leg, chain);
		*ret_zone = walk.zone;
		*carried = nb_packet_marks(&walk.packet);
		passage = judge_chain(&walk, chain);
		if (passage > passages[i])
			passages[i] = passage;
	}
}

static void survey_zones(const struct nb_way *way, const struct nb_zone *requests,
			 const struct nb_zone *answers, enum nb_passage *passages)
{
	bool differ = nb_zones_differ(requests, answers);

	for (size_t i = 0; i < way->sorted_count; i++) {
		const struct nb_chain *chain = way->sorted[i];

		if ((requests->set && requests->base == chain) ||
		    (answers->set && answers->base == chain))
			passages[i] = differ ? NB_PASSES_NOT : passages[i];
	}
}

/* Does every chain let all of it through? */
static bool survey_path(struct nb_way *way, const struct nb_flow_path *path,
			enum nb_passage *passages)
{
	struct nb_zone zones[NB_LEG_COUNT] = { 0 };
	struct nb_marks carried = { 0 };
	bool passes = true;

	for (int leg = NB_LEG_ARRIVES; leg < NB_LEG_COUNT; leg++) {
		nb_way_enter(way, (enum nb_leg)leg, &carried);
		survey_leg(way, path, (enum nb_leg)leg, &carried, passages, &zones[leg]);
	}
	survey_zones(way, &zones[NB_LEG_ARRIVES], &zones[NB_LEG_ANSWERS], passages);
	for (size_t i = 0; i < way->sorted_count; i++)
		passes &= passages[i] <= NB_PASSES;
	return passes;
}

/* One bridge's paths: first all of them as one, and if that is not clear one by one. */
static int survey_bridge(struct nb_way *way, const struct nb_flow_path *paths, size_t count,
			 size_t *walked, enum nb_passage *passages)
{
	size_t size = way->sorted_count * sizeof(*passages);
	struct nb_flow_path any = { .index = paths->index, .target.address = INADDR_LOOPBACK };
	enum nb_passage *whole = calloc(way->sorted_count + 1, sizeof(*whole));
	struct nb_error ignored;

	if (!whole)
		return -ENOMEM;
	memcpy(any.bridge, paths->bridge, sizeof(any.bridge));
	nb_way_read_bridge_nf(way, paths);
	way->network.length = 0;
	(void)nb_route_network(way->nl, paths->index, &way->network, &ignored);
	if (!survey_path(way, &any, whole)) {
		size_t i = 0;

		for (; i < count && *walked < NB_WAY_MOST_WALKED; i++, ++*walked)
			survey_path(way, &paths[i], passages);
		if (i == count)
			memset(whole, 0, size);
	}
	for (size_t i = 0; i < way->sorted_count; i++)
		if (whole[i] > passages[i])
			passages[i] = whole[i];
	free(whole);
	return 0;
}

static const char *hook_name(const struct nb_chain *chain)
{
	static const char *const names[] = { "prerouting", "input", "forward", "output",
					     "postrouting" };

	if (chain->device_count)
		return chain->egress ? "egress" : "ingress";
	return chain->hook < sizeof(names) / sizeof(names[0]) ? names[chain->hook] : "";
}

static bool has_opener(const struct nb_chain *chain, uint32_t mark)
{
	uint32_t found;

	for (size_t i = 0; i < chain->count; i++)
		if (chain->rules[i] && nb_opener_recognise(chain->rules[i], &found) &&
		    found == mark)
			return true;
	return false;
}

static int list_chain(const struct nb_way *way, const struct nb_chain *chain,
		      enum nb_passage passage, struct nb_firewall_list *ret)
{
	struct nb_firewall_chain *added = reallocarray(ret->items, ret->count + 1, sizeof(*added));

	if (!added)
		return -ENOMEM;
	ret->items = added;
	added += ret->count;
	*added = (struct nb_firewall_chain){
		.family = nb_family_name(chain->family),
		.table = strdup(chain->table),
		.chain = strdup(chain->name),
		.hook = hook_name(chain),
		.priority = chain->priority,
		.legacy = chain->legacy,
		.owned = chain->owned,
		.opener = has_opener(chain, way->mark),
		.passage = passage,
	};
	nb_program_of(&way->chains, chain, added->program, sizeof(added->program));
	ret->count++;
	return added->table && added->chain ? 0 : -ENOMEM;
}

static int survey(struct nb_way *way, const struct nb_flow_path *paths, size_t count,
		  struct nb_firewall_list *ret)
{
	enum nb_passage *passages = calloc(way->sorted_count + 1, sizeof(*passages));
	size_t walked = 0, same;
	int r = 0;

	if (!passages)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < count; i += same) {
		for (same = 1; i + same < count; same++)
			if (strcmp(paths[i].bridge, paths[i + same].bridge) != 0)
				break;
		r = survey_bridge(way, &paths[i], same, &walked, passages);
	}
	for (size_t i = 0; r == 0 && i < way->sorted_count; i++)
		if (passages[i] != NB_PASSES_UNSEEN)
			r = list_chain(way, way->sorted[i], passages[i], ret);
	free(passages);
	return r;
}

int nb_firewall_survey(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		       size_t count, struct nb_firewall_list *ret,
		       struct nb_obstacle_list *obstacles)
{
	struct nb_way way = { .nl = nl, .mark = mark };
	struct nb_error ignored;
	int r = count ? nb_way_read(&way, &ignored) : 0;

	memset(ret, 0, sizeof(*ret));
	if (r == 0)
		r = survey(&way, paths, count, ret);
	if (r == 0 && obstacles)
		r = nb_obstacles_find(&way, paths, count, true, obstacles);
	nb_way_clear(&way);
	return r;
}

int nb_firewall_overview(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
			 size_t count, struct nb_firewall_list *ret)
{
	return nb_firewall_survey(nl, mark, paths, count, ret, NULL);
}

void nb_firewall_list_clear(struct nb_firewall_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].table);
		free(list->items[i].chain);
	}
	free(list->items);
	memset(list, 0, sizeof(*list));
}
