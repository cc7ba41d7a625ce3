/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nat-bridge remove
 *
 *   lock -> old files to .NAME.gone -> kernel -> unlink = commit
 *
 * After the kernel's first batch only forward: a failure then leaves the
 * mapping closed and its removal unfinished, which `apply` ends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wanted.h"

struct removal {
	struct nb_port_spec *specs;
	size_t spec_count;
	struct nb_state state; /* for names and counts only; the change reads anew */
	struct nb_inventory inventory;
	const struct nb_stored **chosen; /* of the inventory, */
	size_t chosen_count;
	bool *is_chosen;	     /* and by its index */
	struct nb_element_list keys; /* what leaves the kernel; sorted */
	/* whose flows end even if the kernel has no element of them: over, flushed, half removed */
	struct nb_element_list ended;
	struct nb_element_list staying; /* what is asked for also when it is done; sorted */
	struct nb_change *change;
	bool staged;
	int tidied; /* earlier removals that were not finished until now */
};

static void clear(struct removal *removal)
{
	free(removal->specs);
	free(removal->chosen);
	free(removal->is_chosen);
	nb_element_list_clear(&removal->keys);
	nb_element_list_clear(&removal->ended);
	nb_element_list_clear(&removal->staying);
	nb_inventory_clear(&removal->inventory);
	nb_state_clear(&removal->state);
	nb_change_free(removal->change);
}

/* A PORT alone: whose mapping it could be is said, as far as the rule files tell. */
static int require_network(struct nb_run *run, const struct nb_port_spec *spec)
{
	char network[NB_NETWORK_SIZE] = "NETWORK";
	struct nb_error ignored;

	if (nb_rules_read(run->options.rules, &run->rules, NULL, &ignored) == 0)
		for (size_t i = 0; i < run->rules.mappings.count; i++) {
			const struct nb_mapping *mapping = &run->rules.mappings.items[i];

			if (mapping->port != spec->port || mapping->protocol != spec->protocol)
				continue;
			if (mapping->network.engine == NB_ENGINE_IFACE)
				snprintf(network, sizeof(network), "%s", mapping->network.name);
			else
				nb_network_format(&mapping->network, network);
		}
	return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
			    "the NETWORK comes first: nat-bridge remove %s %s", network,
			    run->words[0]);
}

static int check_usage(struct nb_run *run)
{
	const struct nb_options *options = &run->options;
	const char *message = NULL;
	struct nb_port_spec spec;

	if (!options->all && !options->all_networks && run->word_count == 1 &&
	    nb_port_parse(run->words[0], &spec, NULL) == 0)
		return require_network(run, &spec);
	if (options->all_networks && run->word_count > 0)
		message = "remove --all-networks takes no NETWORK and no PORT";
	else if (!options->all_networks && run->word_count == 0)
		message = "remove needs a NETWORK and a PORT, NETWORK --all, or --all-networks";
	else if (options->all && run->word_count > 1)
		message = "remove NETWORK takes either PORT or --all";
	else if (!options->all_networks && !options->all && run->word_count < 2)
		message = "remove needs a PORT, or --all for every mapping of that network";
	if (!message)
		return 0;
	return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
			    "%s (try: nat-bridge remove --help)", message);
}

static void choose_item(struct removal *removal, size_t index)
{
	removal->is_chosen[index] = true;
	removal->chosen[removal->chosen_count++] = &removal->inventory.items[index];
}

static void warn_absent_port(struct nb_run *run, const struct removal *removal,
			     const struct nb_network *network, const struct nb_port_spec *spec)
{
	const struct nb_mapping *nearest = NULL;
	char name[NB_NETWORK_SIZE], hint[64] = "";

	for (size_t i = 0; i < removal->inventory.count; i++) {
		const struct nb_mapping *mapping = &removal->inventory.items[i].mapping;

		if (nb_network_compare(&mapping->network, network) != 0)
			continue;
		if (!nearest || abs(mapping->port - spec->port) < abs(nearest->port - spec->port))
			nearest = mapping;
	}
	if (nearest)
		snprintf(hint, sizeof(hint), "; the nearest is %u/%s", nearest->port,
			 nb_protocol_name(nearest->protocol));
	nb_warn(&run->warnings, "%u/%s is not mapped on %s%s", spec->port,
		nb_protocol_name(spec->protocol), nb_network_format(network, name), hint);
}

