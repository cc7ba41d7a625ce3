/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nat-bridge add
 *
 *   lock -> new files as .NAME.new -> kernel -> rename = commit
 *
 * Only the elements of the added keys are asked for, not all mappings: the
 * batch is bound to the generation that was read, so what was not looked at cannot have
 * changed either.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wanted.h"

struct addition {
	struct nb_network network;
	struct nb_mapping pattern; /* the network, and what it leaves out */
	struct nb_state guards; /* read if the engine is silent: they know where its networks are */
	struct nb_resolver resolver;
	const struct nb_resolution *bridges; /* what the network is now */
	struct nb_port_spec *specs;
	size_t spec_count;
	struct nb_mapping_list mappings;
	struct nb_element_list keys;
	const struct nb_element_list *keys_asked; /* NULL: everything that is live */
	struct nb_change *change;		  /* NULL: no rule file is written */
	bool staged;
	bool narrowed; /* a pattern leaves out more than before: that is closed */
	struct nb_wanted wanted;
	char vanished[NB_IFNAME_SIZE]; /* the bridge went away while it was mapped */
};

static void clear(struct addition *addition)
{
	nb_resolver_clear(&addition->resolver);
	nb_mapping_clear(&addition->pattern);
	nb_wanted_clear(&addition->wanted);
	nb_state_clear(&addition->guards);
	free(addition->specs);
	nb_mapping_list_clear(&addition->mappings);
	nb_element_list_clear(&addition->keys);
	nb_change_free(addition->change);
}

static int conflict(struct nb_run *run, const struct nb_mapping *mapping,
		    const struct nb_target *have, const char *where)
{
	char target[NB_TARGET_SIZE];

	return nb_error_set(&run->error, NB_STATUS_FAILED, EEXIST, "conflict",
			    "port %u/%s of this network leads to %s already (%s): --replace "
			    "changes it",
			    mapping->port, nb_protocol_name(mapping->protocol),
			    nb_target_format(have, target), where);
}

static int conflict_with_file(struct nb_run *run, const struct nb_mapping *mapping,
			      const struct nb_mapping *have)
{
	char place[NB_PLACE_SIZE];

	nb_mapping_place(run, have, place);
	if (mapping->runtime)
		nb_error_set(&run->error, NB_STATUS_FAILED, EEXIST, "conflict",
			     "port %u/%s of this network is in a rule file (%s): without "
			     "--runtime, or remove it first",
			     mapping->port, nb_protocol_name(mapping->protocol), place);
	else
		conflict(run, mapping, &have->target, place);
	nb_error_at(run, have);
	return -EEXIST;
}

/* What the rule files say of the keys: conflicts, and what is kept of an older entry. */
static int compare_with_files(struct nb_run *run, struct addition *addition)
{
	for (size_t i = 0; i < addition->mappings.count; i++) {
		struct nb_mapping *mapping = &addition->mappings.items[i];
		const struct nb_mapping *have = nb_rules_find(&run->rules, &mapping->network,
							      mapping->protocol, mapping->port);

		if (!have)
			continue;
		if (!nb_mapping_is_expired(have) &&
		    (mapping->runtime ||
		     (!run->options.replace && !nb_target_equal(&have->target, &mapping->target))))
			return conflict_with_file(run, mapping, have);
		if (have->comment && !mapping->comment) {
			mapping->comment = strdup(have->comment);
			if (!mapping->comment)
				return nb_out_of_memory(run);
		}
		mapping->external |= have->external;
	}
	return 0;
}

static int check_dnat(struct nb_run *run, const struct nb_state *state, const char *bridge)
{
	if (run->options.force || nb_bridge_find(&state->bridges, bridge))
		return 0;
	for (size_t i = 0; i < state->dnat_count; i++) {
		const struct nb_foreign_dnat *dnat = &state->dnats[i];

		if (dnat->bridge[0] && strcmp(dnat->bridge, bridge) != 0)
			continue;
		return nb_error_set(&run->error, NB_STATUS_FAILED, EEXIST, "foreign-dnat",
				    "%s has a DNAT to 127.0.0.0/8 of another owner, which would "
				    "stop working: table %s %s, chain %s, rule handle %llu (nft -a "
				    "list chain %s %s %s); --force if that is meant",
				    bridge, dnat->family == 2 ? "ip" : "inet", dnat->table,
				    dnat->chain, (unsigned long long)dnat->handle,
				    dnat->family == 2 ? "ip" : "inet", dnat->table, dnat->chain);
	}
	return 0;
}

