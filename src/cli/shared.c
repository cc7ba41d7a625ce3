/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bridge may be several networks: "docker:agents" and "iface:br-0123456789ab", or what two
 * patterns match. On one bridge one key has one target, so what a network may map there
 * depends on what the rule files say of the others.
 */
#include <errno.h>
#include <string.h>

#include "../model/text.h"
#include "cli.h"

void nb_error_at(struct nb_run *run, const struct nb_mapping *mapping)
{
	char path[sizeof(run->error.file)];

	if (mapping->file == SIZE_MAX)
		return;
	snprintf(path, sizeof(path), "%s/%s", run->options.rules,
		 run->rules.files[mapping->file].name);
	nb_copy_line(run->error.file, sizeof(run->error.file), path);
	run->error.line = mapping->line;
	snprintf(run->error.key, sizeof(run->error.key), "mappings[%u]", mapping->place);
}

const char *nb_mapping_place(const struct nb_run *run, const struct nb_mapping *mapping,
			     char *buffer)
{
	char name[200];

	nb_copy_line(name, sizeof(name), run->rules.files[mapping->file].name);
	snprintf(buffer, NB_PLACE_SIZE, "%s:%u", name, mapping->line);
	return buffer;
}

/* Another network's mapping @have of the key stands in a rule file. Does @mapping go with it? */
static int compare(struct nb_run *run, const char *bridge, const struct nb_mapping *mapping,
		   const struct nb_mapping *have)
{
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE], place[NB_PLACE_SIZE];

	if (nb_target_equal(&have->target, &mapping->target) && !mapping->runtime)
		return 0;
	nb_network_format(&have->network, network);
	nb_mapping_place(run, have, place);
	if (mapping->runtime)
		nb_error_set(&run->error, NB_STATUS_FAILED, EEXIST, "conflict",
			     "port %u/%s of %s is mapped for %s already (%s): it is the same "
			     "bridge; without --runtime it can be for both",
			     mapping->port, nb_protocol_name(mapping->protocol), bridge, network,
			     place);
	else
		nb_error_set(&run->error, NB_STATUS_FAILED, EEXIST, "conflict",
			     "port %u/%s of %s leads to %s for %s (%s), which is the same bridge: "
			     "name that target, or dial another port",
			     mapping->port, nb_protocol_name(mapping->protocol), bridge,
			     nb_target_format(&have->target, target), network, place);
	nb_error_at(run, have);
	return -EEXIST;
}

int nb_share_bridge(struct nb_resolver *resolver, const struct nb_resolved *on,
		    const struct nb_mapping *mapping, struct nb_desired *desired)
{
	const struct nb_mapping_list *mappings = &resolver->run->rules.mappings;
	struct nb_run *run = resolver->run;

	for (size_t i = 0; i < mappings->count; i++) {
		const struct nb_mapping *have = &mappings->items[i];
		const struct nb_resolution *resolution;
		int r = 0;

		if (have->port != mapping->port || have->protocol != mapping->protocol ||
		    nb_network_compare(&have->network, &mapping->network) == 0 ||
		    !nb_mapping_is_in_force(have))
			continue;
		resolution = nb_resolve(resolver, have);
		if (!resolution)
			return nb_out_of_memory(run);
		if (!nb_resolution_has(resolution, on->bridge))
			continue;
		r = compare(run, on->bridge, mapping, have);
		if (r < 0)
			return r;
		r = on->present ? nb_desired_add(desired, on->bridge, have)
				: nb_desired_add_pending(desired, on->bridge, have);
		if (r < 0)
			return nb_out_of_memory(run);
	}
	return 0;
}