/* Every entry of the key: a network may be several bridges. */
static int choose_port(struct nb_run *run, struct removal *removal,
		       const struct nb_network *network, const struct nb_port_spec *spec)
{
	bool found = false;

	for (size_t i = 0; i < removal->inventory.count; i++) {
		const struct nb_stored *stored = &removal->inventory.items[i];
		char target[NB_TARGET_SIZE];

		if (nb_network_compare(&stored->mapping.network, network) != 0 ||
		    stored->mapping.port != spec->port ||
		    stored->mapping.protocol != spec->protocol)
			continue;
		if (spec->target_given && !nb_target_equal(&spec->target, &stored->mapping.target))
			return nb_error_set(&run->error, NB_STATUS_FAILED, EINVAL, "conflict",
					    "port %u/%s leads to %s, not to the target that was "
					    "given: leave the target out",
					    spec->port, nb_protocol_name(spec->protocol),
					    nb_target_format(&stored->mapping.target, target));
		found = true;
		choose_item(removal, i);
	}
	if (!found)
		warn_absent_port(run, removal, network, spec);
	return 0;
}

static int choose_ports(struct nb_run *run, struct removal *removal,
			const struct nb_network *network)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < removal->spec_count; i++)
		r = choose_port(run, removal, network, &removal->specs[i]);
	return r;
}

static int choose(struct nb_run *run, struct removal *removal)
{
	const struct nb_inventory *inventory = &removal->inventory;
	const struct nb_port_spec any_port = { .port = 0 };
	struct nb_network network;
	bool found;
	int r;

	removal->chosen = calloc(inventory->count + 1, sizeof(struct nb_stored *));
	removal->is_chosen = calloc(inventory->count + 1, sizeof(bool));
	if (!removal->chosen || !removal->is_chosen)
		return nb_out_of_memory(run);
	/* what an invalid file holds would come back with the next apply */
	if (run->options.all_networks) {
		r = nb_wanted_require_valid(run);
		if (r < 0)
			return r;
		for (size_t i = 0; i < inventory->count; i++)
			choose_item(removal, i);
		return 0;
	}
	r = nb_inventory_find_network(run, inventory, run->words[0], &network);
	if (r < 0)
		return r;
	found = r > 0;
	if (!found && !nb_network_is_qualified(run->words[0])) {
		/* it may still be in a file that cannot be read */
		memset(&network, 0, sizeof(network));
		snprintf(network.name, sizeof(network.name), "%s", run->words[0]);
	}
	r = run->options.all
		    ? nb_warn_invalid_files(run, &network, &any_port, 1)
		    : nb_warn_invalid_files(run, &network, removal->specs, removal->spec_count);
	if (r < 0)
		return r;
	if (!found)
		return nb_inventory_warn_absent(run, inventory, run->words[0]);
	if (!run->options.all)
		return choose_ports(run, removal, &network);
	for (size_t i = 0; i < inventory->count; i++)
		if (nb_network_compare(&inventory->items[i].mapping.network, &network) == 0)
			choose_item(removal, i);
	if (removal->chosen_count == 0)
		return nb_inventory_warn_absent(run, inventory, run->words[0]);
	return 0;
}

/* Is that entry asked for by somebody, also when the removal is done? */
static bool stays(const struct removal *removal, size_t index)
{
	const struct nb_stored *stored = &removal->inventory.items[index];

	return !removal->is_chosen[index] && stored->bridge[0] &&
	       strcmp(stored->origin, "kernel") != 0 && nb_mapping_is_in_force(&stored->mapping);
}

static int collect_staying(struct nb_run *run, struct removal *removal)
{
	for (size_t i = 0; i < removal->inventory.count; i++) {
		const struct nb_element key = nb_stored_key(&removal->inventory.items[i]);

		if (stays(removal, i) && nb_element_list_append(&removal->staying, &key) < 0)
			return nb_out_of_memory(run);
	}
	nb_element_list_sort(&removal->staying);
	return 0;
}

/* What an earlier removal that was killed, or failed half-way, left to do. */
static int collect_unfinished(struct nb_run *run, struct removal *removal)
{
	struct nb_resolver resolver = {
		.run = run,
		.links = &removal->state.links,
		.bridges = &removal->state.bridges,
	};
	size_t first = removal->ended.count;
	int r = nb_wanted_unfinished(&resolver, &removal->ended);

	nb_resolver_clear(&resolver);
	/* what has the key of something that stays is not the removal's any more */
	for (size_t i = first; r == 0 && i < removal->ended.count; i++)
		if (!nb_element_find(&removal->staying, &removal->ended.items[i]) &&
		    nb_element_list_append(&removal->keys, &removal->ended.items[i]) < 0)
			r = nb_out_of_memory(run);
	return r;
}

