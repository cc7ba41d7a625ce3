/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "world.h"

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct nb_link *)a)->name, ((const struct nb_link *)b)->name);
}

void has_link(struct world *world, const char *name, int index, uint32_t route_localnet,
	      uint32_t tag)
{
	struct nb_link_list *list = &world->state.links;
	struct nb_link *link;

	list->items = realloc(list->items, (list->count + 1) * sizeof(*link));
	ck_assert_ptr_nonnull(list->items);
	link = &list->items[list->count++];
	memset(link, 0, sizeof(*link));
	link->index = index;
	snprintf(link->name, sizeof(link->name), "%s", name);
	strcpy(link->kind, "bridge");
	link->route_localnet = route_localnet;
	link->tag = tag;
	qsort(list->items, list->count, sizeof(*link), by_name);
}

void has_bridge(struct world *world, const char *name, const char *comment)
{
	struct nb_bridge *bridge = nb_bridge_put(&world->state.bridges, name);

	ck_assert_ptr_nonnull(bridge);
	snprintf(bridge->comment, sizeof(bridge->comment), "%s", comment);
}

static void put(struct nb_element_list *list, const char *bridge, int protocol, unsigned int port,
		unsigned int target)
{
	struct nb_element element = {
		.protocol = (uint8_t)protocol,
		.port = (uint16_t)port,
		.target = { INADDR_LOOPBACK, (uint16_t)target },
	};

	snprintf(element.bridge, sizeof(element.bridge), "%s", bridge);
	ck_assert_int_eq(nb_element_list_append(list, &element), 0);
}

void has_target(struct world *world, const char *bridge, int protocol, unsigned int port,
		unsigned int target)
{
	put(&world->state.targets, bridge, protocol, port, target);
}

void has_accepted(struct world *world, const char *bridge, int protocol, unsigned int port,
		  unsigned int target)
{
	put(&world->state.accepted, bridge, protocol, port, target);
}

void has_mapping(struct world *world, const char *bridge, int protocol, unsigned int port,
		 unsigned int target)
{
	has_target(world, bridge, protocol, port, target);
	has_accepted(world, bridge, protocol, port, target);
}

struct nb_element *last(struct nb_element_list *list)
{
	return &list->items[list->count - 1];
}

struct nb_input_chain *has_chain(struct world *world, uint8_t family, const char *table,
				 const char *name, bool can_drop, uint64_t keep)
{
	struct nb_state *state = &world->state;
	struct nb_input_chain *chain;

	state->chains = realloc(state->chains, (state->chain_count + 1) * sizeof(*chain));
	ck_assert_ptr_nonnull(state->chains);
	chain = &state->chains[state->chain_count++];
	memset(chain, 0, sizeof(*chain));
	chain->family = family;
	chain->table = strdup(table);
	chain->name = strdup(name);
	chain->can_drop = can_drop;
	chain->keep = keep;
	return chain;
}

void has_extra(struct nb_input_chain *chain, uint64_t handle)
{
	chain->extra = realloc(chain->extra, (chain->extra_count + 1) * sizeof(*chain->extra));
	ck_assert_ptr_nonnull(chain->extra);
	chain->extra[chain->extra_count++] = handle;
}

void has_usual(struct world *world)
{
	world->state.generation = 7;
	world->state.table = NB_TABLE_SOUND;
	has_link(world, "br0", 3, 1, NB_TAG_MAGIC);
	has_bridge(world, "br0", "iface:br0");
	has_mapping(world, "br0", IPPROTO_TCP, 80, 80);
	has_mapping(world, "br0", IPPROTO_UDP, 53, 53);
}

struct nb_mapping mapping_of(const char *network, int protocol, unsigned int port,
			     unsigned int target)
{
	struct nb_mapping mapping = {
		.protocol = (uint8_t)protocol,
		.port = (uint16_t)port,
		.target = { INADDR_LOOPBACK, (uint16_t)target },
		.enabled = true,
	};

	ck_assert_int_eq(nb_network_parse(network, &mapping.network, NULL), 0);
	return mapping;
}

void wants(struct world *world, const char *bridge, const char *network, int protocol,
	   unsigned int port, unsigned int target)
{
	struct nb_mapping mapping = mapping_of(network, protocol, port, target);

	ck_assert_int_eq(nb_desired_add(&world->desired, bridge, &mapping), 0);
}

void wants_usual(struct world *world)
{
	wants(world, "br0", "iface:br0", IPPROTO_UDP, 53, 53);
	wants(world, "br0", "iface:br0", IPPROTO_TCP, 80, 80);
}

/* Plans as text */

struct text {
	char *buffer;
	size_t size;
	size_t used;
};

static __attribute__((format(printf, 2, 3))) void say(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text->used += (size_t)vsnprintf(text->buffer + text->used, text->size - text->used, format,
					args);
	va_end(args);
	ck_assert_uint_lt(text->used, text->size);
}

static void section(struct text *text, const char *name)
{
	say(text, "%s%s", text->used ? " | " : "", name);
}

