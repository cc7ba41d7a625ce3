/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `list` and `status` look at: everything that is stored, as far as this user may see it. */
#include "view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wanted.h"

/*
 * The state, as far as this user may see it: only an administrator may read
 * the ruleset. Returns 1 if it is there, 0 if it is not visible.
 */
static int read_visible(struct nb_run *run, struct nb_state *state)
{
	int r = -EAGAIN;

	for (int64_t deadline = nb_monotonic_ms() + 5000;
	     r == -EAGAIN && nb_monotonic_ms() < deadline;) {
		nb_state_clear(state);
		r = nb_state_read(run->nl, run->config.mark, NULL, 0, state, &run->error);
	}
	if (r == 0)
		return 1;
	nb_state_clear(state);
	if (r != -EPERM && r != -EACCES)
		return r;
	nb_warn(&run->warnings,
		"%sstate, connections and bytes are for root to see: sudo nat-bridge %s",
		run->command->run == nb_command_status ? "guards, firewalls, " : "",
		run->command->name);
	return 0;
}

/* What this user may not read is left out, with a word. */
static int as_far_as_allowed(struct nb_run *run, int r, bool *ret_hidden)
{
	*ret_hidden = r == -EACCES && geteuid() != 0;
	if (!*ret_hidden)
		return r;
	nb_warn(&run->warnings, "%s", run->error.message);
	return 0;
}

void nb_view_count_flows(struct nb_run *run, const struct nb_view *view, uint64_t *counts)
{
	const struct nb_inventory *inventory = &view->inventory;
	struct nb_flow_match *matches = calloc(inventory->count + 1, sizeof(*matches));
	size_t *rows = calloc(inventory->count + 1, sizeof(*rows));
	uint64_t *found = calloc(inventory->count + 1, sizeof(*found));
	size_t count = 0;

	if (!view->visible || !matches || !rows || !found)
		goto out;
	for (size_t i = 0; i < inventory->count; i++) {
		const struct nb_stored *stored = &inventory->items[i];

		if (!stored->link || !stored->accepted)
			continue;
		matches[count].ifindex = stored->link->index;
		matches[count].protocol = stored->mapping.protocol;
		matches[count].port = stored->mapping.port;
		matches[count].target = stored->mapping.target;
		rows[count++] = i;
	}
	if (count == 0)
		goto out;
	if (nb_flow_count(run->nl, matches, count, found, &run->error) < 0) {
		nb_warn(&run->warnings, "connections cannot be counted: %s", run->error.message);
		goto out;
	}
	for (size_t i = 0; i < count; i++)
		counts[rows[i]] = found[i];
out:
	free(matches);
	free(rows);
	free(found);
}

/* With a NETWORK only what is stored under that name. */
static int choose(struct nb_run *run, struct nb_view *view)
{
	struct nb_inventory *inventory = &view->inventory;
	const struct nb_port_spec any_port = { .port = 0 };
	struct nb_network network;
	size_t kept = 0;
	int r;

	if (run->word_count == 0)
		return nb_warn_invalid_files(run, NULL, NULL, 0);
	r = nb_inventory_find_network(run, inventory, run->words[0], &network);
	if (r < 0)
		return r;
	/* it may stand in a file that cannot be read */
	if (r == 0 && !nb_network_is_qualified(run->words[0])) {
		memset(&network, 0, sizeof(network));
		snprintf(network.name, sizeof(network.name), "%s", run->words[0]);
	}
	if (nb_warn_invalid_files(run, &network, &any_port, 1) < 0)
		return -EINVAL;
	if (r == 0)
		r = view->requires_network
			    ? nb_inventory_refuse_absent(run, inventory, run->words[0])
			    : nb_inventory_warn_absent(run, inventory, run->words[0]);
	else
		for (size_t i = 0; i < inventory->count; i++)
			if (nb_network_compare(&inventory->items[i].mapping.network, &network) == 0)
				inventory->items[kept++] = inventory->items[i];
	inventory->count = kept;
	return r < 0 ? r : 0;
}

