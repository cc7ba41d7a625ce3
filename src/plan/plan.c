/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * (desired, state) -> plan. No I/O.
 *
 * The order in which a plan is carried out keeps two things true at every
 * moment: a bridge whose route_localnet we set has its guard, and what is not
 * wanted is closed before anything else of it is taken away.
 *
 *   close    tagged devices that no guard protects (a flush, a rename)
 *   first    guards and elements in, unwanted elements out, openers
 *   attach   filters at the ingress of the wanted bridges
 *   enable   route_localnet and tag of the wanted bridges
 *   started  forget UDP flows that are older than their mapping
 *   ended    end the flows of mappings that are gone
 *   restore  route_localnet of bridges that are no longer wanted
 *   detach   their filters
 *   second   their guards out; after the last one openers and table
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nat-bridge/plan.h"

#define MEND_APPLY "nat-bridge apply"

struct planner {
	const struct nb_desired *desired;
	const struct nb_state *state;
	struct nb_plan *plan;
	struct nb_warnings *warnings;
	struct nb_bridge_list guards; /* of a table that is made anew */
	bool replace;		      /* the table is made anew */
	bool explain;		      /* word findings */
	bool failed;		      /* out of memory */
};

static bool exists(const struct planner *p)
{
	return p->state->table != NB_TABLE_ABSENT;
}

/* Does a guard stand before the first batch, or from it on? */
static bool is_guarded(const struct planner *p, const char *bridge)
{
	if (p->replace && exists(p))
		return true;
	return nb_bridge_find(&p->state->bridges, bridge) != NULL;
}

static const char *network_of(const struct planner *p, const char *bridge, char *buffer)
{
	const struct nb_bridge *known = nb_bridge_find(&p->plan->bridges, bridge);
	struct nb_network network;

	if (!known || !known->comment[0])
		known = nb_bridge_find(&p->state->bridges, bridge);
	if (known && nb_comment_first_network(known->comment, &network))
		return nb_network_format(&network, buffer);
	snprintf(buffer, NB_NETWORK_SIZE, "iface:%s", bridge);
	return buffer;
}

static __attribute__((format(printf, 4, 5))) void find(struct planner *p, enum nb_drift drift,
						       const char *bridge, const char *format, ...)
{
	struct nb_plan *plan = p->plan;
	struct nb_finding *finding;
	va_list args;

	if (!p->explain)
		return;
	/* 16, 32, 64, ... */
	if (plan->finding_count == 0 ||
	    (plan->finding_count >= 16 && (plan->finding_count & (plan->finding_count - 1)) == 0)) {
		size_t capacity = plan->finding_count ? plan->finding_count * 2 : 16;

		finding = realloc(plan->findings, capacity * sizeof(*finding));
		if (!finding) {
			p->failed = true;
			return;
		}
		plan->findings = finding;
	}
	finding = &plan->findings[plan->finding_count++];
	memset(finding, 0, sizeof(*finding));
	va_start(args, format);
	vsnprintf(finding->what, sizeof(finding->what), format, args);
	va_end(args);
	finding->drift = drift;
	if (bridge) {
		network_of(p, bridge, finding->network);
		snprintf(finding->bridge, sizeof(finding->bridge), "%s", bridge);
	}
	snprintf(finding->mend, sizeof(finding->mend), MEND_APPLY);
}

static void add_op(struct planner *p, struct nb_op_list *list, struct nb_op op)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 16;
		struct nb_op *items = realloc(list->items, capacity * sizeof(*items));

		if (!items) {
			p->failed = true;
			return;
		}
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = op;
}

static void add_element_op(struct planner *p, enum nb_op_kind kind,
			   const struct nb_element *element)
{
	add_op(p, &p->plan->first, (struct nb_op){ .kind = kind, .element = element });
}

static void add_link_step(struct planner *p, struct nb_link_step **steps, size_t *count,
			  const struct nb_link *link, uint32_t route_localnet, bool set_tag,
			  uint32_t tag)
{
	struct nb_link_step *grown = realloc(*steps, (*count + 1) * sizeof(*grown));

	if (!grown) {
		p->failed = true;
		return;
	}
	*steps = grown;
	grown[*count] = (struct nb_link_step){
		.ifindex = link->index,
		.route_localnet = route_localnet,
		.set_tag = set_tag,
		.tag = tag,
	};
	memcpy(grown[*count].name, link->name, sizeof(link->name));
	(*count)++;
}