/*
 * The runtime mapping @have of another network has the key on the same bridge. Its element has
 * room for one mark, so it gives way to a rule file's mapping, and two do not go together.
 */
static int take_over_runtime(struct nb_run *run, struct addition *addition,
			     const struct nb_state *state, const struct nb_mapping *mapping,
			     const struct nb_element *have, const struct nb_network *network)
{
	char name[NB_NETWORK_SIZE], target[NB_TARGET_SIZE];

	nb_network_format(network, name);
	if (mapping->runtime || !nb_target_equal(&have->target, &mapping->target))
		return nb_error_set(&run->error, NB_STATUS_FAILED, EEXIST, "conflict",
				    "port %u/%s of %s leads to %s for %s (runtime), which is the "
				    "same bridge: remove that first, or dial another port",
				    mapping->port, nb_protocol_name(mapping->protocol),
				    have->bridge, nb_target_format(&have->target, target), name);
	/* has that network other mappings there? The guard's comment depends on it */
	addition->keys_asked = NULL;
	if (state->partial)
		return -EAGAIN;
	nb_warn(&run->warnings,
		"the runtime mapping of %u/%s for %s, which is the same bridge, is this one now",
		mapping->port, nb_protocol_name(mapping->protocol), name);
	return 0;
}

/* What the kernel has of a key, and no rule file explains. */
static int compare_with_kernel(struct nb_run *run, struct addition *addition,
			       const struct nb_state *state, const char *bridge,
			       const struct nb_mapping *mapping)
{
	struct nb_element key = { .protocol = mapping->protocol, .port = mapping->port };
	const struct nb_element *have;
	struct nb_network network;
	bool runtime, external;

	strcpy(key.bridge, bridge);
	have = nb_element_find(&state->targets, &key);
	if (!have)
		return 0;
	runtime = nb_comment_is_runtime(have->comment, &network, &external);
	if (runtime && nb_network_compare(&network, &mapping->network) != 0)
		return take_over_runtime(run, addition, state, mapping, have, &network);
	if (run->options.replace || nb_target_equal(&have->target, &mapping->target))
		return 0;
	/* an entry that has expired in its file may be replaced; so may one that is ours to mend */
	if (!runtime &&
	    nb_rules_find(&run->rules, &mapping->network, mapping->protocol, mapping->port))
		return 0;
	return conflict(run, mapping, &have->target,
			runtime ? "a runtime mapping" : "in the kernel");
}

static int build_bridge(struct nb_resolver *resolver, const struct nb_state *state,
			struct nb_desired *desired, struct addition *addition,
			const struct nb_resolved *resolved)
{
	struct nb_run *run = resolver->run;
	int r = check_dnat(run, state, resolved->bridge);

	for (size_t i = 0; r == 0 && i < addition->mappings.count; i++) {
		const struct nb_mapping *mapping = &addition->mappings.items[i];

		r = nb_share_bridge(resolver, resolved, mapping, desired);
		if (r == 0)
			r = compare_with_kernel(run, addition, state, resolved->bridge, mapping);
		if (r < 0)
			return r;
		r = resolved->present ? nb_desired_add(desired, resolved->bridge, mapping)
				      : nb_desired_add_pending(desired, resolved->bridge, mapping);
		if (r < 0)
			return nb_out_of_memory(run);
	}
	return r;
}

static int build(struct nb_run *run, const struct nb_state *state, struct nb_desired *desired,
		 void *data)
{
	struct addition *addition = data;
	struct nb_resolver resolver = {
		.run = run,
		.links = &state->links,
		.bridges = &state->bridges,
	};
	int r = 0;

	if (!run->options.runtime)
		r = nb_wanted_require_directory(run, state);
	if (r < 0)
		return r;
	if (!state->partial) {
		if (nb_desired_from_state(desired, state, true) < 0)
			return nb_out_of_memory(run);
		nb_desired_drop(desired, &addition->keys);
	}
	for (size_t i = 0; r == 0 && i < addition->bridges->count; i++)
		r = build_bridge(&resolver, state, desired, addition, &addition->bridges->items[i]);
	nb_resolver_clear(&resolver);
	return r;
}

