/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What keeps a mapping from working where no opener helps: each stretch of the way that a
 * packet of the mapping takes, and its answer, is walked through everybody's chains.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <linux/netfilter_ipv4.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../model/text.h"
#include "clash.h"
#include "legacy.h"
#include "nat-bridge/firewall.h"
#include "nat-bridge/route.h"
#include "obstacle.h"
#include "program.h"
#include "tell.h"
#include "way.h"

/* Of warnings: enough to act on; the next run shows what is left. */
#define MOST_OBSTACLES 20

struct search {
	struct nb_way *way;
	struct nb_obstacle_list *found;
	bool briefly; /* what one command mends is told once, and not more than are warnings */
	int result;   /* -ENOMEM: one was found, and could not be kept */
};

/* --- Telling --- */

/* One command may mend it for many mappings. */
static bool is_told(const struct search *search, const char *cure)
{
	for (size_t i = 0; i < search->found->count; i++)
		if (strcmp(search->found->items[i].cure, cure) == 0)
			return true;
	return false;
}

static void tell(struct search *search, const struct nb_flow_path *path, enum nb_leg leg,
		 enum nb_obstacle_kind kind, const struct nb_walk *walk,
		 const struct nb_chain *base)
{
	struct nb_obstacle obstacle = {
		.kind = kind,
		.path = *path,
		.answers = leg >= NB_LEG_ANSWERS,
		.owned = base->owned,
	};
	const struct nb_place *place = kind == NB_OBSTACLE_UNTRACKS  ? &walk->untracked
				       : kind == NB_OBSTACLE_ZONES   ? &walk->zone.place
				       : kind == NB_OBSTACLE_REMARKS ? &walk->remarked
				       : kind == NB_OBSTACLE_DIVERTS ? &walk->diverted
								     : &walk->drop;

	if (kind == NB_OBSTACLE_DIVERTS)
		obstacle.diverted_to = walk->diversion.to;
	nb_obstacle_cure(path, leg, base, search->way->mark, obstacle.cure, sizeof(obstacle.cure));
	if (search->briefly && is_told(search, obstacle.cure))
		return;
	nb_obstacle_at(&obstacle, place);
	nb_program_of(&search->way->chains, base, obstacle.program, sizeof(obstacle.program));
	if (nb_obstacle_append(search->found, &obstacle) < 0)
		search->result = -ENOMEM;
}

/* --- Walking --- */

/* One stretch of the way, for packets of which more or less is known. */
struct stretch {
	struct search *search;
	const struct nb_flow_path *path;
	enum nb_leg leg;
	struct nb_walk walk;
	bool marked;			/* by our own chain */
	const struct nb_chain *remarks; /* where the mark was lost behind that */
	bool may_fail;			/* some packet of the kind may not get through */
	bool failed;			/* none does, and it was told */
};

static void fail(struct stretch *stretch, enum nb_obstacle_kind kind, const struct nb_chain *base)
{
	stretch->may_fail = stretch->failed = true;
	if (stretch->path->port)
		tell(stretch->search, stretch->path, stretch->leg, kind, &stretch->walk, base);
}

static void walk_one(struct stretch *stretch, const struct nb_chain *chain)
{
	struct nb_walk *walk = &stretch->walk;
	uint32_t ours = stretch->search->way->mark;
	struct nb_marks before = nb_packet_marks(&walk->packet);
	/* the opener at its head lets them pass before they come to any rule */
	bool opens = stretch->leg == NB_LEG_ENTERS &&
		     (before.mark & before.mark_known & ours) == ours;
	bool opened = opens && !chain->owned && !chain->legacy;

	nb_way_walk(walk, stretch->search->way, stretch->path, stretch->leg, chain);
	if (opened && walk->outcomes & NB_OUTCOME_DROP) {
		nb_packet_set_marks(&walk->packet, &before);
		walk->remarked.chain = stretch->remarks ? walk->remarked.chain : NULL;
		return;
	}
	if (walk->remarked.chain && !stretch->remarks)
		stretch->remarks = chain;
	/* it has an effect only before connection tracking */
	if (chain->priority >= NF_IP_PRI_CONNTRACK)
		walk->is_untracked = NB_NO;
	stretch->may_fail |= walk->is_untracked != NB_NO || walk->diversion.truth != NB_NO ||
			     walk->outcomes & NB_OUTCOME_DROP;
	/* it comes before whatever else the chain does to all of them */
	if (walk->diversion.truth == NB_YES) {
		fail(stretch, NB_OBSTACLE_DIVERTS, chain);
		return;
	}
	if (opens && walk->outcomes & NB_OUTCOME_DROP) {
		/* an opener would stand here if it could; behind it others are looked at, too */
		fail(stretch,
		     walk->outcomes == NB_OUTCOME_DROP ? NB_OBSTACLE_DROPS : NB_OBSTACLE_MAY_DROP,
		     chain);
		stretch->failed = false;
		return;
	}
	if (walk->is_untracked == NB_YES)
		fail(stretch, NB_OBSTACLE_UNTRACKS, chain);
	else if (walk->outcomes == NB_OUTCOME_DROP && stretch->leg == NB_LEG_ENTERS &&
		 stretch->remarks && stretch->remarks != chain)
		fail(stretch, NB_OBSTACLE_REMARKS, stretch->remarks);
	else if (walk->outcomes == NB_OUTCOME_DROP)
		fail(stretch, NB_OBSTACLE_DROPS, chain);
}

