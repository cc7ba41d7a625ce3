/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container's networks. Docker and Podman describe a container alike: its networks are the
 * keys of NetworkSettings.Networks, whether it runs or not.
 * https://docs.docker.com/reference/api/engine/ (ContainerInspect)
 */
#include "../model/text.h"
#include "engine.h"

#include <arpa/inet.h>
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
	const cJSON *state = cJSON_GetObjectItemCaseSensitive(json, "State");
	const cJSON *pid = cJSON_GetObjectItemCaseSensitive(state, "Pid");
	const cJSON *network;
	int r = 0;

	if (cJSON_IsNumber(pid) && pid->valueint > 0)
		ret->pid = pid->valueint;
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
	char target[NB_NETWORK_NAME_SIZE + 64];
	cJSON *json = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	/* the name holds nothing that a path would have to escape */
	snprintf(target, sizeof(target), "%s/containers/%s/json",
		 engine == NB_ENGINE_PODMAN ? "/v4.0.0/libpod" : "", name);
	r = nb_engine_get(engine, places, target, &json, ret->why);
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

static uint16_t get_port(const cJSON *object, const char *key)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNumber(value) && value->valueint > 0 && value->valueint <= UINT16_MAX
		       ? (uint16_t)value->valueint
		       : 0;
}

static int append_published(struct nb_engine_published_list *list, const char *protocol,
			    uint16_t port, const char *container)
{
	int number = protocol ? nb_protocol_parse(protocol) : -EINVAL;
	struct nb_engine_published *grown;

	if (number < 0 || !port)
		return 0;
	grown = realloc(list->items, (list->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->items = grown;
	grown += list->count++;
	*grown = (struct nb_engine_published){ .port = port, .protocol = (uint8_t)number };
	nb_copy_line(grown->container, sizeof(grown->container), container);
	return 0;
}

/* Docker's words, and Podman's, which may mean several ports with one entry. */
static int read_published(const cJSON *one, const char *container,
			  struct nb_engine_published_list *list)
{
	const char *type = nb_engine_text(one, "Type");
	const char *address = nb_engine_text(one, type ? "IP" : "host_ip");
	uint16_t port = get_port(one, type ? "PublicPort" : "host_port");
	uint16_t range = type ? 1 : get_port(one, "range");
	int r = 0;

	/* on the host's loopback it is nobody's whom a mapping serves */
	if (address && strncmp(address, "127.", 4) == 0)
		return 0;
	if (!type)
		type = nb_engine_text(one, "protocol");
	for (unsigned int i = 0; r == 0 && i < (range ? range : 1U) && port + i <= UINT16_MAX; i++)
		r = append_published(list, type, (uint16_t)(port + i), container);
	return r;
}

/* The first name of a container of a list; Docker has "/web". */
static const char *name_of(const cJSON *container)
{
	const cJSON *names = cJSON_GetObjectItemCaseSensitive(container, "Names");
	const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(names, 0));

	return name && name[0] == '/' ? name + 1 : name;
}

int nb_engine_ask_published(enum nb_engine engine, const struct nb_engine_places *places,
			    struct nb_engine_published_list *ret)
{
	bool podman = engine == NB_ENGINE_PODMAN;
	char why[NB_ENGINE_WHY];
	cJSON *list = NULL;
	const cJSON *container, *one;
	int r = nb_engine_get(engine, places,
			      podman ? "/v4.0.0/libpod/containers/json" : "/containers/json", &list,
			      why);
	int kept = 0;

	memset(ret, 0, sizeof(*ret));
	cJSON_ArrayForEach(container, list)
	{
		const char *name = name_of(container);

		cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(container, "Ports"))
		{
			if (name && kept == 0)
				kept = read_published(one, name, ret);
		}
	}
	cJSON_Delete(list);
	return r == -ENOMEM || kept < 0 ? -ENOMEM : 0;
}

void nb_engine_published_list_clear(struct nb_engine_published_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}

int nb_engine_find_nearest(enum nb_engine engine, const struct nb_engine_places *places,
			   const char *name, char *ret_name)
{
	char why[NB_ENGINE_WHY];
	cJSON *list = NULL;
	const cJSON *container;
	const char **names;
	size_t count = 0, nearest;
	int r = nb_engine_get(engine, places,
			      engine == NB_ENGINE_PODMAN ? "/v4.0.0/libpod/containers/json?all=true"
							 : "/containers/json?all=true",
			      &list, why);

	ret_name[0] = '\0';
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	names = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*names));
	cJSON_ArrayForEach(container, list)
	{
		const char *one = names ? name_of(container) : NULL;

		if (one)
			names[count++] = one;
	}
	nearest = names ? nb_nearest(name, names, count) : SIZE_MAX;
	if (nearest != SIZE_MAX)
		nb_copy_line(ret_name, NB_NETWORK_NAME_SIZE, names[nearest]);
	r = names ? 0 : -ENOMEM;
	free(names);
	cJSON_Delete(list);
	return r;
}

/* "172.18.0.2/16": as Docker has it, and Podman for those who speak to it like to Docker. */
static bool read_address(const char *text, uint32_t *ret)
{
	char address[INET_ADDRSTRLEN];
	struct in_addr in;

	if (!text)
		return false;
	snprintf(address, sizeof(address), "%.*s", (int)strcspn(text, "/"), text);
	if (inet_pton(AF_INET, address, &in) != 1)
		return false;
	*ret = ntohl(in.s_addr);
	return true;
}

static int append_endpoint(struct nb_engine_endpoints *endpoints, uint32_t address,
			   const char *container)
{
	struct nb_engine_endpoint *grown = realloc(endpoints->items,
						   (endpoints->count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	endpoints->items = grown;
	grown += endpoints->count++;
	grown->address = address;
	nb_copy_line(grown->container, sizeof(grown->container), container);
	return 0;
}

int nb_engine_ask_endpoints(enum nb_engine engine, const struct nb_engine_places *places,
			    const char *network, struct nb_engine_endpoints *ret)
{
	char target[NB_NETWORK_NAME_SIZE + 16], why[NB_ENGINE_WHY];
	const cJSON *container;
	cJSON *json = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	/* one who joins is in it as soon as it has its address; in the list of containers later */
	snprintf(target, sizeof(target), "/networks/%s", network);
	r = nb_engine_get(engine, places, target, &json, why);
	ret->known = r == 0;
	cJSON_ArrayForEach(container, cJSON_GetObjectItemCaseSensitive(json, "Containers"))
	{
		const char *name = nb_engine_text(container, "Name");
		uint32_t address;

		if (r == 0 && name &&
		    read_address(nb_engine_text(container, "IPv4Address"), &address))
			r = append_endpoint(ret, address, name);
	}
	cJSON_Delete(json);
	return r == -ENOMEM ? r : 0;
}

void nb_engine_endpoints_clear(struct nb_engine_endpoints *endpoints)
{
	free(endpoints->items);
	memset(endpoints, 0, sizeof(*endpoints));
}

void nb_engine_container_clear(struct nb_engine_container *container)
{
	free(container->networks);
	memset(container, 0, sizeof(*container));
}