/* 1 if an engine that should know the network does not answer, 0 if not, or -ENOMEM. */
static int needs_guards(struct nb_run *run, const struct nb_network *network)
{
	bool silent = false;

	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *answer;

		if (network->engine != (enum nb_engine)engine &&
		    network->engine != NB_ENGINE_CONTAINER)
			continue;
		answer = nb_ask_engine(run, (enum nb_engine)engine);
		if (!answer)
			return -ENOMEM;
		silent |= !answer->known;
	}
	return silent;
}

/*
 * Bridges that a pattern leaves out from now on are not among the keys. What the rule files
 * say as a whole, with this mapping as it will be, takes their elements away, too.
 */
static int build_narrowed(struct nb_run *run, const struct nb_state *state,
			  struct nb_desired *desired, void *data)
{
	struct addition *addition = data;
	struct nb_desired checked = { 0 };
	int r = build(run, state, &checked, addition);

	nb_desired_clear(&checked);
	return r < 0 ? r : nb_wanted_build(run, state, desired, &addition->wanted);
}

/* The rules as they will be: their own texts stay theirs. */
static int enter_mappings(struct nb_run *run, struct addition *addition)
{
	for (size_t i = 0; i < addition->mappings.count; i++) {
		const struct nb_mapping *mapping = &addition->mappings.items[i];
		struct nb_mapping_list *list = &run->rules.mappings;

		for (size_t j = 0; j < list->count; j++) {
			struct nb_mapping *have = &list->items[j];
			struct nb_mapping entered = *mapping;

			if (nb_mapping_compare_key(have, mapping) != 0)
				continue;
			if (nb_mapping_copy_texts(&entered, mapping) < 0)
				return nb_out_of_memory(run);
			entered.file = have->file;
			entered.line = have->line;
			nb_mapping_clear(have);
			*have = entered;
		}
	}
	return 0;
}

/* What is live knows a network's bridges when its engine does not answer. */
static int read_guards(struct nb_run *run, struct addition *addition)
{
	static const struct nb_element_list no_keys;
	int64_t deadline = nb_monotonic_ms() + 5000;
	int r = needs_guards(run, &addition->network);

	if (r < 0)
		return nb_out_of_memory(run);
	if (r == 0)
		return 0;
	do {
		nb_state_clear(&addition->guards);
		r = nb_state_read(run->nl, run->config.mark, &no_keys, 0, &addition->guards,
				  &run->error);
	} while (r == -EAGAIN && nb_monotonic_ms() < deadline);
	addition->resolver.bridges = &addition->guards.bridges;
	return r;
}

/*
 * Those of the command line, and those that the rule files have for these ports already: unless
 * --replace says that these are to go, where any are named at all. --except "" is none of them.
 */
static int collect_exceptions(struct nb_run *run, struct addition *addition)
{
	const struct nb_word_list *words = &run->options.except;
	struct nb_mapping *pattern = &addition->pattern;
	bool exact = run->options.replace && words->count;
	int r = 0;

	pattern->network = addition->network;
	for (size_t i = 0; r == 0 && i < words->count; i++)
		if (!exact || words->items[i][0])
			r = nb_mapping_except(pattern, words->items[i], &run->error);
	if (r == 0)
		r = nb_mapping_check_except(pattern, &run->error);
	for (size_t i = 0; r == 0 && i < addition->spec_count; i++) {
		const struct nb_port_spec *spec = &addition->specs[i];
		const struct nb_mapping *have = nb_rules_find(&run->rules, &addition->network,
							      spec->protocol, spec->port);

		r = have && !exact ? nb_mapping_except_likewise(pattern, have) : 0;
	}
	for (size_t i = 0; r == 0 && i < addition->spec_count; i++) {
		const struct nb_port_spec *spec = &addition->specs[i];
		const struct nb_mapping *have = nb_rules_find(&run->rules, &addition->network,
							      spec->protocol, spec->port);

		if (have && strcmp(have->except ? have->except : "",
				   pattern->except ? pattern->except : "") != 0)
			addition->narrowed = true;
	}
	return r == -ENOMEM ? nb_out_of_memory(run) : r;
}