/* With bridge-nf-call-iptables others may take our mark before the filter at ingress asks for it. */
static void pass_filter(struct stretch *stretch)
{
	const struct nb_packet *packet = &stretch->walk.packet;
	uint32_t ours = stretch->search->way->mark;

	/* no chain behind ours did anything to it */
	if (stretch->leg != NB_LEG_TRANSLATED || !stretch->search->way->filtered ||
	    !stretch->marked || !stretch->remarks)
		return;
	if (packet->mark_known & ~packet->mark & ours)
		fail(stretch, NB_OBSTACLE_REMARKS, stretch->remarks);
	else if (~packet->mark_known & ours)
		stretch->may_fail = true;
}

/* What is found first is told, for behind that nothing comes. */
static bool walk_leg(struct search *search, const struct nb_flow_path *path, enum nb_leg leg,
		     struct nb_marks *carried, struct nb_zone *ret_zone)
{
	struct stretch stretch = {
		.search = search,
		.path = path,
		.leg = leg,
		.walk.guarded = leg == NB_LEG_ENTERS ||
						(leg == NB_LEG_TRANSLATED && search->way->filtered)
					? search->way->mark
					: 0,
	};
	bool filtered = false;

	nb_packet_set_marks(&stretch.walk.packet, carried);
	for (size_t i = 0; i < search->way->sorted_count && !stretch.failed; i++) {
		const struct nb_chain *chain = search->way->sorted[nb_way_nth(search->way, leg, i)];

		if (nb_way_leg(search->way, chain, path) != leg)
			continue;
		if (!filtered && chain->device_count) {
			pass_filter(&stretch);
			filtered = true;
			if (stretch.failed)
				break;
		}
		if (!stretch.marked && nb_way_is_behind_ours(leg, chain)) {
			nb_packet_write_mark(&stretch.walk.packet, search->way->mark,
					     search->way->mark);
			stretch.walk.remarked.chain = stretch.remarks = NULL;
			stretch.marked = true;
		}
		walk_one(&stretch, chain);
	}
	if (!filtered && !stretch.failed)
		pass_filter(&stretch);
	*carried = nb_packet_marks(&stretch.walk.packet);
	*ret_zone = stretch.walk.zone;
	/* mended, they come to rules that were not looked at */
	if (stretch.failed) {
		carried->mark_known = carried->ct_mark_known = 0;
		ret_zone->set = NB_MAYBE;
	}
	return stretch.may_fail || stretch.walk.zone.set;
}

static bool is_port(const char *bridge, const char *device)
{
	char path[64 + 2 * NB_IFNAME_SIZE];

	snprintf(path, sizeof(path), "/sys/class/net/%s/brif/%s", bridge, device);
	return access(path, F_OK) == 0;
}

/* What the ingress of one of the bridge's ports does to the packets of its container. */
static bool walk_port(struct search *search, const struct nb_flow_path *path,
		      const struct nb_chain *chain, const char *port, struct nb_marks *carried)
{
	struct nb_walk walk = { .packet.mark_known = UINT32_MAX };
	struct nb_flow_path there = *path;

	memcpy(there.bridge, port, sizeof(there.bridge));
	there.index = 0;
	nb_way_walk(&walk, search->way, &there, NB_LEG_ARRIVES, chain);
	/* those of other ports may have another */
	carried->mark_known &= walk.packet.mark_known & ~walk.packet.mark;
	if (!path->port)
		return walk.outcomes & NB_OUTCOME_DROP || walk.diversion.truth != NB_NO;
	if (walk.diversion.truth == NB_YES)
		tell(search, &there, NB_LEG_ARRIVES, NB_OBSTACLE_DIVERTS, &walk, chain);
	else if (walk.outcomes == NB_OUTCOME_DROP)
		tell(search, &there, NB_LEG_ARRIVES, NB_OBSTACLE_DROPS, &walk, chain);
	return walk.outcomes & NB_OUTCOME_DROP;
}

static bool walk_ports(struct search *search, const struct nb_flow_path *path,
		       struct nb_marks *carried)
{
	bool may_fail = false;

	for (size_t i = 0; i < search->way->link_count; i++) {
		const struct nb_chain *chain = search->way->sorted[i];

		for (size_t j = 0; !chain->egress && j < chain->device_count; j++)
			if (is_port(path->bridge, chain->devices[j]))
				may_fail |= walk_port(search, path, chain, chain->devices[j],
						      carried);
	}
	return may_fail;
}

