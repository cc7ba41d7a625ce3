/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to be said of the guard that outlives a flush of nf_tables. */
#include "cli.h"

void nb_warn_ingress(struct nb_run *run, const struct nb_bridge_list *bridges,
		     const struct nb_state *state)
{
	if (state->ingress == NB_INGRESS_IMPOSSIBLE)
		nb_warn(&run->warnings,
			"guard: nftables only (%s): if 'nft flush ruleset' removes it, containers "
			"that may send raw frames reach every port of 127.0.0.1 until 'nat-bridge "
			"apply'",
			state->ingress_why);
	for (size_t i = 0; i < bridges->count; i++) {
		const struct nb_link *link = nb_link_find(&state->links, bridges->items[i].name);

		if (link && link->ingress.preceded)
			nb_warn(&run->warnings,
				"another program's filter at the ingress of %s is asked before "
				"ours (priority %u): what it accepts passes when 'nft flush "
				"ruleset' has removed the rest of the guard; see 'tc filter show "
				"dev "
				"%s ingress'",
				link->name, link->ingress.priority, link->name);
	}
}
