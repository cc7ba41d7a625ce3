/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole picture as metrics, for node_exporter's textfile collector.
 * https://prometheus.io/docs/instrumenting/exposition_formats/ (text-based format)
 *
 * What is not known has no sample: a zero would be a lie. All samples of a metric stand behind
 * its HELP and TYPE, so that each metric is one walk over the picture.
 */
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "../model/text.h"
#include "status.h"

static void print_head(const char *name, const char *type, const char *help)
{
	printf("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* One label; what may be any bytes becomes a line of UTF-8 first. */
static void print_label(const char *separator, const char *name, const char *value)
{
	char line[NAME_MAX + 1];

	nb_copy_line(line, sizeof(line), value ? value : "");
	printf("%s%s=\"", separator, name);
	for (const char *c = line; *c; c++) {
		if (*c == '\\' || *c == '"')
			putchar('\\');
		if (*c == '\n')
			fputs("\\n", stdout);
		else
			putchar(*c);
	}
	putchar('"');
}

/* --- Mappings --- */

/* What tells it from every other one. */
static void print_mapping(const char *name, const struct nb_row *row)
{
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE], port[8];
	const struct nb_mapping *mapping = row->mapping;

	snprintf(port, sizeof(port), "%u", mapping->port);
	fputs(name, stdout);
	print_label("{", "network", nb_network_format(&mapping->network, network));
	print_label(",", "bridge", row->bridge);
	print_label(",", "protocol", nb_protocol_name(mapping->protocol));
	print_label(",", "port", port);
	print_label(",", "target", nb_target_format(&mapping->target, target));
	print_label(",", "origin", row->origin);
}

static bool get_active(const struct nb_status_mapping *mapping, uint64_t *ret)
{
	*ret = mapping->row.state && strcmp(mapping->row.state, "active") == 0;
	return mapping->row.counted;
}

static bool get_served(const struct nb_status_mapping *mapping, uint64_t *ret)
{
	*ret = mapping->serving == NB_SERVES_YES;
	return mapping->serving != NB_SERVES_UNKNOWN;
}

static bool get_open(const struct nb_status_mapping *mapping, uint64_t *ret)
{
	*ret = mapping->open != NULL;
	return mapping->serving != NB_SERVES_UNKNOWN;
}

static bool get_flows(const struct nb_status_mapping *mapping, uint64_t *ret)
{
	*ret = mapping->row.connections;
	return mapping->row.counted;
}

static bool get_connections(const struct nb_status_mapping *mapping, uint64_t *ret)
{
	*ret = mapping->connections;
	return mapping->row.counted;
}

static bool get_packets(const struct nb_status_mapping *mapping, uint64_t *ret)
{
	*ret = mapping->row.packets;
	return mapping->row.counted;
}

static bool get_bytes(const struct nb_status_mapping *mapping, uint64_t *ret)
{
	*ret = mapping->row.bytes;
	return mapping->row.counted;
}

static bool get_expiry(const struct nb_status_mapping *mapping, uint64_t *ret)
{
	*ret = (uint64_t)mapping->row.mapping->until;
	return mapping->row.mapping->until > 0;
}

static void print_mappings(const struct nb_picture *picture)
{
	static const struct {
		const char *name, *type, *help;
		bool (*get)(const struct nb_status_mapping *mapping, uint64_t *ret);
	} metrics[] = {
		{ "nat_bridge_mapping_active", "gauge",
		  "1 if the kernel carries the mapping, 0 if it is pending, expired, disabled or "
		  "drift.",
		  get_active },
		{ "nat_bridge_mapping_served", "gauge",
		  "1 if something listens on the target, 0 if containers are refused.",
		  get_served },
		{ "nat_bridge_mapping_open", "gauge",
		  "1 if the service listens on every address, so that it is reachable without a "
		  "mapping.",
		  get_open },
		{ "nat_bridge_mapping_live_connections", "gauge", "Connections now.", get_flows },
		{ "nat_bridge_mapping_connections_total", "counter",
		  "Connections since the mapping was made.", get_connections },
		{ "nat_bridge_mapping_packets_total", "counter",
		  "Packets that came in since the mapping was made; of UDP the answers, too.",
		  get_packets },
		{ "nat_bridge_mapping_bytes_total", "counter",
		  "Bytes that came in since the mapping was made; of UDP the answers, too.",
		  get_bytes },
		{ "nat_bridge_mapping_expiry_timestamp_seconds", "gauge",
		  "When the mapping ends, in seconds since the epoch.", get_expiry },
	};

	for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
		bool head = false;

		for (size_t i = 0; i < picture->mapping_count; i++) {
			uint64_t value;

			if (!metrics[m].get(&picture->mappings[i], &value))
				continue;
			if (!head)
				print_head(metrics[m].name, metrics[m].type, metrics[m].help);
			head = true;
			print_mapping(metrics[m].name, &picture->mappings[i].row);
			printf("} %" PRIu64 "\n", value);
		}
	}
}