/* Both rules, if both have their part in it: one that sets no zone for answers has none. */
static void tell_zones(struct search *search, const struct nb_flow_path *path,
		       const struct nb_zone *zones)
{
	static const enum nb_leg legs[] = { NB_LEG_ARRIVES, NB_LEG_ANSWERS };

	if (!path->port || !nb_zones_differ(&zones[NB_LEG_ARRIVES], &zones[NB_LEG_ANSWERS]))
		return;
	for (size_t i = 0; i < sizeof(legs) / sizeof(legs[0]); i++) {
		struct nb_walk walk = { .zone = zones[legs[i]] };

		if (walk.zone.set && walk.zone.id)
			tell(search, path, legs[i], NB_OBSTACLE_ZONES, &walk, walk.zone.base);
	}
}

static bool walk_path(struct search *search, const struct nb_flow_path *path)
{
	struct nb_zone zones[NB_LEG_COUNT] = { 0 };
	struct nb_marks carried = { 0 };
	bool may_fail = false;

	for (int leg = NB_LEG_ARRIVES; leg < NB_LEG_COUNT; leg++) {
		nb_way_enter(search->way, (enum nb_leg)leg, &carried);
		if (leg == NB_LEG_ARRIVES)
			may_fail |= walk_ports(search, path, &carried);
		may_fail |= walk_leg(search, path, (enum nb_leg)leg, &carried, &zones[leg]);
	}
	tell_zones(search, path, zones);
	return may_fail;
}

/* Is there anything that may concern a mapping of this bridge, whichever? */
static bool may_concern(struct search *search, const struct nb_flow_path *path)
{
	struct nb_flow_path any = { .index = path->index, .target.address = INADDR_LOOPBACK };

	memcpy(any.bridge, path->bridge, sizeof(any.bridge));
	return walk_path(search, &any);
}

static void find_reverse_path(struct search *search, const struct nb_flow_path *path)
{
	struct nb_obstacle obstacle = { .kind = NB_OBSTACLE_REVERSE_PATH, .path = *path };
	char setting[NB_SETTING_SIZE];
	struct nb_error ignored;

	if (nb_route_network(search->way->nl, path->index, &search->way->network, &ignored) < 0 ||
	    search->way->network.length == 0 ||
	    nb_route_accepts(search->way->nl, path->index, &search->way->network, &ignored) != 0)
		return;
	snprintf(obstacle.cure, sizeof(obstacle.cure),
		 "sysctl -w %s=0 net.ipv4.conf.all.rp_filter=0",
		 nb_setting_text(path->bridge, "rp_filter", setting));
	if (nb_obstacle_append(search->found, &obstacle) < 0)
		search->result = -ENOMEM;
}

int nb_obstacles_find(struct nb_way *way, const struct nb_flow_path *paths, size_t count,
		      bool briefly, struct nb_obstacle_list *ret)
{
	struct search search = { .way = way, .found = ret, .briefly = briefly };
	bool concerned = false;
	size_t walked = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < count && !(briefly && ret->count >= MOST_OBSTACLES); i++) {
		if (i == 0 || strcmp(paths[i].bridge, paths[i - 1].bridge) != 0) {
			nb_way_read_bridge_nf(way, &paths[i]);
			find_reverse_path(&search, &paths[i]);
			concerned = may_concern(&search, &paths[i]);
		}
		if (concerned && walked++ < NB_WAY_MOST_WALKED)
			walk_path(&search, &paths[i]);
		r = search.result;
	}
	return r == 0 && count ? nb_clash_find(way->nl, &way->chains, way->mark, paths, count, ret)
			       : r;
}

static int find(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		size_t count, bool briefly, struct nb_obstacle_list *ret, struct nb_error *err)
{
	struct nb_way way = { .nl = nl, .mark = mark };
	int r = count ? nb_way_read(&way, err) : 0;

	if (r == 0)
		r = nb_obstacles_find(&way, paths, count, briefly, ret);
	nb_way_clear(&way);
	return r == -ENOMEM ? r : 0;
}

int nb_firewall_find(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		     size_t count, struct nb_obstacle_list *ret, struct nb_error *err)
{
	return find(nl, mark, paths, count, false, ret, err);
}

bool nb_firewall_has_legacy(void)
{
	struct nb_chain_list chains = { 0 };
	bool found;

	found = nb_legacy_read(&chains) == 0 && chains.count;
	nb_chain_list_clear(&chains);
	return found;
}

void nb_obstacle_warn(const struct nb_obstacle_list *list, struct nb_warnings *warnings)
{
	char text[NB_OBSTACLE_TEXT];

	for (size_t i = 0; i < list->count; i++)
		nb_warn(warnings, "%s", nb_obstacle_text(&list->items[i], text, sizeof(text)));
}

int nb_firewall_advise(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		       size_t count, struct nb_warnings *warnings, struct nb_error *err)
{
	struct nb_obstacle_list found = { 0 };
	int r = find(nl, mark, paths, count, true, &found, err);

	nb_obstacle_warn(&found, warnings);
	nb_obstacle_list_clear(&found);
	return r;
}
