/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks -> bridges, and words -> networks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "nat-bridge/route.h"

/* Where an engine is: its own variable (root's, or set on purpose), the configuration, or as usual. */
static int find_places(struct nb_run *run, enum nb_engine engine, struct nb_engine_places *places,
		       struct nb_engine_answer *answer)
{
	const char *variable = engine == NB_ENGINE_DOCKER ? "DOCKER_HOST" : "CONTAINER_HOST";
	const char *address = getenv(variable), *path = NULL;
	char why[256];

	*places = (struct nb_engine_places){
		.docker = run->config.docker,
		.podman = run->config.podman,
		.podman_networks = run->config.podman_networks,
	};
	if (!address || !*address)
		return 0;
	if (nb_engine_socket_parse(address, &path, why, sizeof(why)) < 0) {
		snprintf(answer->why, sizeof(answer->why), "%s: %s", variable, why);
		return -EINVAL;
	}
	if (engine == NB_ENGINE_DOCKER)
		places->docker = path;
	else
		places->podman = path;
	return 0;
}

const struct nb_engine_answer *nb_ask_engine(struct nb_run *run, enum nb_engine engine)
{
	struct nb_engine_answer *answer = &run->engines[engine];
	struct nb_engine_places places;

	if (run->asked[engine])
		return answer;
	if (find_places(run, engine, &places, answer) == 0 &&
	    nb_engine_ask(engine, &places, answer) < 0) {
		nb_engine_answer_clear(answer);
		return NULL;
	}
	run->asked[engine] = true;
	return answer;
}

static int add_resolved(struct nb_resolver *resolver, const char *bridge)
{
	struct nb_resolution *resolution = &resolver->resolution;
	struct nb_resolved *grown;
	size_t i = resolution->count;

	if (nb_resolution_has(resolution, bridge))
		return 0;
	grown = realloc(resolution->items, (resolution->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	resolution->items = grown;
	strcpy(grown[i].bridge, bridge);
	grown[i].present = nb_link_find(resolver->links, bridge) != NULL;
	resolution->present += grown[i].present;
	resolution->count++;
	return 0;
}

/* The engine is silent: where the guards say that the network is, it stays. */
static int resolve_by_guards(struct nb_resolver *resolver, const struct nb_network *network)
{
	size_t count = resolver->bridges ? resolver->bridges->count : 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct nb_bridge *bridge = &resolver->bridges->items[i];

		if (nb_comment_has_network(bridge->comment, network))
			r = add_resolved(resolver, bridge->name);
	}
	return r;
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

static int resolve_by_engine(struct nb_resolver *resolver, const struct nb_network *network)
{
	const struct nb_engine_answer *answer = nb_ask_engine(resolver->run, network->engine);
	struct nb_resolution *resolution = &resolver->resolution;
	const struct nb_engine_network *found;
	const char *title = nb_engine_title(network->engine);

	if (!answer)
		return -ENOMEM;
	if (!answer->known) {
		nb_warn(&resolver->run->warnings, "%s", answer->why);
		snprintf(resolution->why, sizeof(resolution->why), "%s", answer->why);
		return resolve_by_guards(resolver, network);
	}
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

static void forget(struct nb_resolver *resolver)
{
	free(resolver->resolution.items);
	memset(&resolver->resolution, 0, sizeof(resolver->resolution));
	resolver->valid = false;
}

const struct nb_resolution *nb_resolve(struct nb_resolver *resolver,
				       const struct nb_network *network)
{
	struct nb_resolution *resolution = &resolver->resolution;
	int r;

	if (resolver->valid && nb_network_compare(&resolver->network, network) == 0)
		return resolution;
	forget(resolver);
	resolver->network = *network;
	if (network->engine == NB_ENGINE_IFACE) {
		/* a device's name fits, or it would not have been parsed */
		char name[NB_IFNAME_SIZE];

		snprintf(name, sizeof(name), "%.15s", network->name);
		snprintf(resolution->why, sizeof(resolution->why), "interface %s does not exist",
			 name);
		r = add_resolved(resolver, name);
	} else {
		r = resolve_by_engine(resolver, network);
	}
	if (r < 0) {
		forget(resolver);
		return NULL;
	}
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
	for (size_t i = 0; i < resolution->count; i++)
		if (strcmp(resolution->items[i].bridge, bridge) == 0)
			return true;
	return false;
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
		return nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "external",
				    "%s; --allow-external (\"external\": true) if that is meant",
				    why);
	r = nb_route_is_default(run->nl, link->index, &run->error);
	if (r > 0)
		return nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "external",
				    "the default route goes through %s, so others than containers "
				    "could reach the mapping; --allow-external (\"external\": "
				    "true) if that is meant",
				    bridge);
	return r;
}

/* Every name that a bare NETWORK could have meant. */
struct candidates {
	const char **names;
	size_t count;
	size_t bridges; /* index of the first bridge among them, or SIZE_MAX */
};

static int collect_candidates(struct nb_run *run, const struct nb_link_list *links,
			      struct candidates *ret)
{
	size_t room = links->count + run->engines[NB_ENGINE_DOCKER].count +
		      run->engines[NB_ENGINE_PODMAN].count;

	*ret = (struct candidates){ .names = calloc(room + 1, sizeof(*ret->names)),
				    .bridges = SIZE_MAX };
	if (!ret->names)
		return nb_out_of_memory(run);
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *answer = &run->engines[engine];

		for (size_t i = 0; i < answer->count; i++)
			if (answer->networks[i].bridge[0])
				ret->names[ret->count++] = answer->networks[i].name;
	}
	for (size_t i = 0; i < links->count; i++) {
		const struct nb_link *link = &links->items[i];

		if (link->loopback)
			continue;
		if (ret->bridges == SIZE_MAX && strcmp(link->kind, "bridge") == 0)
			ret->bridges = ret->count;
		ret->names[ret->count++] = link->name;
	}
	return 0;
}

