/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks -> bridges: what the name of a mapping means at this moment. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../engine/engine.h"
#include "cli.h"
#include "nat-bridge/route.h"

static int add_resolved(struct nb_resolver *resolver, const char *bridge)
{
	const struct nb_link *link = nb_link_find(resolver->links, bridge);
	struct nb_resolution *resolution = &resolver->resolution;
	struct nb_resolved *grown;
	size_t i = resolution->count;

	grown = realloc(resolution->items, (resolution->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	resolution->items = grown;
	strcpy(grown[i].bridge, bridge);
	grown[i].present = link != NULL;
	grown[i].ifindex = link ? link->index : 0;
	resolution->count++;
	return 0;
}

static int compare_resolved(const void *a, const void *b)
{
	const struct nb_resolved *left = a, *right = b;

	return strcmp(left->bridge, right->bridge);
}

/* Each bridge once, in the order of names: networks may be very many, and share bridges. */
static void tidy(struct nb_resolution *resolution)
{
	struct nb_resolved *items = resolution->items;
	size_t kept = 0;

	if (resolution->count)
		qsort(items, resolution->count, sizeof(*items), compare_resolved);
	resolution->present = 0;
	for (size_t i = 0; i < resolution->count; i++) {
		if (kept && strcmp(items[kept - 1].bridge, items[i].bridge) == 0)
			continue;
		items[kept] = items[i];
		resolution->present += items[kept++].present;
	}
	resolution->count = kept;
}

/*
 * Is the device of that name another one than when an engine said it? Engines give the names of
 * bridges again, and what has a name now may be the bridge of another network.
 */
static bool is_another(const struct nb_resolver *resolver, const struct nb_recalled *item)
{
	const struct nb_link *link = nb_link_find(resolver->links, item->bridge);

	return link && link->index != item->ifindex;
}

static bool is_remembered_as_another(const struct nb_resolver *resolver,
				     const struct nb_mapping *mapping, const char *bridge)
{
	const struct nb_recall *recall = resolver->run->recall;

	for (size_t i = 0; recall && i < recall->count; i++)
		if (strcmp(recall->items[i].bridge, bridge) == 0 &&
		    nb_recalled_is_of(&recall->items[i], mapping))
			return is_another(resolver, &recall->items[i]);
	return false;
}

/* What the network was when an engine said it. */
static int resolve_by_memory(struct nb_resolver *resolver, const struct nb_mapping *mapping)
{
	const struct nb_recall *recall = resolver->run->recall;
	bool known = false;
	int r = 0;

	for (size_t i = 0; recall && r == 0 && i < recall->count; i++) {
		if (!nb_recalled_is_of(&recall->items[i], mapping))
			continue;
		known = true;
		if (recall->items[i].bridge[0] && !is_another(resolver, &recall->items[i]))
			r = add_resolved(resolver, recall->items[i].bridge);
	}
	resolver->unknown |= resolver->run->recall_only && !known;
	resolver->resolution.silent = true;
	return r;
}

static bool is_named(const struct nb_network *network, const char *word)
{
	char qualified[NB_NETWORK_SIZE];

	return strcmp(network->name, word) == 0 ||
	       strcmp(nb_network_format(network, qualified), word) == 0;
}

static void warn_silent(struct nb_resolver *resolver, const char *why)
{
	if (!resolver->about || is_named(&resolver->network, resolver->about))
		nb_warn(&resolver->run->warnings, "%s", why);
}

/* The engine is silent: where the guards say that the network is, it stays. */
static int resolve_by_guards(struct nb_resolver *resolver, const struct nb_mapping *mapping)
{
	size_t count = resolver->bridges ? resolver->bridges->count : 0;
	const struct nb_network *network = &mapping->network;
	int r = 0;

	resolver->resolution.silent = true;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct nb_bridge *bridge = &resolver->bridges->items[i];

		if (nb_comment_has_network(bridge->comment, network) &&
		    !is_remembered_as_another(resolver, mapping, bridge->name))
			r = add_resolved(resolver, bridge->name);
	}
	return r < 0 || resolver->resolution.count ? r : resolve_by_memory(resolver, mapping);
}

/* The engine has no such network (yet): perhaps it is a slip. */
static int word_unknown(struct nb_resolution *resolution, const struct nb_engine_answer *answer,
			const char *title, const char *name)
{
	const char **names = calloc(answer->count + 1, sizeof(*names));
	size_t nearest;

	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < answer->count; i++)
		names[i] = answer->networks[i].name;
	nearest = nb_nearest(name, names, answer->count);
	snprintf(resolution->why, sizeof(resolution->why), "%s has no network %s%s%s", title, name,
		 nearest == SIZE_MAX ? "" : "; there is ",
		 nearest == SIZE_MAX ? "" : names[nearest]);
	free(names);
	return 0;
}

