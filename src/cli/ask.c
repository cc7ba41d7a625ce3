/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking engines: where each is to be found, and what has been asked in this run. */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* The home of the person at the prompt, also behind sudo. */
static const char *home_of_caller(void)
{
	const char *user = getenv("SUDO_USER");
	const struct passwd *entry = user ? getpwnam(user) : NULL;

	return entry ? entry->pw_dir : getenv("HOME");
}

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
		.home = home_of_caller(),
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

int nb_listen_engine(struct nb_run *run, enum nb_engine engine)
{
	struct nb_engine_answer ignored = { 0 };
	struct nb_engine_places places;
	int r = find_places(run, engine, &places, &ignored);

	return r < 0 ? r : nb_engine_listen(engine, &places);
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

/* What an engine said of a container. */
struct nb_asked_container {
	enum nb_engine engine;
	char name[NB_NETWORK_NAME_SIZE];
	struct nb_engine_container answer;
};

static void forget_containers(struct nb_run *run)
{
	for (size_t i = 0; i < run->container_count; i++)
		nb_engine_container_clear(&run->containers[i].answer);
	free(run->containers);
	run->containers = NULL;
	run->container_count = 0;
}

void nb_forget_engines(struct nb_run *run)
{
	forget_containers(run);
	for (int engine = 0; engine < NB_ENGINE_COUNT; engine++) {
		if (run->asked[engine])
			nb_engine_answer_clear(&run->engines[engine]);
		nb_engine_published_list_clear(&run->published[engine]);
		run->asked[engine] = run->asked_published[engine] = false;
	}
}

/* May @bridge be one that @engine has made? To ask may start an engine that sleeps. */
static bool looks_like(const char *bridge, enum nb_engine engine)
{
	if (engine == NB_ENGINE_DOCKER)
		return strncmp(bridge, "br-", 3) == 0 || strncmp(bridge, "docker", 6) == 0;
	return strncmp(bridge, "podman", 6) == 0 || strncmp(bridge, "cni-", 4) == 0;
}

bool nb_ask_bridge(struct nb_run *run, const char *bridge, bool any_name, struct nb_network *ret)
{
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *answer;

		if (!any_name && !looks_like(bridge, engine))
			continue;
		answer = nb_ask_engine(run, engine);
		for (size_t i = 0; answer && i < answer->count; i++) {
			if (strcmp(answer->networks[i].bridge, bridge) != 0)
				continue;
			ret->engine = engine;
			strcpy(ret->name, answer->networks[i].name);
			return true;
		}
	}
	return false;
}

int nb_ask_endpoints(struct nb_run *run, enum nb_engine engine, const char *network,
		     struct nb_engine_endpoints *ret)
{
	struct nb_engine_answer ignored;
	struct nb_engine_places places;

	memset(ret, 0, sizeof(*ret));
	if (find_places(run, engine, &places, &ignored) < 0)
		return 0;
	return nb_engine_ask_endpoints(engine, &places, network, ret);
}

static int copy_container(const struct nb_engine_container *from, struct nb_engine_container *ret)
{
	*ret = *from;
	ret->networks = NULL;
	if (from->count == 0)
		return 0;
	ret->networks = malloc(from->count * sizeof(*from->networks));
	if (!ret->networks) {
		memset(ret, 0, sizeof(*ret));
		return -ENOMEM;
	}
	memcpy(ret->networks, from->networks, from->count * sizeof(*from->networks));
	return 0;
}

/* Keep an answer, which the run then owns. -ENOMEM: it is freed. */
static int keep_container(struct nb_run *run, enum nb_engine engine, const char *name,
			  struct nb_engine_container *answer)
{
	struct nb_asked_container *grown = realloc(run->containers,
						   (run->container_count + 1) * sizeof(*grown));

	if (!grown) {
		nb_engine_container_clear(answer);
		return -ENOMEM;
	}
	run->containers = grown;
	grown += run->container_count++;
	grown->engine = engine;
	snprintf(grown->name, sizeof(grown->name), "%s", name);
	grown->answer = *answer;
	return 0;
}

int nb_ask_container(struct nb_run *run, enum nb_engine engine, const char *name,
		     struct nb_engine_container *ret)
{
	const struct nb_engine_answer *networks = nb_ask_engine(run, engine);
	struct nb_engine_container answer;
	struct nb_engine_places places;
	struct nb_engine_answer ignored;

