/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Somebody who uses our bit of the packet mark. Ours is on packets of mappings from the end of the
 * translation to the end of the input hook, and what others set is cleared there on packets to
 * 127.0.0.0/8; a rule that drops by it is an obstacle like any other. Here it is said that two use
 * one bit: theirs may lose its meaning.
 *
 * Whoever names the bit, by a mask or a value, uses it, wherever that is. A rule that takes the mark
 * as a whole does not: it counts only where packets of mappings have ours, and if it then does
 * something else to one of them.
 */
#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnftnl/expr.h>

#include "../ruleset/opener.h"
#include "clash.h"
#include "mark_use.h"
#include "nat-bridge/route.h"
#include "program.h"
#include "sets.h"
#include "tell.h"
#include "way.h"

/* Marks that others give to packets of mappings; with more than these one is missed. */
#define MOST_GIVEN 8
/* Rules tried on packets: 1,000 bridges and 10,000 such rules would take minutes. */
#define MOST_TRIED 200000

/* Does a chain see packets of mappings on their way in? */
enum {
	SEES = 1 << 0,
	SEES_MARKED = 1 << 1, /* with our mark */
};

/* A rule that does something with marks. */
struct user {
	struct nb_place place;
	struct nb_mark_use use;
};

struct search {
	struct nb_netlink *nl;
	struct nb_chain_list *chains;
	uint32_t mark;
	const struct nb_flow_path **bridges; /* a path of each */
	size_t bridge_count;
	/* by the place of a chain in the list */
	uint8_t *sees;
	size_t *marked; /* so many rules at its head see packets with our mark */
	struct user *users;
	size_t count, capacity;
	uint32_t given[MOST_GIVEN]; /* the first: none */
	size_t given_count;
	uint32_t held; /* bits that marks of connections may have */
	size_t tried;
};

/* --- Which chains --- */

static int take_verdict_map(struct nftnl_expr *expr, void *data)
{
	if (strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "lookup") == 0 &&
	    nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_DREG) &&
	    nftnl_expr_get_u32(expr, NFTNL_EXPR_LOOKUP_DREG) == NFT_REG_VERDICT)
		*(bool *)data = true;
	return 0;
}

static uint8_t sees_of(const struct nb_chain *base)
{
	bool input = base->hook == NF_INET_LOCAL_IN;

	if (base->device_count)
		return base->egress ? 0 : SEES;
	if (!input && base->hook != NF_INET_PRE_ROUTING)
		return 0;
	if (base->family == NFPROTO_BRIDGE)
		return SEES;
	/* one of the same priority may come before ours or behind it */
	if (input || (strcmp(base->type, "nat") != 0 && base->priority >= NB_STAMPS_AT))
		return SEES | SEES_MARKED;
	return SEES;
}

static bool is_opener(const struct search *search, const struct nftnl_rule *rule)
{
	uint32_t mark;

	return rule && nb_opener_recognise(rule, &mark) && mark == search->mark;
}

static void spread(struct search *search, const struct nb_chain *chain, uint8_t sees);

/* Of a verdict map the chains are not known: any of that table. */
static void spread_rule(struct search *search, const struct nb_chain *chain,
			struct nftnl_rule *rule, uint8_t sees)
{
	const struct nb_chain *target = NULL;
	const char *name = nb_rule_target(rule);
	bool map = false;

	nftnl_expr_foreach(rule, take_verdict_map, &map);
	if (name)
		target = nb_chain_find(search->chains, chain, name);
	if (target)
		spread(search, target, sees);
	for (size_t i = 0; map && i < search->chains->count; i++) {
		const struct nb_chain *other = &search->chains->items[i];

		if (sees & ~search->sees[i] && !other->base && other->family == chain->family &&
		    other->legacy == chain->legacy && strcmp(other->table, chain->table) == 0)
			spread(search, other, sees);
	}
}

/* Each chain is looked at once for each thing to see. */
static void spread(struct search *search, const struct nb_chain *chain, uint8_t sees)
{
	uint8_t *seen = &search->sees[chain - search->chains->items];

	sees &= (uint8_t) ~*seen;
	*seen |= sees;
	for (size_t i = 0; sees && i < chain->count; i++) {
		/* what has our mark goes no further */
		if (is_opener(search, chain->rules[i]))
			sees &= (uint8_t)~SEES_MARKED;
		else if (chain->rules[i])
			spread_rule(search, chain, chain->rules[i], sees);
		if (sees & SEES_MARKED)
			search->marked[chain - search->chains->items] = i + 1;
	}
}

static bool is_met(const struct search *search, const struct nb_place *place)
{
	return place->position < search->marked[place->chain - search->chains->items];
}

/* --- Which rules --- */

