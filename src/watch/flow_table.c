/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flows by their tuple: the C library's tree, and a list to walk along. */
#include "flow_table.h"

#include <search.h>
#include <stdlib.h>

static int compare_numbers(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

/*
 * In one zone a tuple has one entry at a time. Its id is no help: the next one of that tuple may
 * get the same.
 */
static int compare(const void *a, const void *b)
{
	const struct nb_conntrack *left = a, *right = b;
	int order = compare_numbers(left->original.source_port, right->original.source_port);

	if (order == 0)
		order = compare_numbers(left->original.source, right->original.source);
	if (order == 0)
		order = compare_numbers(left->original.destination_port,
					right->original.destination_port);
	if (order == 0)
		order = compare_numbers(left->original.destination, right->original.destination);
	if (order == 0)
		order = compare_numbers(left->protocol, right->protocol);
	if (order == 0)
		order = compare_numbers(left->zone_scope, right->zone_scope);
	if (order == 0)
		order = compare_numbers(left->zone, right->zone);
	return order;
}

struct nb_target nb_flow_target(const struct nb_conntrack *entry)
{
	return (struct nb_target){
		.address = entry->reply.source,
		.port = entry->reply.source_port,
	};
}

struct nb_flow *nb_flow_table_find(const struct nb_flow_table *table,
				   const struct nb_conntrack *entry)
{
	/* the entry is a flow's first member */
	void *found = tfind(entry, &table->tree, compare);

	return found ? *(struct nb_flow **)found : NULL;
}

struct nb_flow *nb_flow_table_add(struct nb_flow_table *table, const struct nb_conntrack *entry,
				  struct nb_origin *origin)
{
	struct nb_flow *flow = calloc(1, sizeof(*flow));

	if (!flow)
		return NULL;
	flow->entry = *entry;
	if (!tsearch(flow, &table->tree, compare)) {
		free(flow);
		return NULL;
	}
	flow->origin = origin;
	origin->flows++;
	flow->next = table->first;
	if (flow->next)
		flow->next->previous = flow;
	table->first = flow;
	table->count++;
	return flow;
}

/* Free those that nothing needs. */
static void sweep_origins(struct nb_flow_table *table)
{
	struct nb_origin **at = &table->origins;

	while (*at) {
		struct nb_origin *origin = *at;

		if (origin->current || origin->flows) {
			at = &origin->next;
			continue;
		}
		*at = origin->next;
		free(origin);
		table->origin_count--;
	}
}

void nb_flow_table_remove(struct nb_flow_table *table, struct nb_flow *flow)
{
	struct nb_origin *origin = flow->origin;

	(void)tdelete(flow, &table->tree, compare);
	if (flow->previous)
		flow->previous->next = flow->next;
	else
		table->first = flow->next;
	if (flow->next)
		flow->next->previous = flow->previous;
	table->count--;
	free(flow);
	if (--origin->flows == 0 && !origin->current)
		sweep_origins(table);
}

void nb_flow_table_clear(struct nb_flow_table *table)
{
	while (table->first)
		nb_flow_table_remove(table, table->first);
	nb_flow_table_forget_origins(table);
}

struct nb_origin *nb_flow_table_origin(struct nb_flow_table *table, uint32_t address)
{
	for (struct nb_origin **at = &table->origins; *at; at = &(*at)->next) {
		struct nb_origin *origin = *at;

		if (origin->address != address || !origin->current)
			continue;
		/* the one who dialled last is likely to be the next */
		*at = origin->next;
		origin->next = table->origins;
		table->origins = origin;
		return origin;
	}
	return NULL;
}

struct nb_origin *nb_flow_table_add_origin(struct nb_flow_table *table, uint32_t address)
{
	struct nb_origin *origin = calloc(1, sizeof(*origin));

	if (!origin)
		return NULL;
	if (table->origin_count >= NB_ORIGINS_MAX)
		nb_flow_table_forget_origins(table);
	table->origin_count++;
	origin->address = address;
	origin->current = true;
	origin->next = table->origins;
	table->origins = origin;
	return origin;
}

void nb_flow_table_forget_origins(struct nb_flow_table *table)
{
	for (struct nb_origin *origin = table->origins; origin; origin = origin->next)
		origin->current = false;
	sweep_origins(table);
}