static void add_ingress_step(struct planner *p, struct nb_ingress_step **steps, size_t *count,
			     const struct nb_link *link)
{
	struct nb_ingress_step *grown = realloc(*steps, (*count + 1) * sizeof(*grown));

	if (!grown) {
		p->failed = true;
		return;
	}
	*steps = grown;
	grown[*count] = (struct nb_ingress_step){ .ifindex = link->index, .old = link->ingress };
	memcpy(grown[*count].name, link->name, sizeof(link->name));
	(*count)++;
}

static void push_match(struct planner *p, struct nb_flow_match **list, size_t *count,
		       const struct nb_flow_match *match)
{
	struct nb_flow_match *grown;

	if ((*count & (*count - 1)) == 0) {
		grown = realloc(*list, (*count ? *count * 2 : 1) * sizeof(*grown));
		if (!grown) {
			p->failed = true;
			return;
		}
		*list = grown;
	}
	(*list)[(*count)++] = *match;
}

static void add_match(struct planner *p, struct nb_flow_match **list, size_t *count,
		      const struct nb_element *element)
{
	const struct nb_link *link = nb_link_find(&p->state->links, element->bridge);

	/* no device, no flows that could be told apart */
	if (link)
		push_match(p, list, count,
			   &(struct nb_flow_match){
				   .ifindex = link->index,
				   .protocol = element->protocol,
				   .port = element->port,
				   .target = element->target,
			   });
}

/* A rule file's goes before a runtime mapping; among equals the longer life wins. */
static void merge_lives(struct nb_element *kept, struct nb_element *other)
{
	bool longer = kept->expires && (!other->expires || other->expires > kept->expires);

	if (!kept->comment == !other->comment ? !longer : !kept->comment)
		return;
	kept->expires = other->expires;
	free(kept->comment);
	kept->comment = other->comment;
	other->comment = NULL;
}

/* Two networks on one bridge: the same target merges. */
static int merge_elements(struct nb_element_list *list, struct nb_error *err)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++) {
		struct nb_element *element = &list->items[i], *before;

		before = kept ? &list->items[kept - 1] : NULL;
		if (!before || nb_element_compare_key(before, element) != 0) {
			list->items[kept++] = *element;
			continue;
		}
		if (!nb_target_equal(&before->target, &element->target)) {
			char ours[NB_TARGET_SIZE], theirs[NB_TARGET_SIZE];
			int r = nb_error_set(
				err, NB_STATUS_FAILED, EEXIST, "conflict",
				"two networks on bridge %s map port %u/%s to different "
				"targets, %s and %s: remove one of them",
				element->bridge, element->port, nb_protocol_name(element->protocol),
				nb_target_format(&before->target, ours),
				nb_target_format(&element->target, theirs));

			/* keep the list whole for its destructor */
			memmove(&list->items[kept], element,
				(list->count - i) * sizeof(*list->items));
			list->count = kept + list->count - i;
			return r;
		}
		merge_lives(before, element);
		free(element->comment);
	}
	list->count = kept;
	return 0;
}

static void keep_counts(struct nb_element *element, const struct nb_element_list *list)
{
	const struct nb_element *old = nb_element_find_exact(list, element);

	element->packets = old ? old->packets : 0;
	element->bytes = old ? old->bytes : 0;
}