static int note(struct search *search, const struct nb_place *place)
{
	struct user user = { .place = *place };
	struct nb_mark_use *use = &user.use;

	nb_mark_use_read(search->nl, place->chain, place->rule, use);
	if (!use->asks_all &&
	    !(use->tests | use->sets | use->clears | use->restores | use->saves | use->holds))
		return 0;
	if (search->count == search->capacity) {
		size_t capacity = search->capacity ? 2 * search->capacity : 16;
		struct user *grown = reallocarray(search->users, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		search->users = grown;
		search->capacity = capacity;
	}
	search->users[search->count++] = user;
	return 0;
}

static int read_users(struct search *search)
{
	uint32_t own;
	int r = 0;

	for (size_t i = 0; i < search->chains->count; i++) {
		const struct nb_chain *chain = &search->chains->items[i];

		if (chain->base)
			spread(search, chain, sees_of(chain));
		for (size_t j = 0; r == 0 && j < chain->count; j++) {
			struct nb_place place = { chain, chain->rules[j], j };

			if (place.rule && !nb_opener_recognise(place.rule, &own))
				r = note(search, &place);
		}
	}
	return r;
}

/* --- What they do to packets of mappings --- */

/* Does the rule match such a packet from this bridge, with that mark of which those bits are known? */
static enum nb_truth matches(struct search *search, const struct user *user,
			     const struct nb_flow_path *path, uint32_t mark, uint32_t known)
{
	const struct nb_chain *chain = user->place.chain;
	struct nb_set_reader sets = { .nl = search->nl, .chains = search->chains };
	struct nb_walk walk = {
		.chains = search->chains,
		.look_up = nb_set_look_up,
		.data = &sets,
	};

	search->tried++;
	if (known) {
		nb_packet_admitted(&walk.packet, chain->family, 0);
		walk.packet.mark = mark;
		walk.packet.mark_known = known;
	} else {
		nb_packet_init(&walk.packet, chain->family); /* perhaps not translated yet */
	}
	if (!chain->device_count && chain->family != NFPROTO_BRIDGE) {
		walk.packet.in.known = true;
		walk.packet.in.index = path->index;
		memcpy(walk.packet.in.name, path->bridge, sizeof(walk.packet.in.name));
	}
	return nb_walk_matches(&walk, chain, user->place.rule);
}

static bool may_match_any(struct search *search, const struct user *user)
{
	for (size_t i = 0; i < search->bridge_count && search->tried < MOST_TRIED; i++)
		if (matches(search, user, search->bridges[i], 0, 0) != NB_NO)
			return true;
	return false;
}

/* Does it match some of them with our mark? @alone: and not without, or the other way round? */
static bool matches_marked(struct search *search, const struct user *user, bool alone)
{
	for (size_t i = 0; i < search->bridge_count && search->tried < MOST_TRIED; i++) {
		const struct nb_flow_path *path = search->bridges[i];

		for (size_t j = 0; j < search->given_count; j++) {
			uint32_t other = search->given[j];
			enum nb_truth with, without = NB_NO;

			with = matches(search, user, path, other | search->mark, UINT32_MAX);
			if (alone)
				without = matches(search, user, path, other, UINT32_MAX);
			if (with != without)
				return true;
		}
	}
	return false;
}

/* Marks that packets of mappings have from others, and what connections have. */
static void read_given(struct search *search)
{
	search->given_count = 1;
	for (size_t i = 0; i < search->count; i++)
		search->held |= search->users[i].use.holds;
	for (size_t i = 0; i < search->count && search->given_count < MOST_GIVEN; i++) {
		const struct user *user = &search->users[i];
		uint32_t gives = (user->use.sets | (user->use.restores & search->held)) &
				 ~search->mark;

		if (gives && search->sees[user->place.chain - search->chains->items] & SEES &&
		    may_match_any(search, user))
			search->given[search->given_count++] = gives;
	}
	for (size_t i = 0; i < search->count; i++) {
		struct user *user = &search->users[i];

		/* elsewhere packets have our bit only if it was stored */
		if (!user->use.saves || !is_met(search, &user->place) ||
		    !matches_marked(search, user, false))
			user->use.saves = 0;
		search->held |= user->use.saves;
	}
}

/* --- Telling --- */

/* Bits of the packet's mark that a rule uses. */
static uint32_t bits_of(const struct search *search, const struct nb_mark_use *use)
{
	return use->tests | use->sets | use->clears | use->saves | (use->restores & search->held);
}

static const char *word_use(const struct search *search, const struct nb_mark_use *use)
{
	if (use->saves & search->mark)
		return "stores it in the mark of connections";
	if (use->sets & search->mark)
		return "sets it";
	if (use->restores & search->held & search->mark)
		return "sets it as the mark of a connection has it";
	return use->clears & search->mark ? "clears it" : "asks for it";
}

/* One bit that nobody was seen to use, or 0. */
static uint32_t find_free(uint32_t used)
{
	uint32_t bit = UINT32_C(1) << 31;

	while (bit & used)
		bit >>= 1;
	return bit;
}

/* First of all what packets of mappings meet. */
static const struct user *choose(const struct search *search, size_t *ret_count)
{
	const struct user *first = NULL;

	for (size_t i = 0; i < search->count; i++) {
		const struct user *user = &search->users[i];

		if (!(bits_of(search, &user->use) & search->mark))
			continue;
		++*ret_count;
		if (!first || (!is_met(search, &first->place) && is_met(search, &user->place)))
			first = user;
	}
	return first;
}

static void place_at(const struct search *search, const struct nb_place *place,
		     struct nb_obstacle *obstacle)
{
	nb_obstacle_at(obstacle, place);
	if (place->chain->base)
		nb_program_of(search->chains, place->chain, obstacle->program,
			      sizeof(obstacle->program));
}

static int tell_users(const struct search *search, const struct nb_route_mark_list *routes,
		      struct nb_obstacle_list *ret)
{
	struct nb_obstacle obstacle = { .kind = NB_OBSTACLE_CLASHES, .mark = search->mark };
	uint32_t used = search->mark, free_bit;
	size_t count = 0;
	const struct user *first = choose(search, &count);

	if (first) {
		place_at(search, &first->place, &obstacle);
		obstacle.use = word_use(search, &first->use);
	}
	for (size_t i = 0; i < search->count; i++)
		used |= bits_of(search, &search->users[i].use);
	for (size_t i = 0; i < routes->count; i++) {
		const struct nb_route_mark *route = &routes->items[i];
		uint32_t bits = route->mask == UINT32_MAX ? route->value : route->mask;

		used |= bits;
		if (!(bits & search->mark))
			continue;
		if (count++)
			continue;
		obstacle.use = "routes by it";
		snprintf(obstacle.where, sizeof(obstacle.where), "ip rule \"%s\"", route->text);
	}
	if (!count)
		return 0;
	obstacle.more = count - 1;
	free_bit = find_free(used);
	if (free_bit)
		snprintf(obstacle.cure, sizeof(obstacle.cure),
			 "choose a bit that is free, as \"mark\": \"0x%08x\" in "
			 "/etc/nat-bridge/config.json, and then nat-bridge apply",
			 free_bit);
	else
		snprintf(obstacle.cure, sizeof(obstacle.cure),
			 "let it use a mask that leaves 0x%x out", search->mark);
	return nb_obstacle_append(ret, &obstacle);
}

/*
 * What merely lets pass or drops is not told: a drop is an obstacle of its own, and that our mark
 * leads past one is what an opener is for.
 */
static int tell_wholes(struct search *search, struct nb_obstacle_list *ret)
{
	struct nb_obstacle obstacle = {
		.kind = NB_OBSTACLE_CLASHES,
		.mark = search->mark,
		.whole = true,
	};
	const struct user *first = NULL;

	for (size_t i = 0; i < search->count; i++) {
		const struct user *user = &search->users[i];

		if (!user->use.asks_all || !user->use.acts ||
		    bits_of(search, &user->use) & search->mark || !is_met(search, &user->place) ||
		    !matches_marked(search, user, true))
			continue;
		obstacle.more += first != NULL;
		if (!first)
			first = user;
	}
	if (!first)
		return 0;
	place_at(search, &first->place, &obstacle);
	snprintf(obstacle.cure, sizeof(obstacle.cure), "let it ask for mark & 0x%x", ~search->mark);
	return nb_obstacle_append(ret, &obstacle);
}

int nb_clash_find(struct nb_netlink *nl, struct nb_chain_list *chains, uint32_t mark,
		  const struct nb_flow_path *paths, size_t count, struct nb_obstacle_list *ret)
{
	struct search search = {
		.nl = nl,
		.chains = chains,
		.mark = mark,
		.sees = calloc(chains->count + 1, sizeof(*search.sees)),
		.marked = calloc(chains->count + 1, sizeof(*search.marked)),
		.bridges = calloc(count + 1, sizeof(*search.bridges)),
	};
	struct nb_route_mark_list routes = { 0 };
	struct nb_error ignored;
	int r = search.sees && search.marked && search.bridges ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < count; i++)
		if (i == 0 || strcmp(paths[i].bridge, paths[i - 1].bridge) != 0)
			search.bridges[search.bridge_count++] = &paths[i];
	if (r == 0)
		r = read_users(&search);

	if (r == 0 && nb_route_marks(nl, &routes, &ignored) == -ENOMEM)
		r = -ENOMEM;
	if (r == 0) {
		read_given(&search);
		r = tell_users(&search, &routes, ret);
	}
	if (r == 0)
		r = tell_wholes(&search, ret);
	free(routes.items);
	free(search.users);
	free(search.sees);
	free(search.marked);
	free(search.bridges);
	return r;
}
