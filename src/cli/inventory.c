/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that is stored somewhere, side by side: mappings of rule files
 * with what the kernel has of them, and mappings that only the kernel has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct nb_element nb_stored_key(const struct nb_stored *stored)
{
	struct nb_element key = {
		.target = stored->mapping.target,
		.port = stored->mapping.port,
		.protocol = stored->mapping.protocol,
	};

	memcpy(key.bridge, stored->bridge, sizeof(key.bridge));
	return key;
}

/* Does the kernel carry the mapping from end to end? */
static bool is_live(const struct nb_state *state, const struct nb_stored *stored,
		    const struct nb_element *target)
{
	return state->table == NB_TABLE_SOUND && target && stored->accepted && stored->link &&
	       stored->link->route_localnet == 1 && nb_bridge_find(&state->bridges, stored->bridge);
}

static bool is_runtime(const struct nb_element *element)
{
	struct nb_network network;
	bool external;

	return element && nb_comment_is_runtime(element->comment, &network, &external);
}

/* The kernel ends it within the two seconds that are no drift. */
static bool is_ending(const struct nb_element *element)
{
	return element->expires && element->expires < nb_now_ms() + 2000;
}

static void judge(const struct nb_state *state, struct nb_stored *stored)
{
	const struct nb_mapping *mapping = &stored->mapping;
	const struct nb_element key = nb_stored_key(stored);
	const struct nb_element *target = NULL, *any = NULL;

	if (state && stored->bridge[0]) {
		target = nb_element_find_exact(&state->targets, &key);
		stored->accepted = nb_element_find_exact(&state->accepted, &key);
		any = nb_element_find(&state->targets, &key);
	}
	stored->owns_key = stored->bridge[0];
	if (!mapping->runtime && is_runtime(any)) {
		/* somebody's runtime mapping has the key; what asks for nothing leaves it alone */
		stored->owns_key = nb_mapping_is_in_force(mapping);
		stored->accepted = NULL;
		target = any = NULL;
	}
	if (strcmp(stored->origin, "kernel") == 0)
		stored->state = "drift";
	else if (!mapping->enabled)
		stored->state = any ? "drift" : "disabled";
	else if (nb_mapping_is_expired(mapping))
		stored->state = any && !is_ending(any) ? "drift" : "expired";
	else if (!stored->link)
		stored->state = "pending";
	else if (state)
		stored->state = is_live(state, stored, target) ? "active" : "drift";
}

/* Where the parts of the inventory come from, and the list that grows. */
struct maker {
	struct nb_run *run;
	const struct nb_state *state;
	const struct nb_link_list *links;
	const char *about;
	struct nb_stored *items;
	size_t count;
	size_t capacity;
};

static struct nb_stored *append(struct maker *maker)
{
	if (maker->count == maker->capacity) {
		size_t capacity = maker->capacity ? 2 * maker->capacity : 64;
		struct nb_stored *grown = realloc(maker->items, capacity * sizeof(*grown));

		if (!grown)
			return NULL;
		maker->items = grown;
		maker->capacity = capacity;
	}
	return &maker->items[maker->count++];
}

/* One entry for each bridge that the network is, or one without. */
static int add_from_file(struct maker *maker, struct nb_resolver *resolver,
			 const struct nb_mapping *mapping)
{
	const struct nb_resolution *resolution = nb_resolve(resolver, mapping);
	size_t i = 0;

	if (!resolution)
		return -ENOMEM;
	do {
		struct nb_stored *stored = append(maker);

		if (!stored)
			return -ENOMEM;
		*stored = (struct nb_stored){ .mapping = *mapping, .origin = "file" };
		if (resolution->count) {
			strcpy(stored->bridge, resolution->items[i].bridge);
			stored->link = nb_link_find(maker->links, stored->bridge);
		}
		judge(maker->state, stored);
		/* this user may see neither the kernel nor, perhaps, the engine */
		if (!maker->state && !resolution->count && stored->state &&
		    strcmp(stored->state, "pending") == 0)
			stored->state = NULL;
	} while (++i < resolution->count);
	return 0;
}

