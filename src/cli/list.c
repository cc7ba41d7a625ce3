/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nat-bridge list: what is configured and what is live. */
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
	nb_warn(&run->warnings, "state, connections and bytes are for root to see: sudo nat-bridge "
				"list");
	return 0;
}

/* What this user may not read is left out, with a word. */
static int as_far_as_allowed(struct nb_run *run, int r)
{
	if (r != -EACCES || geteuid() == 0)
		return r;
	nb_warn(&run->warnings, "%s", run->error.message);
	return 0;
}

/* One dump of the flows for all rows. */
static void count_flows(struct nb_run *run, const struct nb_inventory *inventory, uint64_t *counts)
{
	struct nb_flow_match *matches = calloc(inventory->count + 1, sizeof(*matches));
	size_t *rows = calloc(inventory->count + 1, sizeof(*rows));
	uint64_t *found = calloc(inventory->count + 1, sizeof(*found));
	size_t count = 0;

	if (!matches || !rows || !found)
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
static int choose(struct nb_run *run, struct nb_inventory *inventory)
{
	struct nb_network network;
	size_t kept = 0;
	int r;

	if (run->word_count == 0)
		return 0;
	r = nb_inventory_find_network(run, inventory, run->words[0], &network);
	if (r == 0)
		r = nb_inventory_warn_absent(run, inventory, run->words[0]);
	else if (r < 0)
		return r;
	else
		for (size_t i = 0; i < inventory->count; i++)
			if (nb_network_compare(&inventory->items[i].mapping.network, &network) == 0)
				inventory->items[kept++] = inventory->items[i];
	inventory->count = kept;
	return r < 0 ? r : 0;
}

static int fill_rows(struct nb_run *run, const struct nb_inventory *inventory, bool visible,
		     struct nb_row_list *rows)
{
	uint64_t *counts = calloc(inventory->count + 1, sizeof(*counts));
	int r = 0;

	if (!counts)
		return nb_out_of_memory(run);
	if (visible)
		count_flows(run, inventory, counts);
	for (size_t i = 0; r == 0 && i < inventory->count; i++) {
		const struct nb_stored *stored = &inventory->items[i];
		size_t file = stored->mapping.file;
		const struct nb_row row = {
			.mapping = &stored->mapping,
			.bridge = stored->link ? stored->bridge : NULL,
			.origin = stored->origin,
			.file = file == SIZE_MAX ? NULL : run->rules.files[file].name,
			.state = stored->state,
			.counted = visible,
			.connections = counts[i],
			.packets = stored->accepted ? stored->accepted->packets : 0,
			.bytes = stored->accepted ? stored->accepted->bytes : 0,
		};

		if (nb_row_append(rows, &row) < 0)
			r = nb_out_of_memory(run);
	}
	free(counts);
	return r;
}

int nb_command_list(struct nb_run *run)
{
	struct nb_inventory inventory = { 0 };
	struct nb_row_list rows = { 0 };
	struct nb_link_list links = { 0 };
	struct nb_state state = { 0 };
	enum nb_status result = NB_STATUS_OK;
	int visible = 0, status, r;

	if (run->word_count > 1)
		r = nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				 "list takes one NETWORK, or none (try: nat-bridge list --help)");
	else
		r = run->word_count ? nb_resolve_check_word(run, run->words[0]) : 0;
	if (r == 0)
		r = as_far_as_allowed(run, nb_run_prepare(run, false));
	if (r == 0)
		r = as_far_as_allowed(run, nb_run_read_rules(run));
	if (r == 0)
		r = nb_warn_invalid_files(run, NULL, NULL, 0);
	if (r == 0)
		r = visible = read_visible(run, &state);
	if (r == 0)
		r = nb_link_dump(run->nl, &links, &run->error);
	if (r >= 0)
		r = nb_inventory_make(run, visible ? &state : NULL, visible ? &state.links : &links,
				      &inventory);
	if (r == 0 && visible)
		r = nb_probe_ingress(run, &state.bridges, &state);
	if (r == 0 && visible)
		nb_warn_ingress(run, &state.bridges, &state);
	if (r == 0 && visible && nb_wanted_require_directory(run, &state) < 0)
		result = NB_STATUS_FAILED;
	/* on a host where nothing was ever mapped that is as it should be */
	else if (r == 0 && !run->rules.present &&
		 (inventory.count || strcmp(run->options.rules, NB_DEFAULT_RULES) != 0))
		nb_warn(&run->warnings, "%s does not exist: there are no rule files",
			run->options.rules);
	if (r == 0)
		r = choose(run, &inventory);
	if (r == 0)
		r = fill_rows(run, &inventory, visible, &rows);
	status = r < 0 ? nb_print_failure(run) : nb_print_list(run, &rows, result);
	free(rows.items);
	nb_inventory_clear(&inventory);
	nb_link_list_clear(&links);
	nb_state_clear(&state);
	return status;
}