/* The wanted elements and bridges: desired, and of the pending ones what is there already. */
static int collect_wanted(struct planner *p, struct nb_error *err)
{
	const struct nb_desired *desired = p->desired;
	struct nb_plan *plan = p->plan;
	int r;

	for (size_t i = 0; i < desired->elements.count; i++)
		if (nb_element_list_append(&plan->elements, &desired->elements.items[i]) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < desired->bridges.count; i++) {
		struct nb_bridge *bridge = nb_bridge_put(&plan->bridges,
							 desired->bridges.items[i].name);

		if (!bridge)
			return -ENOMEM;
		*bridge = desired->bridges.items[i];
	}
	for (size_t i = 0; i < desired->pending.count; i++) {
		const struct nb_element *pending = &desired->pending.items[i];
		const struct nb_element *there = nb_element_find(&p->state->targets, pending);
		const struct nb_bridge *old;
		struct nb_bridge *bridge;

		if (!there || !nb_target_equal(&there->target, &pending->target))
			continue;
		bridge = nb_bridge_put(&plan->bridges, pending->bridge);
		if (!bridge || nb_element_list_append(&plan->elements, there) < 0)
			return -ENOMEM;
		old = nb_bridge_find(&p->state->bridges, pending->bridge);
		if (old)
			nb_comment_add_networks(bridge->comment, old->comment);
	}
	for (size_t i = 0; i < desired->pending_bridges.count; i++) {
		const char *name = desired->pending_bridges.items[i].name;
		const struct nb_bridge *old = nb_bridge_find(&p->state->bridges, name);
		struct nb_bridge *bridge;

		if (!old || p->state->table != NB_TABLE_SOUND)
			continue;
		bridge = nb_bridge_put(&plan->bridges, name);
		if (!bridge)
			return -ENOMEM;
		nb_comment_add_networks(bridge->comment, old->comment);
	}
	nb_element_list_sort(&plan->elements);
	r = merge_elements(&plan->elements, err);
	if (r < 0)
		return r;

	/* what is made anew keeps the counts, each set its own */
	for (size_t i = 0; i < plan->elements.count; i++)
		keep_counts(&plan->elements.items[i], &p->state->targets);
	for (size_t i = 0; p->state->accepted.count && i < plan->elements.count; i++) {
		if (nb_element_list_append(&plan->counted, &plan->elements.items[i]) < 0)
			return -ENOMEM;
		keep_counts(&plan->counted.items[i], &p->state->accepted);
	}
	return 0;
}

/*
 * The value to restore one day. The tag knows it; without a tag of ours, a
 * bridge that is guarded already has it in its comment, where nothing means 0: there
 * route_localnet may be our own doing. Otherwise it is what it is now.
 */
static uint32_t previous_of(const struct planner *p, const struct nb_link *link)
{
	const struct nb_bridge *old = nb_bridge_find(&p->state->bridges, link->name);
	uint32_t said = old ? nb_comment_previous(old->comment) : 0;

	if (nb_link_is_tagged(link)) {
		/* the tag has room for 16 bits; the comment keeps a larger value whole */
		if (said > NB_TAG_PREVIOUS && ((said ^ link->tag) & NB_TAG_PREVIOUS) == 0)
			return said;
		return link->tag & NB_TAG_PREVIOUS;
	}
	if (!old)
		return link->route_localnet;
	/* no tag at all: it may be another device of that name, on whose account nothing is opened */
	return link->tag == 0 && link->route_localnet == 0 ? 0 : said;
}

/* Comments of the wanted bridges: the networks, and what the device cannot remember alone. */
static void word_comments(struct planner *p)
{
	for (size_t i = 0; i < p->plan->bridges.count; i++) {
		struct nb_bridge *bridge = &p->plan->bridges.items[i];
		const struct nb_bridge *old = nb_bridge_find(&p->state->bridges, bridge->name);
		const struct nb_link *link = nb_link_find(&p->state->links, bridge->name);
		uint32_t previous;

		if (p->state->partial && old)
			nb_comment_add_networks(bridge->comment, old->comment);
		if (!link) {
			if (old && nb_comment_says_previous(old->comment))
				nb_comment_set_previous(bridge->comment,
							nb_comment_previous(old->comment));
			continue;
		}
		previous = previous_of(p, link);
		if (previous != 0)
			nb_comment_set_previous(bridge->comment, previous);
	}
}

