/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Docker. GET /networks without a version in its path is understood by every daemon, old and
 * new. A bridge network's device is named by an option, or by its ID:
 * https://docs.docker.com/reference/api/engine/ (NetworkList)
 */
#include "engine.h"

#include <errno.h>
#include <glob.h>
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

/* Root has no Docker here. Has somebody else one, where people are told to put it? */
static bool find_elsewhere(const char *home, char *ret, size_t size)
{
	static const char pattern[] = "/run/user/*/docker.sock";
	struct stat st;
	glob_t found;
	bool rootless = glob(pattern, GLOB_NOSORT, NULL, &found) == 0 && found.gl_pathc;

	if (rootless)
		snprintf(ret, size, "%s", found.gl_pathv[0]);
	globfree(&found);
	if (rootless || !home)
		return rootless;
	snprintf(ret, size, "%s/.docker/desktop/docker.sock", home);
	return stat(ret, &st) == 0;
}

/* Nobody is at root's socket: what there is instead. Returns an error that says so, or @number. */
static int word_elsewhere(const struct nb_engine_places *places, int number, char *why)
{
	char other[128];
	struct stat st;

	if (stat(SNAP_SOCKET, &st) == 0)
		snprintf(why, NB_ENGINE_WHY,
			 "Docker does not answer at " SOCKET ", but the snap's does at " SNAP_SOCKET
			 ": write \"docker\": \"unix://" SNAP_SOCKET
			 "\" into the configuration (/etc/nat-bridge/config.json)");
	else if (find_elsewhere(places ? places->home : NULL, other, sizeof(other)))
		snprintf(why, NB_ENGINE_WHY,
			 "Docker does not answer at " SOCKET ", but another does at %.80s: %s",
			 other, nb_engine_beyond(other));
	else
		return number;
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
