/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rule files and runtime mappings -> desired state. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wanted.h"

void nb_wanted_clear(struct nb_wanted *wanted)
{
	free(wanted->live.items);
	free(wanted->pending.items);
	free(wanted->refused);
	free(wanted->absences);
	for (size_t i = 0; i < wanted->bridge_count; i++)
		free(wanted->bridges[i]);
	free(wanted->bridges);
	memset(&wanted->live, 0, sizeof(wanted->live));
	memset(&wanted->pending, 0, sizeof(wanted->pending));
	wanted->refused = NULL;
	wanted->refused_count = 0;
	wanted->absences = NULL;
	wanted->absence_count = 0;
	wanted->bridges = NULL;
	wanted->bridge_count = 0;
	wanted->timed = false;
	nb_element_list_clear(&wanted->runtime);
	nb_recall_clear(&wanted->recall);
	wanted->next_end = 0;
}

int nb_wanted_require_valid(struct nb_run *run)
{
	const struct nb_rule_file *first = nb_rules_invalid(&run->rules);

	if (!first)
		return 0;
	for (size_t i = 0; i < run->rules.file_count; i++) {
		const struct nb_rule_file *file = &run->rules.files[i];

		if (!file->valid && file != first)
			nb_warn_invalid(run, file, "");
	}
	run->error = *first->error;
	run->error.status = NB_STATUS_USAGE;
	return -EINVAL;
}

int nb_wanted_require_bridges(struct nb_run *run, const struct nb_wanted *wanted)
{
	char network[NB_NETWORK_SIZE];

	if (!run->options.strict || wanted->pending.count == 0)
		return 0;
	return nb_error_set(&run->error, NB_STATUS_FAILED, ENODEV, "pending",
			    "%s has no bridge now, and --strict needs it",
			    nb_network_format(&wanted->pending.items[0].mapping->network, network));
}

void nb_wanted_warn_pending(struct nb_run *run, const struct nb_wanted *wanted,
			    const struct nb_network *only)
{
	for (size_t i = 0; i < wanted->absence_count; i++) {
		const struct nb_absence *absence = &wanted->absences[i];
		char network[NB_NETWORK_SIZE];

		if (only && nb_network_compare(&absence->network, only) != 0)
			continue;
		nb_warn(&run->warnings, "%s has no bridge now, its mappings are pending: %s",
			nb_network_format(&absence->network, network), absence->why);
	}
}

/* The last bridge that was judged: files name the same one again and again. */
struct verdict {
	char bridge[NB_IFNAME_SIZE];
	bool external;
	int result;
	struct nb_error error;
};

static int judge(struct nb_run *run, const struct nb_state *state, const char *bridge,
		 const struct nb_network *network, bool external, struct verdict *last)
{
	if (strcmp(last->bridge, bridge) != 0 || last->external != external) {
		strcpy(last->bridge, bridge);
		last->external = external;
		last->result = nb_resolve_allowed(run, &state->links, bridge, external);
		last->error = run->error;
	}
	if (last->result < 0) {
		run->error = last->error;
		nb_word_external(run, network, bridge);
	}
	return last->result;
}