static void plan_table(struct planner *p)
{
	const struct nb_state *state = p->state;
	struct nb_plan *plan = p->plan;

	switch (state->table) {
	case NB_TABLE_ABSENT:
		if (plan->bridges.count == 0)
			return;
		find(p, NB_DRIFT_TABLE, NULL, "table inet %s is missing", NB_TABLE_NAME);
		break;
	case NB_TABLE_DAMAGED:
		find(p, NB_DRIFT_TABLE, NULL, "table inet %s is damaged: %s", NB_TABLE_NAME,
		     state->damage);
		break;
	case NB_TABLE_OLDER:
		find(p, NB_DRIFT_TABLE, NULL, "table inet %s is of an older version: %s",
		     NB_TABLE_NAME, state->damage);
		break;
	default:
		return;
	}
	p->replace = true;

	/* every device that may be open gets its guard at once, wanted or not */
	for (size_t i = 0; i < plan->bridges.count; i++) {
		struct nb_bridge *guard = nb_bridge_put(&p->guards, plan->bridges.items[i].name);

		if (!guard)
			goto no_memory;
		*guard = plan->bridges.items[i];
	}
	for (size_t i = 0; exists(p) && i < state->links.count; i++) {
		const struct nb_link *link = &state->links.items[i];
		const struct nb_bridge *old = nb_bridge_find(&state->bridges, link->name);
		struct nb_bridge *guard;

		if (!old && !nb_link_is_tagged(link))
			continue;
		if (nb_bridge_find(&p->guards, link->name))
			continue;
		guard = nb_bridge_put(&p->guards, link->name);
		if (!guard)
			goto no_memory;
		if (old)
			*guard = *old;
	}
	if (exists(p) && p->guards.count == 0) {
		/* nothing to protect: the second batch deletes it */
		p->replace = false;
		return;
	}
	if (exists(p))
		add_op(p, &plan->first, (struct nb_op){ .kind = NB_OP_TABLE_DELETE });
	add_op(p, &plan->first, (struct nb_op){ .kind = NB_OP_TABLE_CREATE });
	for (size_t i = 0; i < p->guards.count; i++)
		add_op(p, &plan->first,
		       (struct nb_op){ .kind = NB_OP_BRIDGE_ADD, .bridge = &p->guards.items[i] });
	return;
no_memory:
	p->failed = true;
}