/* Which network, which bridges, and may they? */
/* Was that said already of each of these mappings? */
static bool are_external(const struct nb_run *run, const struct addition *addition)
{
	for (size_t i = 0; i < addition->spec_count; i++) {
		const struct nb_port_spec *spec = &addition->specs[i];
		const struct nb_mapping *have = nb_rules_find(&run->rules, &addition->network,
							      spec->protocol, spec->port);

		if (!have || !have->external)
			return false;
	}
	return true;
}

static int resolve(struct nb_run *run, struct addition *addition, struct nb_link_list *links)
{
	const struct nb_resolution *bridges;
	char name[NB_NETWORK_SIZE];
	bool external;
	int r = nb_link_dump(run->nl, links, &run->error);

	if (r == 0)
		r = nb_resolve_word(run, run->words[0], links, &addition->network);
	if (r < 0)
		return r;
	r = collect_exceptions(run, addition);
	if (r < 0)
		return r;
	addition->resolver = (struct nb_resolver){ .run = run, .links = links };
	r = read_guards(run, addition);
	if (r < 0)
		return r;
	external = run->options.external || are_external(run, addition);
	bridges = addition->bridges = nb_resolve(&addition->resolver, &addition->pattern);
	if (!bridges)
		return nb_out_of_memory(run);
	for (size_t i = 0; r == 0 && i < bridges->count; i++) {
		const char *bridge = bridges->items[i].bridge;

		r = bridges->items[i].present ? nb_resolve_allowed(run, links, bridge, external)
					      : 0;
		if (r < 0)
			nb_word_external(run, &addition->network, bridge);
	}
	if (r < 0 || bridges->present)
		return r;
	if (bridges->hopeless)
		return nb_error_set(&run->error, NB_STATUS_FAILED, EINVAL, "no-bridge", "%s",
				    bridges->why);
	if (run->options.strict || run->options.runtime)
		return nb_error_set(&run->error, NB_STATUS_FAILED, ENODEV, "pending",
				    "%s, and %s needs it now", bridges->why,
				    run->options.strict ? "--strict" : "--runtime");
	nb_warn(&run->warnings, "%s", bridges->why);
	nb_warn(&run->warnings, "%s is pending: run 'nat-bridge apply' when its bridge is there",
		nb_network_format(&addition->network, name));
	return 0;
}

static int collect(struct nb_run *run, struct addition *addition)
{
	/* whole seconds in the file, and never shorter than was asked for */
	int64_t until = run->options.duration ? (nb_now_ms() + 999) / 1000 + run->options.duration
					      : 0;

	for (size_t i = 0; i < addition->spec_count; i++) {
		struct nb_mapping mapping = nb_spec_to_mapping(&addition->specs[i],
							       &addition->network);

		mapping.until = until;
		mapping.runtime = run->options.runtime;
		mapping.external = run->options.external;
		mapping.except = addition->pattern.except;
		if (nb_mapping_list_append(&addition->mappings, &mapping) < 0)
			return nb_out_of_memory(run);
		for (size_t j = 0; j < addition->bridges->count; j++) {
			struct nb_element key = {
				.protocol = mapping.protocol,
				.port = mapping.port,
				.target = mapping.target,
			};

			strcpy(key.bridge, addition->bridges->items[j].bridge);
			if (nb_element_list_append(&addition->keys, &key) < 0)
				return nb_out_of_memory(run);
		}
	}
	nb_element_list_sort(&addition->keys);
	return 0;
}

/* Stage the rule files. Returns how many mappings change one. */
static int stage(struct nb_run *run, struct addition *addition)
{
	int changed = 0, r;

	if (run->options.runtime)
		return 0;
	addition->change = nb_change_new_add(&run->rules);
	if (!addition->change)
		return nb_out_of_memory(run);
	for (size_t i = 0; i < addition->mappings.count; i++) {
		r = nb_change_put(addition->change, &addition->mappings.items[i], &run->error);
		if (r < 0)
			return r;
		changed += r;
	}
	if (changed == 0 || run->options.dry_run)
		return changed;
	r = nb_change_prepare(addition->change, &run->error);
	if (r < 0)
		return r;
	addition->staged = true;
	return changed;
}

static int commit(struct nb_run *run, void *data)
{
	const struct addition *addition = data;

	return addition->staged ? nb_change_commit(addition->change, &run->error) : 0;
}

