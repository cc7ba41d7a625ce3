/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host's firewalls do to mappings where no opener helps, told as warnings. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "nat-bridge/firewall.h"

void nb_advise_firewalls(struct nb_run *run, const struct nb_element_list *mappings,
			 const struct nb_link_list *links)
{
	struct nb_flow_path *paths = calloc(mappings->count + 1, sizeof(*paths));
	struct nb_error ignored;
	size_t count = 0;

	/* no failure, and nothing that a script can mend */
	if (!paths || (run->options.quiet && !run->options.json))
		goto out;
	for (size_t i = 0; i < mappings->count; i++) {
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
	(void)nb_firewall_advise(run->nl, run->config.mark, paths, count, &run->warnings, &ignored);
out:
	free(paths);
}
