/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container's networks. Docker and Podman describe a container alike: its networks are the
 * keys of NetworkSettings.Networks, whether it runs or not.
 * https://docs.docker.com/reference/api/engine/ (ContainerInspect)
 */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int append_network(struct nb_engine_container *container, const char *name)
{
	char(*grown)[NB_NETWORK_NAME_SIZE];

	if (!name || strlen(name) >= NB_NETWORK_NAME_SIZE)
		return 0;
	grown = realloc(container->networks, (container->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	container->networks = grown;
	strcpy(grown[container->count++], name);
	return 0;
}

static int read_container(const cJSON *json, struct nb_engine_container *ret)
{
	const cJSON *settings = cJSON_GetObjectItemCaseSensitive(json, "NetworkSettings");
	const cJSON *networks = cJSON_GetObjectItemCaseSensitive(settings, "Networks");
	const cJSON *config = cJSON_GetObjectItemCaseSensitive(json, "HostConfig");
	const char *mode = nb_engine_text(config, "NetworkMode");
	const cJSON *network;
	int r = 0;

	if (mode && strncmp(mode, "container:", 10) == 0)
		snprintf(ret->shares, sizeof(ret->shares), "%.*s", (int)sizeof(ret->shares) - 1,
			 mode + 10);
	cJSON_ArrayForEach(network, networks)
	{
		r = append_network(ret, network->string);
		if (r < 0)
			break;
	}
	/* Podman names no network for these two */
	if (r == 0 && ret->count == 0 && mode &&
	    (strcmp(mode, "host") == 0 || strcmp(mode, "none") == 0))
		r = append_network(ret, mode);
	return r;
}

int nb_engine_ask_container(enum nb_engine engine, const struct nb_engine_places *places,
			    const char *name, struct nb_engine_container *ret)
{
	const char *socket = engine == NB_ENGINE_PODMAN ? nb_podman_socket(places)
							: nb_docker_socket(places);
	char target[NB_NETWORK_NAME_SIZE + 64];
	cJSON *json = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	/* the name holds nothing that a path would have to escape */
	snprintf(target, sizeof(target), "%s/containers/%s/json",
		 engine == NB_ENGINE_PODMAN ? "/v4.0.0/libpod" : "", name);
	r = nb_engine_get(engine, socket, target, &json, ret->why);
	if (r == 0) {
		ret->known = ret->found = true;
		r = read_container(json, ret);
	} else if (r == -ENOSYS) {
		ret->known = true;
	} else {
		ret->absent = r == -ENOENT;
	}
	cJSON_Delete(json);
	return r == -ENOMEM ? r : 0;
}

void nb_engine_container_clear(struct nb_engine_container *container)
{
	free(container->networks);
	memset(container, 0, sizeof(*container));
}