/* Nothing has this name: the nearest one that does, and engines that could not be asked. */
static int refuse_unknown(struct nb_run *run, const char *word, const struct nb_link_list *links)
{
	struct candidates candidates;
	char hint[NB_NETWORK_NAME_SIZE + 32] = "", later[64] = "", silent[64] = "";
	size_t nearest;
	int r = collect_candidates(run, links, &candidates);

	if (r < 0)
		return r;
	nearest = nb_nearest(word, candidates.names, candidates.count);
	/* the first bridge is a better hint than none */
	if (nearest == SIZE_MAX)
		nearest = candidates.bridges;
	if (nearest != SIZE_MAX)
		snprintf(hint, sizeof(hint), "; there is %s", candidates.names[nearest]);
	free(candidates.names);
	if (nb_ifname_valid(word, NULL))
		snprintf(later, sizeof(later), "iface:%s or ", word);
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *answer = &run->engines[engine];

		if (answer->known)
			continue;
		if (!answer->absent)
			nb_warn(&run->warnings, "%s", answer->why);
		else if (engine == NB_ENGINE_DOCKER)
			snprintf(silent, sizeof(silent), "; Docker is not running");
	}
	return nb_error_set(&run->error, NB_STATUS_FAILED, ENODEV, "no-network",
			    "no interface and no network of an engine is named %.95s%s%s "
			    "(%sdocker:%.95s if it comes later)",
			    word, hint, silent, later, word);
}

int nb_resolve_check_word(struct nb_run *run, const char *word)
{
	struct nb_network network;
	char docker[NB_NETWORK_SIZE + 16];
	const char *why;

	if (nb_network_is_qualified(word))
		return nb_network_parse(word, &network, &run->error);
	snprintf(docker, sizeof(docker), "docker:%.*s", NB_NETWORK_SIZE, word);
	if (!nb_ifname_valid(word, &why) && nb_network_parse(docker, &network, NULL) < 0)
		return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				    "NETWORK '%.80s' %s", word, why);
	return 0;
}

/* A place where a bare name was found. */
struct found {
	struct nb_network network;
	const char *bridge; /* "": it has none */
};

static int look_up(struct nb_run *run, const char *word, enum nb_engine engine,
		   const struct nb_link_list *links, struct found *found, size_t *count)
{
	const struct nb_engine_answer *answer = NULL;
	const struct nb_engine_network *network;
	const char *bridge = NULL;

	if (engine == NB_ENGINE_IFACE) {
		bridge = nb_link_find(links, word) ? word : NULL;
	} else {
		answer = nb_ask_engine(run, engine);
		if (!answer)
			return nb_out_of_memory(run);
		network = nb_engine_find(answer, word);
		bridge = network ? network->bridge : NULL;
	}
	if (!bridge)
		return 0;
	found[*count].network = (struct nb_network){ .engine = engine };
	snprintf(found[*count].network.name, sizeof(found->network.name), "%s", word);
	found[*count].bridge = bridge;
	(*count)++;
	return 0;
}

/* An interface that belongs to an engine's network: that name outlives the bridge. */
static int hint_at_engine(struct nb_run *run, const char *bridge)
{
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *answer = nb_ask_engine(run, engine);

		if (!answer)
			return nb_out_of_memory(run);
		for (size_t i = 0; i < answer->count; i++)
			if (strcmp(answer->networks[i].bridge, bridge) == 0)
				nb_warn(&run->warnings,
					"%s is %s's network %s: name it %s:%s, and the mapping "
					"follows when the bridge is made anew",
					bridge, nb_engine_title(engine), answer->networks[i].name,
					nb_engine_name(engine), answer->networks[i].name);
	}
	return 0;
}

int nb_resolve_word(struct nb_run *run, const char *word, const struct nb_link_list *links,
		    struct nb_network *ret)
{
	struct found found[NB_ENGINE_COUNT];
	char one[NB_NETWORK_SIZE], other[NB_NETWORK_SIZE];
	size_t count = 0;
	int r = 0;

	if (nb_network_is_qualified(word))
		return nb_network_parse(word, ret, &run->error);
	for (int engine = 0; r == 0 && engine < NB_ENGINE_COUNT; engine++)
		r = look_up(run, word, (enum nb_engine)engine, links, found, &count);
	if (r < 0)
		return r;
	if (count == 0)
		return refuse_unknown(run, word, links);
	for (size_t i = 1; i < count; i++)
		if (strcmp(found[0].bridge, found[i].bridge) != 0)
			return nb_error_set(&run->error, NB_STATUS_FAILED, EEXIST, "ambiguous",
					    "%s is ambiguous: name %s or %s", word,
					    nb_network_format(&found[0].network, one),
					    nb_network_format(&found[i].network, other));
	*ret = found[0].network;
	return ret->engine == NB_ENGINE_IFACE ? hint_at_engine(run, word) : 0;
}