static void plan_bridges(struct planner *p)
{
	for (size_t i = 0; !p->replace && i < p->plan->bridges.count; i++) {
		const struct nb_bridge *bridge = &p->plan->bridges.items[i];
		const struct nb_bridge *old = nb_bridge_find(&p->state->bridges, bridge->name);
		struct nb_op op = { .kind = NB_OP_BRIDGE_DELETE, .bridge = bridge };

		if (old && nb_comment_equal(old->comment, bridge->comment))
			continue;
		if (old) {
			find(p, NB_DRIFT_LEFT, bridge->name,
			     "set bridges has another comment for %s", bridge->name);
			add_op(p, &p->plan->first, op);
		} else {
			find(p, NB_DRIFT_GUARD, bridge->name,
			     "bridge %s is not guarded: it is not in set bridges", bridge->name);
		}
		op.kind = NB_OP_BRIDGE_ADD;
		add_op(p, &p->plan->first, op);
	}
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* Walks two sorted lists; deletions come before additions, set by set, to fill messages. */
struct difference {
	const struct nb_element_list *have;
	const struct nb_element_list *want;
	int (*compare)(const struct nb_element *, const struct nb_element *);
	const char *set;
	enum nb_op_kind add;
	enum nb_op_kind delete;
};

static bool is_same(const struct difference *d, const struct nb_element *have,
		    const struct nb_element *want)
{
	return nb_target_equal(&have->target, &want->target) &&
	       nb_element_same_expiry(have, want) &&
	       (d->delete != NB_OP_TARGET_DELETE || same_text(have->comment, want->comment));
}

static void word_mapping(struct planner *p, const struct difference *d,
			 const struct nb_element *have, const struct nb_element *want)
{
	const struct nb_element *one = want ? want : have;
	char ours[NB_TARGET_SIZE], theirs[NB_TARGET_SIZE];
	const char *protocol;

	/* of a damaged table the damage is said, not each mapping */
	if (!one || !p->explain || (p->replace && exists(p)))
		return;
	protocol = nb_protocol_name(one->protocol);
	if (!have && !nb_element_find_exact(&p->state->targets, want) &&
	    !nb_element_find_exact(&p->state->accepted, want)) {
		/* said once, not for each set */
		if (d->delete == NB_OP_TARGET_DELETE)
			find(p, NB_DRIFT_MAPPING, one->bridge, "mapping %s %u/%s to %s is missing",
			     one->bridge, one->port, protocol,
			     nb_target_format(&one->target, ours));
	} else if (!have)
		find(p, NB_DRIFT_MAPPING, one->bridge, "mapping %s %u/%s to %s is missing in %s",
		     one->bridge, one->port, protocol, nb_target_format(&one->target, ours),
		     d->set);
	else if (!want)
		find(p, NB_DRIFT_LEFT, one->bridge,
		     "%s has a mapping that nothing asks for: %s %u/%s to %s", d->set, one->bridge,
		     one->port, protocol, nb_target_format(&one->target, theirs));
	else if (!nb_target_equal(&have->target, &want->target))
		find(p, NB_DRIFT_MAPPING, one->bridge, "%s sends %s %u/%s to %s instead of %s",
		     d->set, one->bridge, one->port, protocol,
		     nb_target_format(&have->target, theirs),
		     nb_target_format(&want->target, ours));
	else if (!nb_element_same_expiry(have, want))
		find(p, NB_DRIFT_MAPPING, one->bridge, "%s has another expiry for %s %u/%s", d->set,
		     one->bridge, one->port, protocol);
	else
		find(p, NB_DRIFT_LEFT, one->bridge, "%s has another mark for %s %u/%s", d->set,
		     one->bridge, one->port, protocol);
}

static void word_difference(struct planner *p, const struct difference *d,
			    const struct nb_element *have, const struct nb_element *want)
{
	const struct nb_element *one = want ? want : have;
	size_t before = p->plan->finding_count;

	word_mapping(p, d, have, want);
	for (size_t i = before; one && i < p->plan->finding_count; i++) {
		p->plan->findings[i].port = one->port;
		p->plan->findings[i].protocol = one->protocol;
	}
}

static void plan_set(struct planner *p, const struct difference *d, bool deletions)
{
	const struct nb_element_list *want = d->want;
	size_t i = 0, j = 0;

	while (i < d->have->count || j < want->count) {
		const struct nb_element *have = i < d->have->count ? &d->have->items[i] : NULL;
		const struct nb_element *wanted = j < want->count ? &want->items[j] : NULL;
		int order = !have ? 1 : !wanted ? -1 : d->compare(have, wanted);

		if (order <= 0)
			i++;
		else
			have = NULL;
		if (order >= 0)
			j++;
		else
			wanted = NULL;
		if (have && wanted && is_same(d, have, wanted))
			continue;
		if (deletions) {
			if (have && !p->replace)
				add_element_op(p, d->delete, have);
			word_difference(p, d, have, wanted);
		} else if (wanted) {
			add_element_op(p, d->add, wanted);
		}
	}
}

static void plan_elements(struct planner *p)
{
	static const struct nb_element_list nothing;
	const struct difference targets = {
		.have = p->replace ? &nothing : &p->state->targets,
		.want = &p->plan->elements,
		.compare = nb_element_compare_key,
		.set = "targets",
		.add = NB_OP_TARGET_ADD,
		.delete = NB_OP_TARGET_DELETE,
	};
	const struct difference accepted = {
		.have = p->replace ? &nothing : &p->state->accepted,
		.want = p->plan->counted.count ? &p->plan->counted : &p->plan->elements,
		.compare = nb_element_compare,
		.set = "accepted",
		.add = NB_OP_ACCEPTED_ADD,
		.delete = NB_OP_ACCEPTED_DELETE,
	};

	/* without a sound table there is nothing to take elements from */
	if (!p->replace && p->state->table != NB_TABLE_SOUND)
		return;
	plan_set(p, &targets, true);
	plan_set(p, &accepted, true);
	plan_set(p, &targets, false);
	plan_set(p, &accepted, false);
}

static void plan_flows(struct planner *p)
{
	const struct nb_state *state = p->state;
	struct nb_plan *plan = p->plan;

	for (size_t i = 0; i < plan->elements.count; i++) {
		const struct nb_element *element = &plan->elements.items[i];

		if (element->protocol == IPPROTO_UDP &&
		    !nb_element_find_exact(&state->targets, element))
			add_match(p, &plan->started, &plan->started_count, element);
	}
	for (size_t i = 0; i < state->targets.count; i++)
		if (!nb_element_find_exact(&plan->elements, &state->targets.items[i]))
			add_match(p, &plan->ended, &plan->ended_count, &state->targets.items[i]);
	for (size_t i = 0; i < state->accepted.count; i++) {
		const struct nb_element *element = &state->accepted.items[i];

		if (!nb_element_find_exact(&plan->elements, element) &&
		    !nb_element_find_exact(&state->targets, element))
			add_match(p, &plan->ended, &plan->ended_count, element);
	}
}

static void plan_unfinished_flows(struct planner *p)
{
	const struct nb_element_list *ended = &p->desired->ended;

	for (size_t i = 0; i < ended->count; i++)
		if (!nb_element_find_exact(&p->plan->elements, &ended->items[i]) &&
		    !nb_element_find_exact(&p->state->targets, &ended->items[i]))
			add_match(p, &p->plan->ended, &p->plan->ended_count, &ended->items[i]);
}

static void spare(struct planner *p, const struct nb_link *link, const struct nb_element_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].bridge, link->name) == 0)
			add_match(p, &p->plan->kept, &p->plan->kept_count, &list->items[i]);
}

