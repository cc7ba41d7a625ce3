/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to be said of the guard that outlives a flush of nf_tables. */
#include <string.h>
#include <unistd.h>

#include "cli.h"

static bool has_filter(const struct nb_state *state)
{
	for (size_t i = 0; i < state->links.count; i++)
		if (state->links.items[i].ingress.priority)
			return true;
	return false;
}

int nb_probe_ingress(struct nb_run *run, const struct nb_bridge_list *bridges,
		     struct nb_state *state)
{
	int r = nb_state_probe_ingress(run->nl, run->config.mark, bridges, state, &run->error);
	char why[sizeof(state->ingress_why)];

	if (r < 0 || state->ingress != NB_INGRESS_POSSIBLE)
		return r;
	if ((run->lock >= 0 && !run->believe) || has_filter(state) ||
	    !nb_unfiltered(why, sizeof(why)))
		return 0;
	close(state->ingress_program);
	state->ingress = NB_INGRESS_IMPOSSIBLE;
	memcpy(state->ingress_why, why, sizeof(why));
	return 0;
}

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
