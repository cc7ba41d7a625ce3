/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "systemd.h"

const char *nb_engine_title(enum nb_engine engine)
{
	return engine == NB_ENGINE_PODMAN ? "Podman" : "Docker";
}

const char *nb_engine_text(const cJSON *object, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

bool nb_engine_is_true(const cJSON *object, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key));
}

const char *nb_engine_instead(const char *driver)
{
	static const struct {
		const char *driver, *instead;
	} rows[] = {
		{ "bridge", NULL },
		{ "host", "is the host's own network: its containers reach 127.0.0.1 without a "
			  "mapping" },
		{ "null", "is no network at all: give the container a bridge network" },
		{ "none", "is no network at all: give the container a bridge network" },
		{ "macvlan",
		  "is a macvlan, whose containers cannot reach their own host: give them "
		  "a bridge network as well" },
		{ "ipvlan", "is an ipvlan, whose containers cannot reach their own host: give them "
			    "a bridge network as well" },
		{ "overlay", "is a swarm overlay, whose containers reach this host through "
			     "docker_gwbridge: map that network, on each node" },
	};

	for (size_t i = 0; driver && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(driver, rows[i].driver) == 0)
			return rows[i].instead;
	return "is of a driver that makes no bridge on this host: give the container a bridge "
	       "network as well";
}