/* All flows of a bridge end, but those of what is asked for there. */
static void sweep(struct planner *p, const struct nb_link *link)
{
	const struct nb_flow_match all = { .ifindex = link->index };

	push_match(p, &p->plan->ended, &p->plan->ended_count, &all);
	spare(p, link, &p->plan->elements);
	spare(p, link, &p->desired->spared);
}

/*
 * A bridge that loses a guard, or had none for a while. Flows of mappings whose elements are gone
 * already (over, flushed) are held back by the guard alone, and nothing else remembers them.
 */
static void plan_sweeps(struct planner *p)
{
	const struct nb_state *state = p->state;

	if (!p->desired->complete || state->partial)
		return;
	for (size_t i = 0; i < state->links.count; i++) {
		const struct nb_link *link = &state->links.items[i];
		bool wanted = nb_bridge_find(&p->plan->bridges, link->name) != NULL;
		bool guarded = is_guarded(p, link->name);

		if ((nb_link_is_tagged(link) && !guarded) ||
		    (!wanted &&
		     (link->ingress.priority || nb_bridge_find(&state->bridges, link->name))))
			sweep(p, link);
	}
}

static void add_opener_op(struct planner *p, struct nb_op_list *list,
			  const struct nb_input_chain *chain, uint64_t handle)
{
	add_op(p, list,
	       (struct nb_op){
		       .kind = handle ? NB_OP_OPENER_DELETE : NB_OP_OPENER_INSERT,
		       .opener = { .chain = chain, .handle = handle },
	       });
}

static const char *family_of(const struct nb_input_chain *chain)
{
	return chain->family == 2 /* NFPROTO_IPV4 */ ? "ip" : "inet";
}

static void plan_openers(struct planner *p)
{
	bool wanted = p->plan->bridges.count > 0;
	struct nb_op_list *list = wanted ? &p->plan->first : &p->plan->second;

	if (!wanted && p->state->partial)
		return;
	for (size_t i = 0; i < p->state->chain_count; i++) {
		const struct nb_input_chain *chain = &p->state->chains[i];
		const char *family = family_of(chain);

		/* nobody else may change it; nb_firewall_advise() tells what that means */
		if (chain->owned)
			continue;
		if (wanted && chain->can_drop && !chain->keep) {
			find(p, NB_DRIFT_OPENER, NULL, "opener is missing in chain %s %s %s",
			     family, chain->table, chain->name);
			add_opener_op(p, list, chain, 0);
		}
		for (size_t j = 0; j < chain->extra_count; j++) {
			find(p, NB_DRIFT_OPENER, NULL,
			     "opener is doubled, misplaced or outdated in chain %s %s %s", family,
			     chain->table, chain->name);
			add_opener_op(p, list, chain, chain->extra[j]);
		}
		if (!wanted && chain->keep) {
			find(p, NB_DRIFT_LEFT, NULL, "opener is left over in chain %s %s %s",
			     family, chain->table, chain->name);
			add_opener_op(p, list, chain, chain->keep);
		}
	}
}