/* Every network of the engine that the pattern matches. */
static int resolve_pattern(struct nb_resolver *resolver, const struct nb_mapping *mapping,
			   const struct nb_engine_answer *answer)
{
	struct nb_resolution *resolution = &resolver->resolution;
	int r = 0;

	snprintf(resolution->why, sizeof(resolution->why), "%s has no network that %s matches",
		 nb_engine_title(mapping->network.engine), mapping->network.name);
	for (size_t i = 0; r == 0 && i < answer->count; i++) {
		const struct nb_engine_network *network = &answer->networks[i];

		if (network->bridge[0] && nb_network_matches(&mapping->network, network->name) &&
		    !nb_mapping_excepts(mapping, network->name))
			r = add_resolved(resolver, network->bridge);
	}
	if (r == 0 && resolution->count)
		snprintf(resolution->why, sizeof(resolution->why),
			 "no network that %s matches has a bridge now", mapping->network.name);
	return r;
}

static int resolve_by_engine(struct nb_resolver *resolver, const struct nb_mapping *mapping)
{
	const struct nb_network *network = &mapping->network;
	const struct nb_engine_answer *answer = nb_ask_engine(resolver->run, network->engine);
	struct nb_resolution *resolution = &resolver->resolution;
	const struct nb_engine_network *found;
	const char *title = nb_engine_title(network->engine);

	if (!answer)
		return -ENOMEM;
	if (!answer->known) {
		warn_silent(resolver, answer->why);
		snprintf(resolution->why, sizeof(resolution->why), "%s", answer->why);
		return resolve_by_guards(resolver, mapping);
	}
	if (nb_network_is_pattern(network))
		return resolve_pattern(resolver, mapping, answer);
	found = nb_engine_find(answer, network->name);
	if (!found)
		return word_unknown(resolution, answer, title, network->name);
	if (found + 1 < answer->networks + answer->count &&
	    strcmp(found[1].name, found->name) == 0) {
		resolution->hopeless = true;
		snprintf(resolution->why, sizeof(resolution->why),
			 "%s has more than one network %s: give one of them another name", title,
			 network->name);
		return 0;
	}
	if (!found->bridge[0]) {
		resolution->hopeless = true;
		snprintf(resolution->why, sizeof(resolution->why), "%s's network %s %s", title,
			 network->name, found->instead);
		return 0;
	}
	snprintf(resolution->why, sizeof(resolution->why), "%s's network %s has no bridge now (%s)",
		 title, network->name, found->bridge);
	return add_resolved(resolver, found->bridge);
}

/* The bridges of the networks that the engine says the container is attached to. */
static int add_attached(struct nb_resolver *resolver, enum nb_engine engine, const char *name,
			const struct nb_engine_container *container)
{
	const struct nb_engine_answer *answer = nb_ask_engine(resolver->run, engine);
	struct nb_resolution *resolution = &resolver->resolution;
	int r = answer ? 0 : -ENOMEM;

	snprintf(resolution->why, sizeof(resolution->why), "container %s is on no network now",
		 name);
	if (container->shares[0]) {
		resolution->hopeless = true;
		snprintf(resolution->why, sizeof(resolution->why),
			 "container %s uses the network of container %s: name that one", name,
			 container->shares);
		return r;
	}
	for (size_t i = 0; r == 0 && i < container->count; i++) {
		const struct nb_engine_network *found = nb_engine_find(answer,
								       container->networks[i]);
		const char *instead;

		if (found && found->bridge[0]) {
			r = add_resolved(resolver, found->bridge);
			continue;
		}
		/* of these two Podman has no network */
		instead = found ? found->instead
			  : strcmp(container->networks[i], "host") == 0 ||
					  strcmp(container->networks[i], "none") == 0
				  ? nb_engine_instead(container->networks[i])
				  : NULL;
		resolution->hopeless = instead != NULL;
		snprintf(resolution->why, sizeof(resolution->why),
			 "container %s: its network %s %s", name, container->networks[i],
			 instead ? instead : "is not known to its engine");
	}
	resolution->hopeless &= resolution->count == 0;
	return r;
}