int nb_engine_append(struct nb_engine_answer *answer, const char *name, const char *bridge,
		     const char *instead, bool internal)
{
	struct nb_engine_network network = { .internal = internal }, *grown;
	char qualified[NB_NETWORK_NAME_SIZE + 8];
	struct nb_network parsed;

	snprintf(qualified, sizeof(qualified), "docker:%s", name ? name : "");
	if (!name || strlen(name) >= sizeof(network.name) ||
	    nb_network_parse(qualified, &parsed, NULL) < 0)
		return 0;
	strcpy(network.name, name);
	if (bridge && !instead && nb_ifname_valid(bridge, NULL))
		strcpy(network.bridge, bridge);
	else
		network.instead = instead ? instead
					  : "has a bridge whose name is no device name: look at it "
					    "with the engine's own 'network inspect'";
	grown = realloc(answer->networks, (answer->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	answer->networks = grown;
	grown[answer->count++] = network;
	return 0;
}

static int fail(char *why, int number, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(char *why, int number, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, NB_ENGINE_WHY, format, arguments);
	va_end(arguments);
	return number;
}

const char *nb_engine_beyond(const char *socket)
{
	if (strstr(socket, "/.docker/"))
		return "Docker Desktop keeps its containers in a virtual machine, which has no "
		       "bridge here; its host.docker.internal reaches 127.0.0.1 without a mapping";
	return "a rootless engine's bridges are in a network namespace of its own, which this "
	       "host's rules do not reach; use an engine of root, or pasta's or slirp4netns' own "
	       "way to the host's loopback";
}

/* Clauses of the transport, and the cure that belongs to each. */
static int word_transport(char *ret, enum nb_engine engine, int number, const char *socket,
			  const char *why)
{
	const char *title = nb_engine_title(engine);

	switch (number) {
	case -EPERM:
		return fail(ret, number, "%s %s: %s", title, why, nb_engine_beyond(socket));
	case -EACCES:
		return fail(ret, number, "%s %s: sudo nat-bridge", title, why);
	case -ENOENT:
	case -ECONNREFUSED:
		return fail(ret, number, "%s %s: is it running? (systemctl start %s)", title, why,
			    engine == NB_ENGINE_PODMAN ? "podman.socket" : "docker");
	default:
		return fail(ret, number, "%s %s: is it well? (journalctl -u %s)", title, why,
			    nb_engine_name(engine));
	}
}

static const char *socket_of(enum nb_engine engine, const struct nb_engine_places *places)
{
	return engine == NB_ENGINE_PODMAN ? nb_podman_socket(places) : nb_docker_socket(places);
}

/* May the engine be asked, without starting what nobody has started? */
static int check_service(enum nb_engine engine, const struct nb_engine_places *places,
			 char *ret_why)
{
	bool podman = engine == NB_ENGINE_PODMAN;

	if (podman && places && places->wake)
		return 0;
	switch (nb_systemd_service(engine, socket_of(engine, places))) {
	case NB_SERVICE_STARTING:
		return fail(ret_why, -EAGAIN, "%s is starting, and does not answer yet",
			    nb_engine_title(engine));
	case NB_SERVICE_STOPPED:
		if (podman)
			return fail(ret_why, -EHOSTDOWN,
				    "Podman's service sleeps, and is not woken for this: its "
				    "containers are looked up by 'nat-bridge add', and while it "
				    "runs (podman.socket)");
		return fail(ret_why, -EHOSTDOWN,
			    "Docker is stopped, and is not started for this: systemctl start "
			    "docker");
	default:
		return 0;
	}
}

/* An escape of NUL; a backslash that is escaped itself begins none. */
static bool has_nul(const char *json, size_t length)
{
	const char *end = json + length;

	while ((json = memchr(json, '\\', (size_t)(end - json)))) {
		if (end - json >= 6 && memcmp(json, "\\u0000", 6) == 0)
			return true;
		json += end - json > 1 ? 2 : 1;
	}
	return false;
}

cJSON *nb_engine_parse(const char *json, size_t length)
{
	return has_nul(json, length) ? NULL : cJSON_ParseWithLength(json, length);
}

int nb_engine_get(enum nb_engine engine, const struct nb_engine_places *places, const char *target,
		  cJSON **ret, char *ret_why)
{
	const char *title = nb_engine_title(engine), *socket = socket_of(engine, places);
	struct nb_http_answer http = { 0 };
	char why[256];
	int r = check_service(engine, places, ret_why);

	if (r < 0)
		return r;
	r = nb_http_get(socket, target, NB_ENGINE_WAIT_MS, &http, why, sizeof(why));
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return word_transport(ret_why, engine, r, socket, why);
	if (http.status == 200)
		*ret = nb_engine_parse(http.body, http.length);
	if (http.status != 200)
		r = fail(ret_why, http.status == 404 ? -ENOSYS : -EPROTO,
			 "%s answered %d to GET %s at %s", title, http.status, target, socket);
	else if (!*ret)
		r = fail(ret_why, -EPROTO, "%s gave an answer to GET %s at %s that is no JSON",
			 title, target, socket);
	nb_http_answer_clear(&http);
	return r;
}

int nb_engine_get_list(enum nb_engine engine, const struct nb_engine_places *places,
		       const char *target,
		       int (*append)(struct nb_engine_answer *answer, const cJSON *json),
		       struct nb_engine_answer *answer)
{
	cJSON *list = NULL;
	const cJSON *json;
	int r = nb_engine_get(engine, places, target, &list, answer->why);

	if (r == 0 && !cJSON_IsArray(list))
		r = fail(answer->why, -EPROTO, "%s gave an answer to GET %s at %s that is no list",
			 nb_engine_title(engine), target, socket_of(engine, places));
	if (r == 0) {
		cJSON_ArrayForEach(json, list)
		{
			r = append(answer, json);
			if (r < 0)
				break;
		}
	}
	cJSON_Delete(list);
	return r;
}

static int compare(const void *a, const void *b)
{
	const struct nb_engine_network *left = a, *right = b;
	int order = strcmp(left->name, right->name);

	return order ? order : strcmp(left->bridge, right->bridge);
}

int nb_engine_ask(enum nb_engine engine, const struct nb_engine_places *places,
		  struct nb_engine_answer *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = engine == NB_ENGINE_PODMAN ? nb_podman_ask(places, ret) : nb_docker_ask(places, ret);
	if (r == -ENOMEM)
		return r;
	ret->known = r == 0;
	ret->absent = r == -ENOENT;
	ret->elsewhere = r == -EREMOTE || r == -EPERM;
	if (ret->count)
		qsort(ret->networks, ret->count, sizeof(*ret->networks), compare);
	return 0;
}

void nb_engine_answer_clear(struct nb_engine_answer *answer)
{
	free(answer->networks);
	memset(answer, 0, sizeof(*answer));
}

const struct nb_engine_network *nb_engine_find(const struct nb_engine_answer *answer,
					       const char *name)
{
	for (size_t i = 0; i < answer->count; i++)
		if (strcmp(answer->networks[i].name, name) == 0)
			return &answer->networks[i];
	return NULL;
}

int nb_engine_socket_parse(const char *address, const char **ret_path, char *why, size_t why_size)
{
	const char *path = NULL;

	if (strncmp(address, "unix://", 7) == 0)
		path = address + 7;
	else if (address[0] == '/')
		path = address;
	if (path && path[0] == '/') {
		*ret_path = path;
		return 0;
	}
	snprintf(why, why_size,
		 "\"%.80s\" is no Unix socket of this host (unix:///run/docker.sock): the bridges "
		 "of an engine elsewhere are not here",
		 address);
	return -EINVAL;
}

int nb_engine_listen(enum nb_engine engine, const struct nb_engine_places *places)
{
	char why[NB_ENGINE_WHY];
	int r;

	/* {"type":["network"]}; Podman has no such events, its bridges and files tell */
	if (engine != NB_ENGINE_DOCKER)
		return -EOPNOTSUPP;
	r = check_service(engine, places, why);
	if (r < 0)
		return r;
	return nb_http_stream(nb_docker_socket(places),
			      "/events?filters=%7B%22type%22%3A%5B%22network%22%5D%7D",
			      NB_ENGINE_WAIT_MS);
}