struct nb_mapping nb_element_to_mapping(const struct nb_element *element,
					const struct nb_bridge_list *bridges)
{
	const struct nb_bridge *bridge = nb_bridge_find(bridges, element->bridge);
	struct nb_mapping mapping = {
		.protocol = element->protocol,
		.port = element->port,
		.target = element->target,
		.enabled = true,
		.file = SIZE_MAX,
	};

	mapping.runtime = nb_comment_is_runtime(element->comment, &mapping.network,
						&mapping.external);
	if (!mapping.runtime &&
	    (!bridge || !nb_comment_first_network(bridge->comment, &mapping.network))) {
		mapping.network.engine = NB_ENGINE_IFACE;
		strcpy(mapping.network.name, element->bridge);
	}
	return mapping;
}

static int add_from_kernel(struct maker *maker, const struct nb_element *element)
{
	struct nb_stored *stored = append(maker);

	if (!stored)
		return -ENOMEM;
	*stored = (struct nb_stored){
		.mapping = nb_element_to_mapping(element, &maker->state->bridges),
		.link = nb_link_find(maker->links, element->bridge),
	};
	stored->mapping.until = element->expires ? (element->expires + 999) / 1000 : 0;
	memcpy(stored->bridge, element->bridge, sizeof(stored->bridge));
	stored->origin = stored->mapping.runtime ? "runtime" : "kernel";
	judge(maker->state, stored);
	return 0;
}

/* What is over or disabled is no drift where another network on the bridge asks for the same. */
static int judge_shared(struct maker *maker)
{
	struct nb_element_list asked = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < maker->count; i++) {
		const struct nb_element key = nb_stored_key(&maker->items[i]);

		if (nb_mapping_is_in_force(&maker->items[i].mapping))
			r = nb_element_list_append(&asked, &key);
	}
	nb_element_list_sort(&asked);
	for (size_t i = 0; r == 0 && i < maker->count; i++) {
		struct nb_stored *stored = &maker->items[i];
		const struct nb_element key = nb_stored_key(stored);

		if (nb_mapping_is_in_force(&stored->mapping) || !nb_element_find(&asked, &key))
			continue;
		stored->state = stored->mapping.enabled ? "expired" : "disabled";
		stored->accepted = NULL;
		stored->owns_key = false;
	}
	nb_element_list_clear(&asked);
	return r;
}

/* The keys that rule files explain, to tell which elements only the kernel has. */
static int collect_keys(const struct maker *maker, struct nb_element_list *keys)
{
	for (size_t i = 0; i < maker->count; i++) {
		const struct nb_element key = nb_stored_key(&maker->items[i]);

		if (maker->items[i].owns_key && nb_element_list_append(keys, &key) < 0)
			return -ENOMEM;
	}
	nb_element_list_sort(keys);
	return 0;
}

static int compare_stored(const void *a, const void *b)
{
	const struct nb_stored *left = a, *right = b;

	return nb_mapping_compare_key(&left->mapping, &right->mapping);
}

static int make(struct maker *maker)
{
	const struct nb_mapping_list *mappings = &maker->run->rules.mappings;
	struct nb_resolver resolver = {
		.run = maker->run,
		.links = maker->links,
		.bridges = maker->state ? &maker->state->bridges : NULL,
		.about = maker->about,
	};
	struct nb_element_list keys = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < mappings->count; i++)
		r = add_from_file(maker, &resolver, &mappings->items[i]);
	nb_resolver_clear(&resolver);
	if (r == 0)
		r = judge_shared(maker);
	if (r == 0)
		r = collect_keys(maker, &keys);
	for (size_t i = 0; r == 0 && maker->state && i < maker->state->targets.count; i++) {
		const struct nb_element *element = &maker->state->targets.items[i];

		if (!nb_element_find(&keys, element))
			r = add_from_kernel(maker, element);
	}
	nb_element_list_clear(&keys);
	return r;
}