/* Two engines may have a container of that name: then nobody can tell which is meant. */
static int refuse_twice(struct nb_resolver *resolver, const char *name)
{
	struct nb_resolution *resolution = &resolver->resolution;

	resolution->count = 0;
	resolution->hopeless = true;
	snprintf(resolution->why, sizeof(resolution->why),
		 "Docker and Podman have a container %s each: map their networks by name", name);
	return 0;
}

/* Is the bridge a network's of an engine that was asked for the container, and has none? */
static bool is_settled(const struct nb_resolver *resolver, const bool *answered, const char *bridge)
{
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *networks = &resolver->run->engines[engine];

		for (size_t i = 0; answered[engine] && i < networks->count; i++)
			if (strcmp(networks->networks[i].bridge, bridge) == 0)
				return true;
	}
	return false;
}

/* An engine that cannot be asked may have it: where the guards say that it is, it stays. */
static int resolve_silent_container(struct nb_resolver *resolver, const struct nb_mapping *mapping,
				    const bool *answered)
{
	struct nb_resolution *resolution = &resolver->resolution;
	int r = resolve_by_guards(resolver, mapping);
	size_t kept = 0;

	for (size_t i = 0; i < resolution->count; i++)
		if (!is_settled(resolver, answered, resolution->items[i].bridge))
			resolution->items[kept++] = resolution->items[i];
	/* what is dropped an engine has said, and what was remembered of it is over */
	resolution->silent &= kept == resolution->count;
	resolution->count = kept;
	return r;
}

/* No engine that answers has it: perhaps it is a slip, or the other one's. */
static int word_no_container(struct nb_resolver *resolver, const char *name, const char *title,
			     const char *silent)
{
	struct nb_run *run = resolver->run;
	struct nb_resolution *resolution = &resolver->resolution;
	char nearest[NB_NETWORK_NAME_SIZE] = "";
	int r = 0;

	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT && !nearest[0]; engine++)
		if (r == 0 && run->command->run == nb_command_add)
			r = nb_ask_nearest(run, (enum nb_engine)engine, name, nearest);
	snprintf(resolution->why, sizeof(resolution->why),
		 "%s has no container %.80s%s%.80s%s%.180s", title, name,
		 nearest[0] ? "; there is " : "", nearest, silent[0] ? "; " : "", silent);
	return r;
}

/* Each engine that is there is asked; one that hangs was waited for once, for its networks. */
static int resolve_container(struct nb_resolver *resolver, const struct nb_mapping *mapping)
{
	const struct nb_network *network = &mapping->network;
	struct nb_resolution *resolution = &resolver->resolution;
	bool answered[NB_ENGINE_COUNT] = { false };
	char silent[NB_ENGINE_WHY] = "";
	const char *title = NULL;
	bool traced = false; /* the silent one is here */
	size_t found = 0;
	int r = 0;

	for (int engine = NB_ENGINE_DOCKER; r == 0 && engine < NB_ENGINE_COUNT; engine++) {
		struct nb_engine_container container;

		r = nb_ask_container(resolver->run, (enum nb_engine)engine, network->name,
				     &container);
		if (r == 0 && container.found && ++found == 2)
			r = refuse_twice(resolver, network->name);
		else if (r == 0 && container.found)
			r = add_attached(resolver, (enum nb_engine)engine, network->name,
					 &container);
		answered[engine] = container.known;
		if (container.known)
			title = nb_engine_title((enum nb_engine)engine);
		else if (!silent[0] || !container.absent || resolver->run->engines[engine].known) {
			memcpy(silent, container.why, sizeof(silent));
			traced = !container.absent || resolver->run->engines[engine].known;
		}
		nb_engine_container_clear(&container);
	}
	if (r < 0 || found)
		return r;
	if (silent[0])
		r = resolve_silent_container(resolver, mapping, answered);
	if (title && resolution->count == 0) {
		r = r < 0 ? r
			  : word_no_container(resolver, network->name, title, traced ? silent : "");
	} else {
		warn_silent(resolver, silent);
		memcpy(resolution->why, silent, sizeof(silent));
	}
	return r;
}