/* A copy of the bridge's name that lives as long as @wanted. NULL: out of memory. */
static const char *keep_name(struct nb_wanted *wanted, const char *bridge)
{
	size_t count = wanted->bridge_count;
	char **grown;

	if (count && strcmp(wanted->bridges[count - 1], bridge) == 0)
		return wanted->bridges[count - 1];
	grown = realloc(wanted->bridges, (count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	wanted->bridges = grown;
	grown[count] = strdup(bridge);
	if (grown[count])
		wanted->bridge_count++;
	return grown[count];
}

/* What the mappings of the rule files are built with. */
struct builder {
	struct nb_run *run;
	const struct nb_state *state;
	struct nb_desired *desired;
	struct nb_wanted *wanted;
	struct nb_resolver resolver;
	struct verdict last;
};

static int add_live(struct builder *builder, const struct nb_mapping *mapping, const char *bridge,
		    struct nb_row *row)
{
	int r = judge(builder->run, builder->state, bridge, &mapping->network, mapping->external,
		      &builder->last);

	if (r < 0) {
		r = nb_wanted_refuse(builder->run, builder->wanted, mapping);
		/* for `check` that is the finding, not what follows from it */
		if (r == 0 && builder->wanted->keep_refused &&
		    nb_desired_add_pending(builder->desired, bridge, mapping) < 0)
			r = nb_out_of_memory(builder->run);
		return r;
	}
	row->state = "active";
	row->bridge = keep_name(builder->wanted, bridge);
	if (!row->bridge || nb_row_append(&builder->wanted->live, row) < 0 ||
	    nb_desired_add(builder->desired, bridge, mapping) < 0)
		return nb_out_of_memory(builder->run);
	return 0;
}

/* Once for a network: the mappings come sorted by it. */
static int note_absence(struct nb_wanted *wanted, const struct nb_network *network, const char *why)
{
	size_t count = wanted->absence_count;
	struct nb_absence *grown;

	if (count && nb_network_compare(&wanted->absences[count - 1].network, network) == 0)
		return 0;
	grown = realloc(wanted->absences, (count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	wanted->absences = grown;
	grown[count].network = *network;
	snprintf(grown[count].why, sizeof(grown[count].why), "%s", why);
	wanted->absence_count++;
	return 0;
}

/* What the mapping's network is, which is noted. NULL: out of memory. */
static const struct nb_resolution *resolve(struct builder *builder,
					   const struct nb_mapping *mapping)
{
	const struct nb_resolution *resolution = nb_resolve(&builder->resolver, mapping);

	if (resolution &&
	    nb_recall_note(&builder->wanted->recall, builder->run->recall, mapping, resolution) < 0)
		return NULL;
	return resolution;
}

static int add_mapping(struct builder *builder, const struct nb_mapping *mapping)
{
	const struct nb_resolution *resolution = resolve(builder, mapping);
	struct nb_run *run = builder->run;
	struct nb_row row = {
		.mapping = mapping,
		.origin = "file",
		.file = run->rules.files[mapping->file].name,
		.state = "pending",
	};

	if (!resolution)
		return nb_out_of_memory(run);
	if (resolution->present == 0 &&
	    (nb_row_append(&builder->wanted->pending, &row) < 0 ||
	     note_absence(builder->wanted, &mapping->network, resolution->why) < 0))
		return nb_out_of_memory(run);
	for (size_t i = 0; i < resolution->count; i++) {
		const struct nb_resolved *resolved = &resolution->items[i];
		int r = 0;

		if (resolved->present)
			r = add_live(builder, mapping, resolved->bridge, &row);
		else if (nb_desired_add_pending(builder->desired, resolved->bridge, mapping) < 0)
			r = nb_out_of_memory(run);
		if (r < 0)
			return r;
	}
	return 0;
}

static int append_ended(struct nb_element_list *list, const struct nb_mapping *mapping,
			const char *bridge)
{
	struct nb_element element = {
		.target = mapping->target,
		.port = mapping->port,
		.protocol = mapping->protocol,
	};

	snprintf(element.bridge, sizeof(element.bridge), "%s", bridge);
	return nb_element_list_append(list, &element);
}

/*
 * The time of a mapping ran out: the kernel took its elements, and the guard may stay. Flows of
 * it that somebody holds open are held back by the guard alone.
 */
static int tolerate(struct builder *builder, const struct nb_mapping *mapping)
{
	const struct nb_resolution *resolution = resolve(builder, mapping);
	struct nb_desired *desired = builder->desired;

	if (!resolution)
		return nb_out_of_memory(builder->run);
	for (size_t i = 0; i < resolution->count; i++)
		if (resolution->items[i].present &&
		    (nb_desired_tolerate(desired, resolution->items[i].bridge) < 0 ||
		     append_ended(&desired->ended, mapping, resolution->items[i].bridge) < 0))
			return nb_out_of_memory(builder->run);
	return 0;
}

/* Take over an element of the kernel as it is. */
static int keep_element(struct nb_desired *desired, const struct nb_element *element,
			const struct nb_network *network)
{
	struct nb_bridge *bridge = nb_bridge_put(&desired->bridges, element->bridge);

	if (!bridge)
		return -ENOMEM;
	nb_comment_add_network(bridge->comment, network);
	return nb_element_list_append(&desired->elements, element);
}

/* May the element be there for the invalid file? @ret: for which network. */
static bool may_be_of(struct nb_mentions *mentions, const struct nb_bridge *bridge,
		      const struct nb_element *element, struct nb_network *ret)
{
	size_t position = 0;

	while (nb_comment_next_network(bridge->comment, &position, ret))
		if (nb_mentions_key(mentions, ret, element->protocol, element->port))
			return true;
	return false;
}

/* Keep what @mentions may still want; @known are the wanted keys, sorted, with what is kept. */
static int keep_mentioned(const struct nb_state *state, struct nb_mentions *mentions,
			  struct nb_desired *desired, const struct nb_element_list *known,
			  bool *kept)
{
	struct nb_network network, runtime;
	bool external;
	int r = 0;

	for (size_t i = 0; r == 0 && i < state->targets.count; i++) {
		const struct nb_element *element = &state->targets.items[i];
		const struct nb_bridge *bridge = nb_bridge_find(&state->bridges, element->bridge);

		if (kept[i] || !bridge ||
		    nb_comment_is_runtime(element->comment, &runtime, &external) ||
		    nb_element_find(known, element) ||
		    !may_be_of(mentions, bridge, element, &network))
			continue;
		kept[i] = true;
		r = keep_element(desired, element, &network);
	}
	return r;
}

/*
 * --keep-going: a stray byte in a file must not revoke what is live. What an
 * invalid file may still want stays until the file can be read.
 */
static int keep_invalid(struct nb_run *run, const struct nb_state *state,
			struct nb_desired *desired, bool keep_all)
{
	bool *kept = calloc(state->targets.count + 1, sizeof(*kept));
	struct nb_element_list known = { 0 };
	int r = kept ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < desired->elements.count; i++)
		r = nb_element_list_append(&known, &desired->elements.items[i]);
	nb_element_list_sort(&known);
	for (size_t i = 0; r == 0 && i < run->rules.file_count; i++) {
		struct nb_mentions mentions;

		if (run->rules.files[i].valid)
			continue;
		r = nb_mentions_read(&run->rules, &run->rules.files[i], &mentions);
		mentions.anything |= keep_all || mentions.forgotten;
		if (r == 0)
			r = keep_mentioned(state, &mentions, desired, &known, kept);
		nb_mentions_clear(&mentions);
	}
	nb_element_list_clear(&known);
	free(kept);
	return r < 0 ? nb_out_of_memory(run) : 0;
}

/* Runtime mappings stay, unless a rule file has taken over their key. */
static int add_runtime(struct nb_run *run, const struct nb_state *state,
		       const struct nb_element_list *from, struct nb_desired *desired,
		       struct nb_wanted *wanted)
{
	struct verdict last = { .bridge = "" };
	struct nb_element_list taken = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < desired->elements.count; i++)
		r = nb_element_list_append(&taken, &desired->elements.items[i]);
	nb_element_list_sort(&taken);
	for (size_t i = 0; r == 0 && i < from->count; i++) {
		const struct nb_element *element = &from->items[i];
		struct nb_mapping mapping = {
			.target = element->target,
			.port = element->port,
			.protocol = element->protocol,
			.enabled = true,
			.file = SIZE_MAX,
		};

		if (!nb_comment_is_runtime(element->comment, &mapping.network, &mapping.external) ||
		    nb_element_find(&taken, element) ||
		    (element->expires && element->expires <= nb_now_ms()))
			continue;
		if (nb_element_list_append(&wanted->runtime, element) < 0)
			r = -ENOMEM;
		if (!nb_link_find(&state->links, element->bridge)) {
			if (nb_element_list_append(&desired->pending, element) < 0)
				r = -ENOMEM;
			continue;
		}
		if (judge(run, state, element->bridge, &mapping.network, mapping.external, &last) <
		    0) {
			mapping.runtime = true;
			r = nb_wanted_refuse(run, wanted, &mapping);
			if (r < 0) {
				nb_element_list_clear(&taken);
				return r;
			}
			continue;
		}
		/* the element itself, so that its expiry is not rounded to seconds */
		if (r == 0)
			r = keep_element(desired, element, &mapping.network);
	}
	nb_element_list_clear(&taken);
	return r < 0 ? nb_out_of_memory(run) : 0;
}

int nb_wanted_require_directory(struct nb_run *run, const struct nb_state *state)
{
	struct nb_network network;
	bool external;
	size_t live = 0;

	for (size_t i = 0; !run->rules.present && i < state->targets.count; i++)
		live += !nb_comment_is_runtime(state->targets.items[i].comment, &network,
					       &external);
	if (live == 0)
		return 0;
	return nb_error_set(&run->error, NB_STATUS_FAILED, ENOENT, "no-rules",
			    "%s does not exist, but %zu mapping%s of rule files %s live: is it the "
			    "right directory? Make it again, or 'nat-bridge flush' if they shall "
			    "go",
			    run->options.rules, live, live == 1 ? "" : "s",
			    live == 1 ? "is" : "are");
}

int nb_wanted_unfinished(struct nb_resolver *resolver, struct nb_element_list *ret)
{
	const struct nb_mapping_list *gone = &resolver->run->rules.gone;

	for (size_t i = 0; i < gone->count; i++) {
		const struct nb_mapping *mapping = &gone->items[i];
		const struct nb_resolution *resolution = nb_resolve(resolver, mapping);

		for (size_t j = 0; resolution && j < resolution->count; j++)
			if (append_ended(ret, mapping, resolution->items[j].bridge) < 0)
				return nb_out_of_memory(resolver->run);
		if (!resolution)
			return nb_out_of_memory(resolver->run);
	}
	return 0;
}

static void note_end(struct nb_wanted *wanted, const struct nb_mapping *mapping)
{
	if (mapping->until && !nb_mapping_is_expired(mapping) &&
	    (wanted->next_end == 0 || mapping->until < wanted->next_end))
		wanted->next_end = mapping->until;
}

static int add_files(struct builder *builder)
{
	const struct nb_mapping_list *mappings = &builder->run->rules.mappings;
	int r = 0;

	for (size_t i = 0; r == 0 && i < mappings->count; i++) {
		const struct nb_mapping *mapping = &mappings->items[i];

		if (!mapping->enabled)
			continue;
		builder->wanted->timed |= mapping->until != 0;
		note_end(builder->wanted, mapping);
		r = nb_mapping_is_expired(mapping) ? tolerate(builder, mapping)
						   : add_mapping(builder, mapping);
	}
	return r;
}

int nb_wanted_build(struct nb_run *run, const struct nb_state *state, struct nb_desired *desired,
		    void *data)
{
	struct nb_wanted *wanted = data;
	struct builder builder = {
		.run = run,
		.state = state,
		.desired = desired,
		.wanted = wanted,
		.resolver = { .run = run,
			      .links = &state->links,
			      .bridges = &state->bridges,
			      .about = wanted->about },
	};
	int r = nb_wanted_require_directory(run, state);

	nb_wanted_clear(wanted);
	if (r < 0)
		return r;
	desired->complete = true;
	r = add_files(&builder);
	if (r == 0)
		r = nb_wanted_unfinished(&builder.resolver, &desired->ended);
	if (r == 0 && builder.resolver.unknown)
		r = nb_error_set(&run->error, NB_STATUS_FAILED, ENODATA, "engine",
				 "a rule file names a network of which no engine was asked");
	if (r == 0)
		r = nb_wanted_settle_conflicts(run, state, desired, wanted);
	nb_resolver_clear(&builder.resolver);
	wanted->digest = nb_desired_digest(desired);
	if (r == 0 && nb_rules_invalid(&run->rules))
		r = keep_invalid(run, state, desired, wanted->keep_all);
	if (r == 0)
		r = add_runtime(run, state, &state->targets, desired, wanted);
	if (r == 0 && wanted->remembered)
		r = add_runtime(run, state, wanted->remembered, desired, wanted);
	return r;
}