static void say_ingress(struct text *text, const char *name, const struct nb_ingress_step *steps,
			size_t count)
{
	if (count)
		section(text, name);
	for (size_t i = 0; i < count; i++)
		say(text, " %s", steps[i].name);
}

static void say_links(struct text *text, const char *name, const struct nb_link_step *steps,
		      size_t count)
{
	if (count)
		section(text, name);
	for (size_t i = 0; i < count; i++) {
		say(text, " %s %u", steps[i].name, steps[i].route_localnet);
		if (steps[i].set_tag)
			say(text, " %x", steps[i].tag);
	}
}

static void say_flows(struct text *text, const char *name, const struct nb_flow_match *matches,
		      size_t count)
{
	if (count)
		section(text, name);
	for (size_t i = 0; i < count; i++)
		say(text, " %d:%u>%u", matches[i].ifindex, matches[i].port, matches[i].target.port);
}

static void say_op(struct text *text, const struct nb_op *op)
{
	static const char *const signs[] = {
		[NB_OP_TABLE_DELETE] = "-table", [NB_OP_TABLE_CREATE] = "+table",
		[NB_OP_BRIDGE_DELETE] = "-B",	 [NB_OP_BRIDGE_ADD] = "+B",
		[NB_OP_TARGET_DELETE] = "-T",	 [NB_OP_TARGET_ADD] = "+T",
		[NB_OP_ACCEPTED_DELETE] = "-A",	 [NB_OP_ACCEPTED_ADD] = "+A",
		[NB_OP_OPENER_DELETE] = "-O",	 [NB_OP_OPENER_INSERT] = "+O",
	};

	say(text, " %s", signs[op->kind]);
	switch (op->kind) {
	case NB_OP_TABLE_DELETE:
	case NB_OP_TABLE_CREATE:
		break;
	case NB_OP_BRIDGE_DELETE:
		say(text, ":%s", op->bridge->name);
		break;
	case NB_OP_BRIDGE_ADD:
		say(text, ":%s(%s)", op->bridge->name, op->bridge->comment);
		break;
	case NB_OP_OPENER_DELETE:
	case NB_OP_OPENER_INSERT:
		say(text, ":%s.%s.%s", op->opener.chain->family == NFPROTO_IPV4 ? "ip" : "inet",
		    op->opener.chain->table, op->opener.chain->name);
		if (op->opener.handle)
			say(text, "#%u", (unsigned int)op->opener.handle);
		break;
	default:
		say(text, ":%s.%s.%u>%u", op->element->bridge,
		    nb_protocol_name(op->element->protocol), op->element->port,
		    op->element->target.port);
	}
}

static void say_ops(struct text *text, const char *name, const struct nb_op_list *ops)
{
	if (ops->count)
		section(text, name);
	for (size_t i = 0; i < ops->count; i++)
		say_op(text, &ops->items[i]);
}

const char *plan_text(const struct nb_plan *plan, char *buffer, size_t size)
{
	struct text text = { .buffer = buffer, .size = size };

	buffer[0] = '\0';
	say_links(&text, "close", plan->close, plan->close_count);
	say_ops(&text, "first", &plan->first);
	say_ingress(&text, "attach", plan->attach, plan->attach_count);
	say_links(&text, "enable", plan->enable, plan->enable_count);
	say_flows(&text, "started", plan->started, plan->started_count);
	say_flows(&text, "ended", plan->ended, plan->ended_count);
	say_links(&text, "restore", plan->restore, plan->restore_count);
	say_ingress(&text, "detach", plan->detach, plan->detach_count);
	say_ops(&text, "second", &plan->second);
	return buffer;
}

static void make(struct world *world)
{
	nb_element_list_sort(&world->state.targets);
	nb_element_list_sort(&world->state.accepted);
	world->desired.complete = true;
	nb_desired_finish(&world->desired);
	nb_plan_clear(&world->plan);
	ck_assert_msg(nb_plan_make(&world->desired, &world->state, world->explain, &world->plan,
				   &world->warnings, &world->err) == 0,
		      "%s", world->err.message);
}

const char *planned(struct world *world)
{
	make(world);
	if (!world->explain)
		ck_assert_uint_eq(world->plan.finding_count, 0);
	return plan_text(&world->plan, world->text, sizeof(world->text));
}

const char *findings(struct world *world)
{
	struct text text = { .buffer = world->text, .size = sizeof(world->text) };

	world->explain = true;
	make(world);
	world->text[0] = '\0';
	for (size_t i = 0; i < world->plan.finding_count; i++) {
		const struct nb_finding *finding = &world->plan.findings[i];

		ck_assert_str_eq(finding->mend, "nat-bridge apply");
		say(&text, "%s [%s]\n", finding->what, finding->network);
	}
	return world->text;
}

void world_clear(struct world *world)
{
	nb_plan_clear(&world->plan);
	nb_desired_clear(&world->desired);
	nb_state_clear(&world->state);
	nb_warnings_clear(&world->warnings);
	memset(world, 0, sizeof(*world));
}
