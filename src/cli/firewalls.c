/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host's firewalls do to mappings where no opener helps, told as warnings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Something changed the rules again and again while they were read. */
#define TRIES 5

/* The paths of @mappings, as many as *@ret_count. NULL: out of memory. */
static struct nb_flow_path *make_paths(const struct nb_element_list *mappings,
				       const struct nb_link_list *links, size_t *ret_count)
{
	struct nb_flow_path *paths = calloc(mappings->count + 1, sizeof(*paths));
	size_t count = 0;

	for (size_t i = 0; paths && i < mappings->count; i++) {
		const struct nb_element *mapping = &mappings->items[i];
		const struct nb_link *link = nb_link_find(links, mapping->bridge);

		if (!link)
			continue;
		paths[count] = (struct nb_flow_path){
			.index = link->index,
			.protocol = mapping->protocol,
			.port = mapping->port,
			.target = mapping->target,
		};
		memcpy(paths[count].bridge, mapping->bridge, sizeof(paths[count].bridge));
		count++;
	}
	*ret_count = count;
	return paths;
}

void nb_advise_firewalls(struct nb_run *run, const struct nb_element_list *mappings,
			 const struct nb_link_list *links)
{
	struct nb_flow_path *paths;
	struct nb_error ignored;
	size_t count;

	/* no failure, and nothing that a script can mend */
	if (run->options.quiet && !run->options.json)
		return;
	paths = make_paths(mappings, links, &count);
	if (paths)
		(void)nb_firewall_advise(run->nl, run->config.mark, paths, count, &run->warnings,
					 &ignored);
	free(paths);
}

bool nb_survey_firewalls(struct nb_run *run, const struct nb_element_list *mappings,
			 const struct nb_link_list *links, struct nb_firewall_list *ret)
{
	struct nb_obstacle_list obstacles = { 0 };
	size_t count;
	struct nb_flow_path *paths = make_paths(mappings, links, &count);
	int r = paths ? -EAGAIN : -ENOMEM;

	for (int i = 0; r == -EAGAIN && i < TRIES; i++) {
		nb_firewall_list_clear(ret);
		nb_obstacle_list_clear(&obstacles);
		r = nb_firewall_survey(run->nl, run->config.mark, paths, count, ret, &obstacles);
	}
	if (r == 0)
		nb_obstacle_warn(&obstacles, &run->warnings);
	nb_obstacle_list_clear(&obstacles);
	free(paths);
	return r == 0;
}