int nb_inventory_make(struct nb_run *run, const struct nb_state *state,
		      const struct nb_link_list *links, const char *about, struct nb_inventory *ret)
{
	struct maker maker = { .run = run, .state = state, .links = links, .about = about };

	if (make(&maker) < 0) {
		free(maker.items);
		return nb_out_of_memory(run);
	}
	if (maker.count)
		qsort(maker.items, maker.count, sizeof(*maker.items), compare_stored);
	ret->items = maker.items;
	ret->count = maker.count;
	return 0;
}

void nb_inventory_clear(struct nb_inventory *inventory)
{
	free(inventory->items);
	memset(inventory, 0, sizeof(*inventory));
}

int nb_inventory_find_network(struct nb_run *run, const struct nb_inventory *inventory,
			      const char *word, struct nb_network *ret)
{
	const struct nb_network *found = NULL;

	bool qualified = nb_network_is_qualified(word);
	int r = qualified ? nb_network_parse(word, ret, &run->error) : 0;

	if (r < 0)
		return r;
	for (size_t i = 0; i < inventory->count; i++) {
		const struct nb_network *network = &inventory->items[i].mapping.network;
		char one[NB_NETWORK_SIZE], other[NB_NETWORK_SIZE];

		if (qualified ? nb_network_compare(network, ret) != 0
			      : strcmp(network->name, word) != 0)
			continue;
		if (found && nb_network_compare(found, network) != 0)
			return nb_error_set(&run->error, NB_STATUS_FAILED, EEXIST, "ambiguous",
					    "%s is ambiguous: name %s or %s", word,
					    nb_network_format(found, one),
					    nb_network_format(network, other));
		found = network;
	}
	if (!found)
		return 0;
	*ret = *found;
	return 1;
}

/* A mapping of that port: the network that was to stand before it. NULL: there is none. */
static const char *find_network_of_port(const struct nb_inventory *inventory, uint16_t port)
{
	for (size_t i = 0; i < inventory->count; i++)
		if (inventory->items[i].mapping.port == port)
			return inventory->items[i].mapping.network.name;
	return NULL;
}

#define ABSENCE_SIZE (2 * NB_NETWORK_NAME_SIZE + 96)

static int word_absence(struct nb_run *run, const struct nb_inventory *inventory, const char *word,
			char *buffer)
{
	const char **names = calloc(inventory->count + 1, sizeof(*names));
	const char *colon = strchr(word, ':'), *network;
	uint16_t port;
	size_t nearest;

	if (!names)
		return nb_out_of_memory(run);
	for (size_t i = 0; i < inventory->count; i++)
		names[i] = inventory->items[i].mapping.network.name;
	nearest = nb_nearest(colon ? colon + 1 : word, names, inventory->count);
	if (nearest == SIZE_MAX && inventory->count)
		nearest = 0;
	if (nb_port_number_parse(word, &port) == 0) {
		network = find_network_of_port(inventory, port);
		snprintf(buffer, ABSENCE_SIZE,
			 "%s is a port, and the NETWORK is asked for: "
			 "nat-bridge %s %s",
			 word, run->command->name,
			 network	       ? network
			 : nearest == SIZE_MAX ? "NETWORK"
					       : names[nearest]);
	} else {
		snprintf(buffer, ABSENCE_SIZE, "nothing is mapped on %.*s%s%s",
			 NB_NETWORK_NAME_SIZE, word,
			 nearest == SIZE_MAX ? "" : "; there are mappings on ",
			 nearest == SIZE_MAX ? "" : names[nearest]);
	}
	free(names);
	return 0;
}

int nb_inventory_warn_absent(struct nb_run *run, const struct nb_inventory *inventory,
			     const char *word)
{
	char absence[ABSENCE_SIZE];
	int r = word_absence(run, inventory, word, absence);

	if (r == 0)
		nb_warn(&run->warnings, "%s", absence);
	return r;
}

int nb_inventory_refuse_absent(struct nb_run *run, const struct nb_inventory *inventory,
			       const char *word)
{
	char absence[ABSENCE_SIZE];
	int r = word_absence(run, inventory, word, absence);

	return r < 0 ? r
		     : nb_error_set(&run->error, NB_STATUS_FAILED, ENOENT, "no-network", "%s",
				    absence);
}