static void forget(struct nb_resolver *resolver)
{
	free(resolver->resolution.items);
	memset(&resolver->resolution, 0, sizeof(resolver->resolution));
	free(resolver->except);
	resolver->except = NULL;
	resolver->valid = false;
}

static bool is_resolved(const struct nb_resolver *resolver, const struct nb_mapping *mapping)
{
	return resolver->valid && nb_network_compare(&resolver->network, &mapping->network) == 0 &&
	       strcmp(resolver->except ? resolver->except : "",
		      mapping->except ? mapping->except : "") == 0;
}

const struct nb_resolution *nb_resolve(struct nb_resolver *resolver,
				       const struct nb_mapping *mapping)
{
	struct nb_resolution *resolution = &resolver->resolution;
	const struct nb_network *network = &mapping->network;
	int r;

	if (is_resolved(resolver, mapping))
		return resolution;
	forget(resolver);
	resolver->network = *network;
	resolver->except = mapping->except ? strdup(mapping->except) : NULL;
	if (mapping->except && !resolver->except)
		return NULL;
	if (network->engine == NB_ENGINE_IFACE) {
		/* a device's name fits, or it would not have been parsed */
		char name[NB_IFNAME_SIZE];

		snprintf(name, sizeof(name), "%.15s", network->name);
		snprintf(resolution->why, sizeof(resolution->why), "interface %s does not exist",
			 name);
		r = add_resolved(resolver, name);
	} else if (resolver->run->recall_only) {
		snprintf(resolution->why, sizeof(resolution->why),
			 "its engine has not been asked again");
		r = resolve_by_memory(resolver, mapping);
	} else if (network->engine == NB_ENGINE_CONTAINER) {
		r = resolve_container(resolver, mapping);
	} else {
		r = resolve_by_engine(resolver, mapping);
	}
	if (r < 0) {
		forget(resolver);
		return NULL;
	}
	tidy(resolution);
	if (resolution->present)
		resolution->why[0] = '\0';
	resolver->valid = true;
	return resolution;
}

void nb_resolver_clear(struct nb_resolver *resolver)
{
	forget(resolver);
}

bool nb_resolution_has(const struct nb_resolution *resolution, const char *bridge)
{
	struct nb_resolved key = { .present = false };

	if (!resolution->count || strlen(bridge) >= sizeof(key.bridge))
		return false;
	strcpy(key.bridge, bridge);
	return bsearch(&key, resolution->items, resolution->count, sizeof(key), compare_resolved);
}

int nb_resolve_allowed(struct nb_run *run, const struct nb_link_list *links, const char *bridge,
		       bool external)
{
	const struct nb_link *link = nb_link_find(links, bridge);
	char why[256];
	int r;

	/* the guard on it would drop all traffic of the host with itself */
	if (link && link->loopback)
		return nb_error_set(&run->error, NB_STATUS_FAILED, EINVAL, "loopback",
				    "%s is the loopback device: what runs on the host reaches "
				    "127.0.0.1 without a mapping",
				    bridge);
	if (!link || external)
		return 0;
	if (!nb_link_is_private(links, link, why, sizeof(why)))
		return nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "external", "%s", why);
	r = nb_route_is_default(run->nl, link->index, &run->error);
	if (r > 0)
		return nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "external",
				    "the default route goes through %s, so others than containers "
				    "could reach the mapping",
				    bridge);
	return r;
}
