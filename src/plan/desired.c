/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The desired state of the kernel, built from mappings or from what is there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nat-bridge/plan.h"

/*
 * The kernel counts a timeout in 64 bits of nanoseconds, which is 584 years, and refuses more.
 * A time behind this one (the year 2286) is how people write "for ever".
 */
#define UNTIL_FOREVER INT64_C(10000000000)

static int put(struct nb_element_list *elements, struct nb_bridge_list *bridges, const char *name,
	       const struct nb_mapping *mapping)
{
	char comment[NB_ELEMENT_COMMENT];
	struct nb_bridge *bridge = nb_bridge_put(bridges, name);
	struct nb_element element = {
		.target = mapping->target,
		.port = mapping->port,
		.protocol = mapping->protocol,
		.expires = mapping->until < UNTIL_FOREVER ? mapping->until * 1000 : 0,
	};

	if (!bridge)
		return -ENOMEM;
	nb_comment_add_network(bridge->comment, &mapping->network);
	strncpy(element.bridge, name, sizeof(element.bridge) - 1);
	if (mapping->runtime) {
		nb_comment_runtime(&mapping->network, mapping->external, comment);
		element.comment = comment;
	}
	return nb_element_list_append(elements, &element);
}

int nb_desired_add(struct nb_desired *desired, const char *bridge, const struct nb_mapping *mapping)
{
	return put(&desired->elements, &desired->bridges, bridge, mapping);
}

int nb_desired_add_pending(struct nb_desired *desired, const char *bridge,
			   const struct nb_mapping *mapping)
{
	return put(&desired->pending, &desired->pending_bridges, bridge, mapping);
}

int nb_desired_tolerate(struct nb_desired *desired, const char *bridge)
{
	return nb_bridge_put(&desired->pending_bridges, bridge) ? 0 : -ENOMEM;
}

int nb_desired_from_state(struct nb_desired *desired, const struct nb_state *state,
			  bool bare_bridges)
{
	for (size_t i = 0; i < state->targets.count; i++) {
		const struct nb_element *element = &state->targets.items[i];
		const struct nb_bridge *old = nb_bridge_find(&state->bridges, element->bridge);
		struct nb_bridge *bridge = nb_bridge_put(&desired->bridges, element->bridge);

		if (!bridge || nb_element_list_append(&desired->elements, element) < 0)
			return -ENOMEM;
		if (old && !bridge->comment[0])
			nb_comment_add_networks(bridge->comment, old->comment);
	}
	for (size_t i = 0; bare_bridges && i < state->bridges.count; i++) {
		const struct nb_bridge *old = &state->bridges.items[i];
		struct nb_bridge *bridge = nb_bridge_put(&desired->bridges, old->name);

		if (!bridge)
			return -ENOMEM;
		if (!bridge->comment[0])
			nb_comment_add_networks(bridge->comment, old->comment);
	}
	return 0;
}

void nb_desired_drop(struct nb_desired *desired, const struct nb_element_list *keys)
{
	struct nb_element_list *list = &desired->elements;
	struct nb_bridge_list *bridges = &desired->bridges;
	size_t kept = 0;

	nb_element_list_sort(list);
	for (size_t i = 0; i < list->count; i++) {
		if (nb_element_find(keys, &list->items[i]))
			free(list->items[i].comment);
		else
			list->items[kept++] = list->items[i];
	}
	list->count = kept;

	kept = 0;
	for (size_t i = 0; i < bridges->count; i++) {
		const char *name = bridges->items[i].name;

		if (nb_element_list_has_bridge(list, name) ||
		    !nb_element_list_has_bridge(keys, name))
			bridges->items[kept++] = bridges->items[i];
	}
	bridges->count = kept;
}

void nb_desired_finish(struct nb_desired *desired)
{
	nb_element_list_sort(&desired->elements);
	nb_element_list_sort(&desired->pending);
}

static uint64_t mix(uint64_t digest, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		digest = (digest ^ bytes[i]) * UINT64_C(0x100000001b3);
	return digest;
}

static uint64_t mix_elements(uint64_t digest, const struct nb_element_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct nb_element *element = &list->items[i];
		const char *comment = element->comment ? element->comment : "";

		digest = mix(digest, element->bridge, strlen(element->bridge) + 1);
		digest = mix(digest, &element->target.address, sizeof(element->target.address));
		digest = mix(digest, &element->target.port, sizeof(element->target.port));
		digest = mix(digest, &element->port, sizeof(element->port));
		digest = mix(digest, &element->protocol, sizeof(element->protocol));
		digest = mix(digest, &element->expires, sizeof(element->expires));
		digest = mix(digest, comment, strlen(comment) + 1);
	}
	return mix(digest, &list->count, sizeof(list->count));
}

static uint64_t mix_bridges(uint64_t digest, const struct nb_bridge_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		digest = mix(digest, list->items[i].name, strlen(list->items[i].name) + 1);
		digest = mix(digest, list->items[i].comment, strlen(list->items[i].comment) + 1);
	}
	return mix(digest, &list->count, sizeof(list->count));
}

uint64_t nb_desired_digest(const struct nb_desired *desired)
{
	uint64_t digest = UINT64_C(0xcbf29ce484222325);

	digest = mix_elements(digest, &desired->elements);
	digest = mix_bridges(digest, &desired->bridges);
	digest = mix_elements(digest, &desired->pending);
	return mix_bridges(digest, &desired->pending_bridges);
}

void nb_desired_clear(struct nb_desired *desired)
{
	nb_element_list_clear(&desired->elements);
	nb_element_list_clear(&desired->pending);
	nb_element_list_clear(&desired->ended);
	nb_element_list_clear(&desired->spared);
	nb_bridge_list_clear(&desired->bridges);
	nb_bridge_list_clear(&desired->pending_bridges);
}
