/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Docker. GET /networks without a version in its path is understood by every daemon, old and
 * new. A bridge network's device is named by an option, or by its ID:
 * https://docs.docker.com/reference/api/engine/ (NetworkList)
 */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SOCKET	  "/run/docker.sock"
#define ID_DIGITS 12 /* of the ID, in "br-0123456789ab" */

static int append(struct nb_engine_answer *answer, const cJSON *json)
{
	const char *name = nb_engine_text(json, "Name"), *id = nb_engine_text(json, "Id");
	const char *instead = nb_engine_instead(nb_engine_text(json, "Driver"));
	const cJSON *options = cJSON_GetObjectItemCaseSensitive(json, "Options");
	const char *bridge = nb_engine_text(options, "com.docker.network.bridge.name");
	char device[NB_IFNAME_SIZE];

	if (nb_engine_is_true(json, "ConfigOnly"))
		instead = "holds a configuration only: map the network that is made from it";
	if ((!bridge || !*bridge) && id && strlen(id) >= ID_DIGITS) {
		snprintf(device, sizeof(device), "br-%.*s", ID_DIGITS, id);
		bridge = device;
	}
	return nb_engine_append(answer, name, bridge, instead, nb_engine_is_true(json, "Internal"));
}

const char *nb_docker_socket(const struct nb_engine_places *places)
{
	return places && places->docker ? places->docker : SOCKET;
}

/* Nobody is at root's socket: what there is instead. Returns an error that says so, or @number. */
static int word_elsewhere(const struct nb_engine_places *places, int number, char *why)
{
	const struct nb_engine_places here = { .home = places ? places->home : NULL };
	struct nb_engine_other other;

	nb_engine_find_other(NB_ENGINE_DOCKER, &here, &other);
	if (!other.kind || !other.socket[0])
		return number;
	if (other.kind == NB_ENGINE_SNAP)
		snprintf(why, NB_ENGINE_WHY,
			 "Docker does not answer at " SOCKET ", but the snap's %s at %.80s: "
			 "write \"docker\": \"unix://%.80s\" into the configuration "
			 "(/etc/nat-bridge/config.json)",
			 other.answers ? "does" : "would", other.socket, other.socket);
	else
		snprintf(why, NB_ENGINE_WHY,
			 "Docker does not answer at " SOCKET ", but another %s at %.80s: %s",
			 other.answers ? "does" : "would", other.socket,
			 nb_engine_beyond(other.socket));
	return -EREMOTE;
}

int nb_docker_ask(const struct nb_engine_places *places, struct nb_engine_answer *ret)
{
	const char *socket = nb_docker_socket(places);
	int r = nb_engine_get_list(NB_ENGINE_DOCKER, places, "/networks", append, ret);

	if ((r == -ENOENT || r == -ECONNREFUSED) && strcmp(socket, SOCKET) == 0)
		r = word_elsewhere(places, r, ret->why);
	return r;
}