static int collect_keys(struct nb_run *run, struct removal *removal)
{
	int r;

	for (size_t i = 0; i < removal->inventory.count; i++) {
		const struct nb_stored *stored = &removal->inventory.items[i];
		const struct nb_element key = nb_stored_key(stored);

		if (!removal->is_chosen[i] || !stored->owns_key)
			continue;
		if (nb_element_list_append(&removal->keys, &key) < 0 ||
		    nb_element_list_append(&removal->ended, &key) < 0)
			return nb_out_of_memory(run);
	}
	r = collect_staying(run, removal);
	if (r == 0)
		r = collect_unfinished(run, removal);
	nb_element_list_sort(&removal->keys);
	return r;
}

/* What other networks on the same bridges still ask for stays, with the life that they gave it. */
static int keep_shared(const struct removal *removal, const struct nb_state *state,
		       struct nb_desired *desired)
{
	for (size_t i = 0; i < removal->inventory.count; i++) {
		const struct nb_stored *stored = &removal->inventory.items[i];
		const struct nb_element key = nb_stored_key(stored);
		int r;

		if (!stays(removal, i) || !nb_element_find(&removal->keys, &key) ||
		    !nb_element_find_exact(&state->targets, &key))
			continue;
		r = stored->link
			    ? nb_desired_add(desired, stored->bridge, &stored->mapping)
			    : nb_desired_add_pending(desired, stored->bridge, &stored->mapping);
		if (r < 0)
			return -ENOMEM;
	}
	return 0;
}

/* What files ask for lives on, also where somebody flushed it and `apply` has yet to come. */
static int spare_others(const struct removal *removal, struct nb_desired *desired)
{
	desired->complete = true;
	for (size_t i = 0; i < removal->staying.count; i++)
		if (nb_element_list_append(&desired->spared, &removal->staying.items[i]) < 0)
			return -ENOMEM;
	return 0;
}

/* A bridge that stays and loses a network: its comment names those that stay. */
static void rename_networks(const struct removal *removal, struct nb_desired *desired)
{
	struct nb_bridge *last = NULL;

	for (size_t i = 0; i < removal->inventory.count; i++) {
		struct nb_bridge *bridge = nb_bridge_find(&desired->bridges,
							  removal->inventory.items[i].bridge);

		if (!removal->is_chosen[i] || !bridge || bridge == last)
			continue;
		last = bridge;
		bridge->comment[0] = '\0';
		for (size_t j = 0; j < removal->inventory.count; j++) {
			const struct nb_stored *stored = &removal->inventory.items[j];

			if (!removal->is_chosen[j] && strcmp(stored->bridge, bridge->name) == 0 &&
			    nb_mapping_is_in_force(&stored->mapping))
				nb_comment_add_network(bridge->comment, &stored->mapping.network);
		}
	}
}

static int build(struct nb_run *run, const struct nb_state *state, struct nb_desired *desired,
		 void *data)
{
	const struct removal *removal = data;

	if (nb_desired_from_state(desired, state, false) < 0)
		return nb_out_of_memory(run);
	nb_desired_drop(desired, &removal->keys);
	if (keep_shared(removal, state, desired) < 0)
		return nb_out_of_memory(run);
	for (size_t i = 0; i < removal->ended.count; i++)
		if (nb_element_list_append(&desired->ended, &removal->ended.items[i]) < 0)
			return nb_out_of_memory(run);
	if (spare_others(removal, desired) < 0)
		return nb_out_of_memory(run);
	rename_networks(removal, desired);
	return 0;
}

/* Returns how many mappings leave a rule file. */
static int stage(struct nb_run *run, struct removal *removal)
{
	int changed = 0, r;

	removal->change = nb_change_new_remove(&run->rules);
	if (!removal->change)
		return nb_out_of_memory(run);
	for (size_t i = 0; i < removal->chosen_count; i++) {
		if (removal->chosen[i]->mapping.file == SIZE_MAX)
			continue;
		r = nb_change_take(removal->change, &removal->chosen[i]->mapping, &run->error);
		if (r < 0)
			return r;
		changed += r;
	}
	if (changed == 0 || run->options.dry_run)
		return changed;
	r = nb_change_prepare(removal->change, &run->error);
	if (r < 0)
		return r;
	removal->staged = true;
	return changed;
}

