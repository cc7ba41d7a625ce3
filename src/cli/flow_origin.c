/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose an address is. The bridge is the device to which the kernel routes the address, as
 * everywhere (src/netlink/flow.c); the network is what our table says of the bridge; the container is
 * the one that has the address there, by its engine. A name that may be out of date is worse
 * than none: a container that stops and starts takes its device with it, so that each event of a
 * device makes all of this be asked for again.
 */
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "flow_origin.h"
#include "nat-bridge/route.h"

/* The engine's share of the time, as a divisor. */
#define SHARE 5
/* Where it answers at once, and does not know. */
#define SHORTEST_MS 10

#define MOST_DIRECTORIES 256

const struct nb_bridge_list *nb_origins_bridges(struct nb_origins *origins)
{
	struct nb_error ignored = { 0 };
	struct nb_state state;

	if (!origins->known) {
		if (nb_state_read_elements(origins->run->nl, NULL, &state, &ignored) == 0) {
			nb_bridge_list_clear(&origins->bridges);
			origins->bridges = state.bridges;
			state.bridges = (struct nb_bridge_list){ 0 };
			origins->known = true;
		}
		nb_state_clear(&state);
	}
	return &origins->bridges;
}

static const struct nb_bridge *find_bridge(struct nb_origins *origins, const char *name)
{
	return nb_bridge_find(nb_origins_bridges(origins), name);
}

/* The engine that has the bridge, and what it calls the network. */
static const char *find_network(struct nb_origins *origins, const struct nb_bridge *bridge,
				struct nb_network *ret)
{
	struct nb_network network = { NB_ENGINE_IFACE, "" };
	size_t position = 0;
	bool named = false;

	while (nb_comment_next_network(bridge->comment, &position, &network)) {
		bool of_engine = network.engine == NB_ENGINE_DOCKER ||
				 network.engine == NB_ENGINE_PODMAN;

		named |= network.engine != NB_ENGINE_IFACE;
		if (of_engine && !nb_network_is_pattern(&network)) {
			*ret = network;
			return ret->name;
		}
	}
	return nb_ask_bridge(origins->run, bridge->name, named, ret) ? ret->name : NULL;
}

static struct nb_directory *find_directory(struct nb_origins *origins, const char *bridge)
{
	struct nb_directory *grown;

	for (size_t i = 0; i < origins->directory_count; i++)
		if (strcmp(origins->directories[i].bridge, bridge) == 0)
			return &origins->directories[i];
	grown = realloc(origins->directories, (origins->directory_count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	origins->directories = grown;
	grown += origins->directory_count++;
	*grown = (struct nb_directory){ .current = false };
	strcpy(grown->bridge, bridge);
	return grown;
}

static const char *look_up(const struct nb_directory *directory, uint32_t address)
{
	for (size_t i = 0; directory->current && i < directory->endpoints.count; i++)
		if (directory->endpoints.items[i].address == address)
			return directory->endpoints.items[i].container;
	return NULL;
}

static void ask(struct nb_origins *origins, struct nb_directory *directory)
{
	const struct nb_bridge *bridge = find_bridge(origins, directory->bridge);
	struct nb_engine_endpoints endpoints;
	struct nb_network network;
	int64_t begin = nb_monotonic_ms(), end;
	const char *name = bridge ? find_network(origins, bridge, &network) : NULL;

	if (name && nb_ask_endpoints(origins->run, network.engine, name, &endpoints) == 0) {
		nb_engine_endpoints_clear(&directory->endpoints);
		directory->endpoints = endpoints;
		directory->current = true;
	}
	end = nb_monotonic_ms();
	directory->next = end + (end - begin) * (SHARE - 1) + SHORTEST_MS;
}

void nb_origin_name(struct nb_origins *origins, struct nb_origin *origin)
{
	struct nb_directory *directory;
	const char *container;

	if (!origin->current || !origin->bridge[0] || origin->container[0])
		return;
	directory = find_directory(origins, origin->bridge);
	if (!directory)
		return;
	container = look_up(directory, origin->address);
	if (!container && nb_monotonic_ms() >= directory->next) {
		ask(origins, directory);
		container = look_up(directory, origin->address);
	}
	if (container)
		strcpy(origin->container, container);
}

void nb_origin_find(struct nb_origins *origins, struct nb_origin *origin)
{
	struct nb_error ignored = { 0 };
	const struct nb_bridge *bridge;
	struct nb_network network;
	struct nb_route route;
	char name[IF_NAMESIZE];

	if (nb_route_lookup(origins->run->nl, origin->address, &route, &ignored) < 0 ||
	    route.local || !route.ifindex || !if_indextoname((unsigned int)route.ifindex, name))
		return;
	bridge = find_bridge(origins, name);
	if (!bridge)
		return;
	strcpy(origin->bridge, bridge->name);
	if (nb_comment_first_network(bridge->comment, &network))
		nb_network_format(&network, origin->network);
}

static void clear_directories(struct nb_origins *origins)
{
	for (size_t i = 0; i < origins->directory_count; i++)
		nb_engine_endpoints_clear(&origins->directories[i].endpoints);
	free(origins->directories);
	origins->directories = NULL;
	origins->directory_count = 0;
}

void nb_origins_forget(struct nb_origins *origins)
{
	origins->known = false;
	nb_forget_engines(origins->run);
	/* of networks that are made anew all day long nothing shall stay */
	if (origins->directory_count > MOST_DIRECTORIES)
		clear_directories(origins);
	for (size_t i = 0; i < origins->directory_count; i++)
		origins->directories[i].current = false;
}

void nb_origins_clear(struct nb_origins *origins)
{
	nb_bridge_list_clear(&origins->bridges);
	clear_directories(origins);
}