	memset(ret, 0, sizeof(*ret));
	if (!networks)
		return -ENOMEM;
	if (!networks->known) {
		ret->absent = networks->absent;
		memcpy(ret->why, networks->why, sizeof(ret->why));
		return 0;
	}
	for (size_t i = 0; i < run->container_count; i++)
		if (run->containers[i].engine == engine &&
		    strcmp(run->containers[i].name, name) == 0)
			return copy_container(&run->containers[i].answer, ret);
	find_places(run, engine, &places, &ignored);
	/* whoever names a container wants it looked up; what runs by itself wakes nothing */
	places.wake = run->command->run == nb_command_add;
	if (nb_engine_ask_container(engine, &places, name, &answer) < 0 ||
	    keep_container(run, engine, name, &answer) < 0)
		return -ENOMEM;
	return copy_container(&answer, ret);
}

/* Ask for one network, or a container of that name. */
static int ask_ahead(struct nb_run *run, const struct nb_network *network)
{
	struct nb_engine_container container;
	int r = 0;

	if (network->engine != NB_ENGINE_CONTAINER)
		return nb_ask_engine(run, network->engine) ? 0 : -ENOMEM;
	for (int engine = NB_ENGINE_DOCKER; r == 0 && engine < NB_ENGINE_COUNT; engine++) {
		r = nb_ask_container(run, (enum nb_engine)engine, network->name, &container);
		if (r == 0)
			nb_engine_container_clear(&container);
	}
	return r;
}

int nb_ask_ahead(struct nb_run *run, const struct nb_recall *recall)
{
	struct nb_run asking = {
		.command = run->command,
		.options = run->options,
		.lock = -1,
		.rules_lock = -1,
	};
	int r = 0;

	if (nb_run_prepare(&asking, false) == 0 &&
	    nb_state_read_generation(asking.nl, &run->asked_at, &asking.error) == 0) {
		for (size_t i = 0; r == 0 && i < recall->count; i++)
			r = ask_ahead(&asking, &recall->items[i].network);
		memcpy(run->engines, asking.engines, sizeof(run->engines));
		memcpy(run->asked, asking.asked, sizeof(run->asked));
		run->containers = asking.containers;
		run->container_count = asking.container_count;
		memset(asking.engines, 0, sizeof(asking.engines));
		asking.containers = NULL;
		asking.container_count = 0;
	}
	nb_run_finish(&asking);
	return r;
}

int nb_ask_recheck(struct nb_run *run)
{
	uint32_t generation;
	size_t kept = 0;
	int r;

	if (!run->asked_at)
		return 0;
	r = nb_state_read_generation(run->nl, &generation, &run->error);
	if (r < 0 || generation == run->asked_at)
		return r;
	for (size_t i = 0; i < run->container_count; i++) {
		if (run->containers[i].answer.known)
			nb_engine_container_clear(&run->containers[i].answer);
		else
			run->containers[kept++] = run->containers[i];
	}
	run->container_count = kept;
	for (int engine = 0; engine < NB_ENGINE_COUNT; engine++) {
		if (!run->asked[engine] || !run->engines[engine].known)
			continue;
		nb_engine_answer_clear(&run->engines[engine]);
		run->asked[engine] = false;
	}
	return 0;
}

void nb_ask_other(struct nb_run *run, enum nb_engine engine, struct nb_engine_other *ret)
{
	struct nb_engine_places places;
	struct nb_engine_answer ignored;

	*ret = (struct nb_engine_other){ 0 };
	/* an address of another machine is no engine here */
	if (find_places(run, engine, &places, &ignored) == 0)
		nb_engine_find_other(engine, &places, ret);
}

int nb_ask_nearest(struct nb_run *run, enum nb_engine engine, const char *name, char *ret_name)
{
	struct nb_engine_places places;
	struct nb_engine_answer ignored;

	ret_name[0] = '\0';
	if (!run->asked[engine] || !run->engines[engine].known)
		return 0;
	find_places(run, engine, &places, &ignored);
	places.wake = run->command->run == nb_command_add;
	return nb_engine_find_nearest(engine, &places, name, ret_name);
}

int nb_ask_publisher(struct nb_run *run, enum nb_engine engine, uint8_t protocol, uint16_t port,
		     const char **ret_name)
{
	struct nb_engine_published_list *list = &run->published[engine];
	struct nb_engine_places places;
	struct nb_engine_answer ignored;

	*ret_name = NULL;
	/* advice is not worth waiting for an engine that is not needed */
	if (!run->asked[engine] || !run->engines[engine].known)
		return 0;
	if (!run->asked_published[engine]) {
		find_places(run, engine, &places, &ignored);
		if (nb_engine_ask_published(engine, &places, list) < 0)
			return -ENOMEM;
		run->asked_published[engine] = true;
	}
	for (size_t i = 0; i < list->count && !*ret_name; i++)
		if (list->items[i].protocol == protocol && list->items[i].port == port)
			*ret_name = list->items[i].container;
	return 0;
}