static int commit(struct nb_run *run, void *data)
{
	struct removal *removal = data;
	int r = removal->staged ? nb_change_commit(removal->change, &run->error) : 0;

	/* what an earlier removal left is done with this one */
	if (r == 0 && run->rules.unfinished_count)
		r = removal->tidied = nb_run_tidy_rules(run, true);
	return r < 0 ? r : 0;
}

static int fill_report(struct nb_run *run, const struct removal *removal, struct nb_report *report)
{
	report->verb = "removed";
	report->unchanged = "nothing of that is mapped";
	for (size_t i = 0; i < removal->chosen_count; i++) {
		const struct nb_stored *stored = removal->chosen[i];
		const struct nb_row row = {
			.mapping = &stored->mapping,
			.bridge = stored->link ? stored->bridge : NULL,
			.origin = stored->origin,
		};

		if (nb_row_append(&report->mappings, &row) < 0)
			return nb_out_of_memory(run);
	}
	return 0;
}

static bool chose_more_than_runtime(const struct removal *removal)
{
	for (size_t i = 0; i < removal->inventory.count; i++)
		if (removal->is_chosen[i] && !removal->inventory.items[i].mapping.runtime)
			return true;
	return false;
}

static int carry_out(struct nb_run *run, struct removal *removal, struct nb_report *report)
{
	const struct nb_goal goal = {
		.build = build,
		.commit = commit,
		.data = removal,
		.forward_only = true,
	};
	struct nb_outcome outcome = { 0 };
	struct nb_error ignored;
	int files, r;

	if (removal->chosen_count == 0 && run->rules.unfinished_count == 0)
		return fill_report(run, removal, report);
	/* a removal that is forgotten with the directory would come back with it */
	if (chose_more_than_runtime(removal)) {
		r = nb_wanted_require_directory(run, &removal->state);
		if (r < 0)
			return r;
	}
	files = stage(run, removal);
	if (files < 0)
		return files;
	r = nb_transact(run, &goal, &outcome, &report->script);
	if (r < 0) {
		/* before the first batch nothing has happened; after it only forward */
		if (removal->staged && !outcome.committed && !nb_change_is_begun(removal->change))
			nb_change_abandon(removal->change, &ignored);
		run->changed = outcome.committed || nb_change_is_begun(removal->change);
		return r;
	}
	report->changed = outcome.changed || files > 0 || removal->tidied > 0;
	report->ended = removal->tidied > 0;
	return fill_report(run, removal, report);
}

static int read_state(struct nb_run *run, struct removal *removal)
{
	int64_t deadline = nb_monotonic_ms() + 5000;
	int r;

	do {
		nb_state_clear(&removal->state);
		r = nb_state_read(run->nl, run->config.mark, NULL, 0, &removal->state, &run->error);
	} while (r == -EAGAIN && nb_monotonic_ms() < deadline);
	return r;
}

int nb_command_remove(struct nb_run *run)
{
	struct removal removal = { 0 };
	struct nb_report report = { 0 };
	int status, r = check_usage(run);

	if (r == 0 && run->word_count > 1)
		r = nb_words_to_specs(run, run->words + 1, run->word_count - 1, &removal.specs,
				      &removal.spec_count);
	if (r == 0 && run->word_count > 0)
		r = nb_resolve_check_word(run, run->words[0]);
	if (r == 0)
		r = nb_run_prepare(run, true);
	if (r == 0)
		r = nb_run_read_rules(run);
	if (r == 0)
		r = read_state(run, &removal);
	if (r == 0)
		r = nb_inventory_make(run, &removal.state, &removal.state.links,
				      run->word_count ? run->words[0] : NULL, &removal.inventory);
	if (r == 0)
		r = choose(run, &removal);
	if (r == 0)
		r = collect_keys(run, &removal);
	if (r == 0)
		r = carry_out(run, &removal, &report);
	status = r < 0 ? nb_print_failure(run) : nb_print_change(run, &report, NB_STATUS_OK);
	nb_report_clear(&report);
	clear(&removal);
	return status;
}