static int append_row(const struct addition *addition, const struct nb_mapping *mapping,
		      const char *bridge, struct nb_report *report)
{
	const struct nb_row row = {
		.mapping = mapping,
		.bridge = bridge,
		.origin = mapping->runtime ? "runtime" : "file",
		.file = addition->change ? nb_change_file_of(addition->change, mapping) : NULL,
		.state = bridge ? "active" : "pending",
	};

	return nb_row_append(bridge ? &report->mappings : &report->pending, &row);
}

/* A row for each bridge on which it is live, or one that says pending. */
static int fill_report(struct nb_run *run, const struct addition *addition,
		       struct nb_report *report)
{
	report->verb = "added";
	report->unchanged = "it is mapped already";
	for (size_t i = 0; i < addition->mappings.count; i++) {
		const struct nb_mapping *mapping = &addition->mappings.items[i];
		size_t live = 0;

		for (size_t j = 0; j < addition->bridges->count; j++) {
			const struct nb_resolved *resolved = &addition->bridges->items[j];

			if (!resolved->present || strcmp(resolved->bridge, addition->vanished) == 0)
				continue;
			if (append_row(addition, mapping, resolved->bridge, report) < 0)
				return nb_out_of_memory(run);
			live++;
		}
		if (!live && append_row(addition, mapping, NULL, report) < 0)
			return nb_out_of_memory(run);
	}
	return 0;
}

/* Files, kernel, commit; each failure leaves things as they were. */
static int carry_out(struct nb_run *run, struct addition *addition, struct nb_report *report)
{
	const struct nb_goal goal = {
		.build = addition->narrowed ? build_narrowed : build,
		.commit = commit,
		.data = addition,
		.keys = &addition->keys_asked,
		.read_flags = NB_READ_DNAT,
	};
	struct nb_outcome outcome = { 0 };
	struct nb_error ignored;
	int files = stage(run, addition), r;

	/* without a rules directory it takes a look at everything that is live */
	if ((run->rules.present || run->options.runtime) && !addition->narrowed)
		addition->keys_asked = &addition->keys;
	if (files < 0)
		return files;
	r = addition->narrowed ? enter_mappings(run, addition) : 0;
	if (r == 0)
		r = nb_transact(run, &goal, &outcome, &report->script);
	if (r < 0) {
		if (addition->staged)
			nb_change_abandon(addition->change, &ignored);
		return r;
	}
	memcpy(addition->vanished, outcome.vanished, sizeof(addition->vanished));
	if (outcome.vanished[0])
		nb_warn(&run->warnings, "interface %s vanished: the mapping is pending",
			outcome.vanished);
	report->changed = outcome.changed || files > 0;
	nb_advise(run, &addition->mappings);
	nb_advise_firewalls(run, &addition->keys, addition->resolver.links);
	return fill_report(run, addition, report);
}

int nb_command_add(struct nb_run *run)
{
	struct nb_link_list links = { 0 };
	struct addition addition = { .wanted.keep_going = true };
	struct nb_report report = { 0 };
	int status, r;

	if (run->word_count < 2) {
		nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
			     "add needs a NETWORK and a PORT "
			     "(try: nat-bridge add br-0123456789ab 11434)");
		return nb_print_failure(run);
	}
	/* words first: a typo needs no privilege and no lock */
	r = nb_words_to_specs(run, run->words + 1, run->word_count - 1, &addition.specs,
			      &addition.spec_count);
	if (r == 0)
		r = nb_resolve_check_word(run, run->words[0]);
	if (r == 0)
		r = nb_run_prepare(run, true);
	if (r == 0)
		r = run->options.except.count
			    ? nb_run_read_rules(run)
			    : nb_run_read_rules_about(run, addition.specs, addition.spec_count);
	if (r == 0)
		r = resolve(run, &addition, &links);
	if (r == 0)
		r = nb_warn_invalid_files(run, &addition.network, addition.specs,
					  addition.spec_count);
	if (r == 0)
		r = collect(run, &addition);
	if (r == 0)
		r = compare_with_files(run, &addition);
	if (r == 0)
		r = carry_out(run, &addition, &report);
	status = r < 0 ? nb_print_failure(run) : nb_print_change(run, &report, NB_STATUS_OK);
	nb_report_clear(&report);
	clear(&addition);
	nb_link_list_clear(&links);
	return status;
}
