/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole picture for programs. What is not known is null. */
#include <arpa/inet.h>

#include "json.h"
#include "status.h"

static cJSON *listener_to_json(const struct nb_picture *picture, const struct nb_listener *listener)
{
	const struct nb_holder *holder = nb_status_holder(picture, listener);
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "address", listener->address);
	nb_json_add_text(object, "device", nb_status_device(picture, listener));
	nb_json_add_text(object, "process", holder ? holder->name : NULL);
	nb_json_add_count(object, "pid", holder != NULL, holder ? (uint64_t)holder->pid : 0);
	cJSON_AddNumberToObject(object, "uid", listener->uid);
	return object;
}

static cJSON *mapping_to_json(const struct nb_picture *picture,
			      const struct nb_status_mapping *mapping)
{
	cJSON *object = nb_json_row(&mapping->row), *array, *rate;

	nb_json_add_count(object, "connections_total", mapping->row.counted, mapping->connections);
	array = cJSON_AddArrayToObject(object, "listeners");
	for (size_t i = 0; i < mapping->listeners.count; i++)
		cJSON_AddItemToArray(array,
				     listener_to_json(picture, &mapping->listeners.items[i]));
	nb_json_add_text(object, "serves", nb_serving_name(mapping->serving));
	if (mapping->serving == NB_SERVES_UNKNOWN)
		cJSON_AddNullToObject(object, "open");
	else
		cJSON_AddBoolToObject(object, "open", mapping->open != NULL);
	if (mapping->rate.known) {
		rate = cJSON_AddObjectToObject(object, "rate");
		cJSON_AddNumberToObject(rate, "packets", mapping->rate.packets);
		cJSON_AddNumberToObject(rate, "bytes", mapping->rate.bytes);
	}
	return object;
}

static void add_containers(cJSON *object, const struct nb_engine_endpoints *containers)
{
	char text[INET_ADDRSTRLEN];
	cJSON *array;

	if (!containers->known) {
		cJSON_AddNullToObject(object, "containers");
		return;
	}
	array = cJSON_AddArrayToObject(object, "containers");
	for (size_t i = 0; i < containers->count; i++) {
		const struct in_addr address = { htonl(containers->items[i].address) };
		cJSON *container = cJSON_CreateObject();

		cJSON_AddStringToObject(container, "name", containers->items[i].container);
		cJSON_AddStringToObject(container, "address",
					inet_ntop(AF_INET, &address, text, sizeof(text)));
		cJSON_AddItemToArray(array, container);
	}
}

static cJSON *network_to_json(const struct nb_picture *picture,
			      const struct nb_status_network *network)
{
	const struct nb_link *link = network->link;
	cJSON *object = cJSON_CreateObject(), *array;
	char name[NB_NETWORK_SIZE];

	cJSON_AddStringToObject(object, "network", nb_network_format(network->network, name));
	nb_json_add_text(object, "bridge", link ? link->name : NULL);
	nb_json_add_text(object, "engine",
			 network->engine_network.engine == NB_ENGINE_IFACE
				 ? NULL
				 : nb_engine_name(network->engine_network.engine));
	cJSON_AddBoolToObject(object, "present", link != NULL);
	nb_json_add_count(object, "route_localnet", link != NULL, link ? link->route_localnet : 0);
	nb_json_add_text(object, "guard", nb_guard_name(network->guard));
	add_containers(object, &network->containers);
	array = cJSON_AddArrayToObject(object, "mappings");
	for (size_t i = 0; i < network->count; i++)
		cJSON_AddItemToArray(
			array, mapping_to_json(picture, &picture->mappings[network->first + i]));
	return object;
}

static cJSON *firewall_to_json(const struct nb_firewall_chain *chain)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "family", chain->family);
	nb_json_add_text(object, "table", chain->table);
	nb_json_add_text(object, "chain", chain->chain);
	nb_json_add_text(object, "hook", chain->hook);
	cJSON_AddNumberToObject(object, "priority", chain->priority);
	cJSON_AddBoolToObject(object, "legacy", chain->legacy);
	nb_json_add_text(object, "program", chain->program);
	if (chain->passage == NB_PASSES_PERHAPS)
		cJSON_AddNullToObject(object, "passes");
	else
		cJSON_AddBoolToObject(object, "passes", chain->passage == NB_PASSES);
	cJSON_AddBoolToObject(object, "opener", chain->opener);
	return object;
}

static void add_firewalls(cJSON *object, const struct nb_picture *picture)
{
	cJSON *array;

	if (!picture->firewalls_known) {
		cJSON_AddNullToObject(object, "firewalls");
		return;
	}
	array = cJSON_AddArrayToObject(object, "firewalls");
	for (size_t i = 0; i < picture->firewalls.count; i++)
		cJSON_AddItemToArray(array, firewall_to_json(&picture->firewalls.items[i]));
}

void nb_status_print_json(struct nb_run *run, const struct nb_picture *picture)
{
	cJSON *object = cJSON_CreateObject();
	cJSON *array = cJSON_AddArrayToObject(object, "networks");

	for (size_t i = 0; i < picture->network_count; i++)
		cJSON_AddItemToArray(array, network_to_json(picture, &picture->networks[i]));
	add_firewalls(object, picture);
	if (picture->drift_known)
		nb_json_add_findings(object, "drift", &picture->drift);
	else
		cJSON_AddNullToObject(object, "drift");
	nb_json_add_warnings(object, run);
	if (picture->view.result != NB_STATUS_OK)
		nb_json_add_error(object, &run->error);
	nb_json_print(run, object);
}
