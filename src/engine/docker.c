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
#include <sys/stat.h>

#define SOCKET	    "/run/docker.sock"
#define SNAP_SOCKET "/run/snap.docker/docker.sock"
#define ID_DIGITS   12 /* of the ID, in "br-0123456789ab" */

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

int nb_docker_ask(const struct nb_engine_places *places, struct nb_engine_answer *ret)
{
	const char *socket = nb_docker_socket(places);
	struct stat st;
	int r = nb_engine_get_list(NB_ENGINE_DOCKER, places, "/networks", append, ret);

	if (r == -ENOENT && strcmp(socket, SOCKET) == 0 && stat(SNAP_SOCKET, &st) == 0)
		snprintf(ret->why, sizeof(ret->why),
			 "Docker does not answer at " SOCKET ", but the snap's does at " SNAP_SOCKET
			 ": write \"docker\": \"unix://" SNAP_SOCKET
			 "\" into the configuration (/etc/nat-bridge/config.json)");
	return r;
}