static int read_view(struct nb_run *run, struct nb_view *view)
{
	int visible, r = as_far_as_allowed(run, nb_run_read_rules(run), &view->hidden);

	if (r < 0 && view->goes_on && strcmp(run->error.code, "rules-directory") == 0) {
		view->hidden = view->unread = true;
		r = 0;
	}
	if (r == 0) {
		r = visible = read_visible(run, &view->state);
		view->visible = visible > 0;
	}
	if (r >= 0)
		r = nb_link_dump(run->nl, &view->links, &run->error);
	if (r == 0)
		r = nb_inventory_make(run, view->visible ? &view->state : NULL, nb_view_links(view),
				      view->about, &view->inventory);
	if (r == 0 && view->visible)
		r = nb_probe_ingress(run, &view->state.bridges, &view->state);
	return r;
}

int nb_view_prepare(struct nb_run *run)
{
	bool hidden;
	int r = 0;

	if (run->word_count > 1)
		return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				    "%s takes one NETWORK, or none (try: nat-bridge %s --help)",
				    run->command->name, run->command->name);
	if (run->word_count)
		r = nb_resolve_check_word(run, run->words[0]);
	return r < 0 ? r : as_far_as_allowed(run, nb_run_prepare(run, false), &hidden);
}

/* Of the bridges that are shown, and if all are of those that no mapping names any more, too. */
static int warn_ingress(struct nb_run *run, const struct nb_view *view)
{
	struct nb_bridge_list bridges = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < view->inventory.count; i++)
		if (view->inventory.items[i].link &&
		    !nb_bridge_put(&bridges, view->inventory.items[i].bridge))
			r = nb_out_of_memory(run);
	for (size_t i = 0; r == 0 && run->word_count == 0 && i < view->state.bridges.count; i++)
		if (!nb_bridge_put(&bridges, view->state.bridges.items[i].name))
			r = nb_out_of_memory(run);
	if (r == 0)
		nb_warn_ingress(run, &bridges, &view->state);
	nb_bridge_list_clear(&bridges);
	return r;
}

int nb_view_read(struct nb_run *run, struct nb_view *ret)
{
	int r;

	if (run->word_count)
		ret->about = run->words[0];
	r = read_view(run, ret);
	if (r < 0)
		return r;
	if (ret->visible && ret->state.table == NB_TABLE_NEWER)
		return nb_plan_refuse_newer(&ret->state, &run->error);
	if (ret->visible && !ret->unread && nb_wanted_require_directory(run, &ret->state) < 0)
		ret->result = NB_STATUS_FAILED;
	/* on a host where nothing was ever mapped that is as it should be */
	else if (!run->rules.present && !ret->hidden &&
		 (ret->inventory.count || strcmp(run->options.rules, NB_DEFAULT_RULES) != 0))
		nb_warn(&run->warnings, "%s does not exist: there are no rule files",
			run->options.rules);
	r = choose(run, ret);
	return r == 0 && ret->visible ? warn_ingress(run, ret) : r;
}

const struct nb_link_list *nb_view_links(const struct nb_view *view)
{
	return view->visible ? &view->state.links : &view->links;
}

struct nb_row nb_view_row(const struct nb_run *run, const struct nb_view *view, size_t i,
			  uint64_t connections)
{
	const struct nb_stored *stored = &view->inventory.items[i];
	size_t file = stored->mapping.file;

	return (struct nb_row){
		.mapping = &stored->mapping,
		.bridge = stored->link ? stored->bridge : NULL,
		.origin = stored->origin,
		.file = file == SIZE_MAX ? NULL : run->rules.files[file].name,
		.state = stored->state,
		.counted = view->visible,
		.connections = connections,
		.packets = stored->accepted ? stored->accepted->packets : 0,
		.bytes = stored->accepted ? stored->accepted->bytes : 0,
	};
}

void nb_view_clear(struct nb_view *view)
{
	nb_inventory_clear(&view->inventory);
	nb_link_list_clear(&view->links);
	nb_state_clear(&view->state);
}