static void plan_wanted_link(struct planner *p, const struct nb_link *link)
{
	struct nb_plan *plan = p->plan;
	uint32_t tag = NB_TAG_MAGIC | (previous_of(p, link) & NB_TAG_PREVIOUS);
	bool foreign_tag = link->tag != 0 && !nb_link_is_tagged(link);
	/* the first step takes the tag away; this one puts it back */
	bool closed = nb_link_is_tagged(link) && !is_guarded(p, link->name);
	bool untagged = !foreign_tag && (closed || link->tag != tag);

	if (foreign_tag)
		nb_warn(p->warnings,
			"device %s has a tag of another program (0x%x): it stays, and the previous "
			"route_localnet is kept in table inet %s only",
			link->name, link->tag, NB_TABLE_NAME);
	if (link->route_localnet == 1 && !untagged)
		return;
	if (!closed && link->route_localnet != 1)
		find(p, NB_DRIFT_ROUTE, link->name, "route_localnet of %s is %u instead of 1",
		     link->name, link->route_localnet);
	else if (!closed)
		find(p, NB_DRIFT_ROUTE, link->name, "the tag of %s is missing", link->name);
	add_link_step(p, &plan->enable, &plan->enable_count, link, 1, untagged, tag);
}

/* The other guard, which a flush of nf_tables leaves; see ingress.h. */
static void plan_ingress(struct planner *p)
{
	const struct nb_state *state = p->state;
	struct nb_plan *plan = p->plan;

	for (size_t i = 0; i < state->links.count; i++) {
		const struct nb_link *link = &state->links.items[i];
		const struct nb_ingress *ingress = &link->ingress;

		if (!nb_bridge_find(&plan->bridges, link->name)) {
			if ((ingress->priority == 0 && !ingress->own_qdisc) || state->partial)
				continue;
			/* what it holds back is not known: `apply` knows */
			if (!p->desired->complete && !nb_bridge_find(&state->bridges, link->name))
				continue;
			if (!nb_bridge_find(&state->bridges, link->name))
				find(p, NB_DRIFT_LEFT, link->name,
				     "the ingress %s of %s is left over",
				     ingress->priority ? "filter" : "qdisc", link->name);
			add_ingress_step(p, &plan->detach, &plan->detach_count, link);
			continue;
		}
		if (ingress->current || state->ingress != NB_INGRESS_POSSIBLE ||
		    !nb_element_list_has_bridge(&plan->elements, link->name))
			continue;
		/* of a bridge that is not guarded at all that is said */
		if (is_guarded(p, link->name))
			find(p, NB_DRIFT_GUARD, link->name, "the ingress filter of %s is %s",
			     link->name,
			     ingress->priority ? "of another version or for another mark"
					       : "missing");
		add_ingress_step(p, &plan->attach, &plan->attach_count, link);
	}
}

static void plan_links(struct planner *p)
{
	const struct nb_state *state = p->state;
	struct nb_plan *plan = p->plan;

	for (size_t i = 0; i < state->links.count; i++) {
		const struct nb_link *link = &state->links.items[i];
		bool wanted = nb_bridge_find(&plan->bridges, link->name) != NULL;
		bool tagged = nb_link_is_tagged(link);
		uint32_t previous = previous_of(p, link);

		if (tagged && !is_guarded(p, link->name)) {
			find(p, NB_DRIFT_GUARD, link->name, "device %s is tagged, but %s",
			     link->name,
			     link->ingress.current ? "only the filter at its ingress guards it"
						   : "no guard protects it");
			add_link_step(p, &plan->close, &plan->close_count, link, previous, true, 0);
		}
		if (wanted) {
			/* a guard that may stay needs no way in */
			if (nb_element_list_has_bridge(&plan->elements, link->name))
				plan_wanted_link(p, link);
			continue;
		}
		if (state->partial || !is_guarded(p, link->name))
			continue;
		if (tagged)
			add_link_step(p, &plan->restore, &plan->restore_count, link, previous, true,
				      0);
		else if (nb_bridge_find(&state->bridges, link->name) &&
			 link->route_localnet != previous)
			add_link_step(p, &plan->restore, &plan->restore_count, link, previous,
				      false, 0);
	}
}