/* --- Networks --- */

static bool get_present(const struct nb_status_network *network, uint64_t *ret)
{
	*ret = network->link != NULL;
	return true;
}

static bool get_guarded(const struct nb_status_network *network, uint64_t *ret)
{
	*ret = network->guard == NB_GUARD_COMPLETE;
	return network->guard != NB_GUARD_UNKNOWN;
}

static bool get_localnet(const struct nb_status_network *network, uint64_t *ret)
{
	*ret = network->link ? network->link->route_localnet : 0;
	return network->link != NULL;
}

static bool get_containers(const struct nb_status_network *network, uint64_t *ret)
{
	*ret = network->containers.count;
	return network->containers.known;
}

static void print_networks(const struct nb_picture *picture)
{
	static const struct {
		const char *name, *help;
		bool (*get)(const struct nb_status_network *network, uint64_t *ret);
	} metrics[] = {
		{ "nat_bridge_network_present", "1 if the network has a bridge now.", get_present },
		{ "nat_bridge_network_guarded",
		  "1 if both guards of the bridge stand, 0 if one is missing.", get_guarded },
		{ "nat_bridge_network_route_localnet", "The bridge's route_localnet.",
		  get_localnet },
		{ "nat_bridge_network_containers", "Containers on the network now.",
		  get_containers },
	};

	for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
		bool head = false;

		for (size_t i = 0; i < picture->network_count; i++) {
			const struct nb_status_network *network = &picture->networks[i];
			char name[NB_NETWORK_SIZE];
			uint64_t value;

			if (!metrics[m].get(network, &value))
				continue;
			if (!head)
				print_head(metrics[m].name, "gauge", metrics[m].help);
			head = true;
			fputs(metrics[m].name, stdout);
			print_label("{", "network", nb_network_format(network->network, name));
			print_label(",", "bridge", network->link ? network->link->name : NULL);
			printf("} %" PRIu64 "\n", value);
		}
	}
}

/* --- The host --- */

static void print_firewalls(const struct nb_picture *picture)
{
	const struct nb_firewall_list *list = &picture->firewalls;
	const char *name = "nat_bridge_firewall_passes";
	bool head = false;

	for (size_t i = 0; i < list->count; i++) {
		const struct nb_firewall_chain *chain = &list->items[i];

		if (chain->passage == NB_PASSES_PERHAPS)
			continue;
		if (!head)
			print_head(name, "gauge",
				   "1 if the chain lets every mapping's packets through, 0 if it "
				   "drops those of some.");
		head = true;
		fputs(name, stdout);
		print_label("{", "family", chain->family);
		print_label(",", "table", chain->table);
		print_label(",", "chain", chain->chain);
		print_label(",", "hook", chain->hook);
		print_label(",", "backend", chain->legacy ? "iptables-legacy" : "nf_tables");
		print_label(",", "program", chain->program);
		printf("} %d\n", chain->passage == NB_PASSES);
	}
}

static void print_total(const char *name, const char *help, size_t value)
{
	print_head(name, "gauge", help);
	printf("%s %zu\n", name, value);
}

void nb_status_print_metrics(struct nb_run *run, const struct nb_picture *picture)
{
	const char *build = "nat_bridge_build_info";

	print_head(build, "gauge", "The program that wrote this.");
	fputs(build, stdout);
	print_label("{", "version", NB_VERSION);
	fputs("} 1\n", stdout);
	print_mappings(picture);
	print_networks(picture);
	print_firewalls(picture);
	if (picture->drift_known)
		print_total("nat_bridge_drift",
			    "Differences between the kernel and the rule files, as 'nat-bridge "
			    "check' names them.",
			    picture->drift.count);
	print_total("nat_bridge_warnings", "Warnings, as 'nat-bridge status' names them.",
		    run->warnings.count);
}