static void plan_second(struct planner *p)
{
	const struct nb_bridge_list *have = p->replace ? &p->guards : &p->state->bridges;
	struct nb_plan *plan = p->plan;

	if (p->state->partial)
		return;
	if (plan->bridges.count == 0) {
		if (!exists(p))
			return;
		if (p->state->table == NB_TABLE_SOUND)
			find(p, NB_DRIFT_LEFT, NULL, "table inet %s is left over", NB_TABLE_NAME);
		add_op(p, &plan->second, (struct nb_op){ .kind = NB_OP_TABLE_DELETE });
		return;
	}
	for (size_t i = 0; i < have->count; i++) {
		const struct nb_bridge *bridge = &have->items[i];

		if (nb_bridge_find(&plan->bridges, bridge->name))
			continue;
		find(p, NB_DRIFT_LEFT, bridge->name, "set bridges guards %s, which has no mapping",
		     bridge->name);
		add_op(p, &plan->second,
		       (struct nb_op){ .kind = NB_OP_BRIDGE_DELETE, .bridge = bridge });
	}
}

int nb_plan_refuse_newer(const struct nb_state *state, struct nb_error *err)
{
	return nb_error_set(
		err, NB_STATUS_FAILED, 0, "newer-schema",
		"table inet %s was made by a newer nat-bridge (%s): nothing was touched; "
		"use that version",
		NB_TABLE_NAME, state->damage);
}

int nb_plan_make(const struct nb_desired *desired, const struct nb_state *state, bool explain,
		 struct nb_plan *ret, struct nb_warnings *warnings, struct nb_error *err)
{
	struct planner p = {
		.desired = desired,
		.state = state,
		.plan = ret,
		.warnings = warnings,
		.explain = explain,
	};
	int r;

	memset(ret, 0, sizeof(*ret));
	if (state->table == NB_TABLE_NEWER)
		return nb_plan_refuse_newer(state, err);
	r = collect_wanted(&p, err);
	if (r < 0 && r != -ENOMEM)
		return r;
	p.failed = r < 0;
	if (!p.failed) {
		word_comments(&p);
		plan_table(&p);
		plan_bridges(&p);
		plan_elements(&p);
		plan_flows(&p);
		plan_unfinished_flows(&p);
		plan_sweeps(&p);
		plan_openers(&p);
		plan_links(&p);
		plan_ingress(&p);
		plan_second(&p);
	}
	ret->guards = p.guards;
	if (p.failed)
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	return 0;
}

static const struct nb_link *find_link(const struct nb_state *state, int ifindex)
{
	for (size_t i = 0; i < state->links.count; i++)
		if (state->links.items[i].index == ifindex)
			return &state->links.items[i];
	return NULL;
}

static bool is_wanted(const struct nb_plan *plan, const struct nb_link *link,
		      const struct nb_flow_match *match)
{
	struct nb_element key = {
		.target = match->target,
		.port = match->port,
		.protocol = match->protocol,
	};

	memcpy(key.bridge, link->name, sizeof(key.bridge));
	return nb_element_find_exact(&plan->elements, &key) != NULL;
}

int nb_plan_carry_ended(struct nb_plan *plan, const struct nb_desired *desired,
			const struct nb_state *state, const struct nb_plan *earlier)
{
	struct planner p = { .desired = desired, .state = state, .plan = plan };

	for (size_t i = 0; i < earlier->ended_count; i++) {
		const struct nb_flow_match *match = &earlier->ended[i];
		const struct nb_link *link = find_link(state, match->ifindex);

		if (link && match->protocol == 0)
			sweep(&p, link);
		else if (!link || !is_wanted(plan, link, match))
			push_match(&p, &plan->ended, &plan->ended_count, match);
	}
	return p.failed ? -ENOMEM : 0;
}

bool nb_plan_changes(const struct nb_plan *plan)
{
	return plan->close_count || plan->first.count || plan->attach_count || plan->enable_count ||
	       plan->restore_count || plan->detach_count || plan->second.count;
}

bool nb_plan_is_empty(const struct nb_plan *plan)
{
	return !nb_plan_changes(plan) && plan->ended_count == 0;
}

void nb_plan_clear(struct nb_plan *plan)
{
	free(plan->close);
	free(plan->first.items);
	free(plan->attach);
	free(plan->enable);
	free(plan->started);
	free(plan->ended);
	free(plan->kept);
	free(plan->restore);
	free(plan->detach);
	free(plan->second.items);
	free(plan->findings);
	nb_element_list_clear(&plan->elements);
	nb_element_list_clear(&plan->counted);
	nb_bridge_list_clear(&plan->bridges);
	nb_bridge_list_clear(&plan->guards);
	memset(plan, 0, sizeof(*plan));
}
