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
	for (size_t i = 0; i < wanted->bridge_count; i++)
		free(wanted->bridges[i]);
	free(wanted->bridges);
	memset(&wanted->live, 0, sizeof(wanted->live));
	memset(&wanted->pending, 0, sizeof(wanted->pending));
	wanted->refused = NULL;
	wanted->refused_count = 0;
	wanted->bridges = NULL;
	wanted->bridge_count = 0;
	wanted->timed = false;
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

void nb_wanted_warn_pending(struct nb_run *run, const struct nb_wanted *wanted)
{
	for (size_t i = 0; i < wanted->pending.count; i++) {
		const struct nb_mapping *mapping = wanted->pending.items[i].mapping;
		char network[NB_NETWORK_SIZE];

		nb_warn(&run->warnings, "%s has no bridge now: its mappings are pending",
			nb_network_format(&mapping->network, network));
	}
}

static int refuse(struct nb_run *run, struct nb_wanted *wanted, const struct nb_mapping *mapping)
{
	struct nb_finding *grown, *finding;

	if (!wanted->keep_going)
		return -EPERM;
	grown = realloc(wanted->refused, (wanted->refused_count + 1) * sizeof(*grown));
	if (!grown)
		return nb_out_of_memory(run);
	wanted->refused = grown;
	finding = &grown[wanted->refused_count++];
	memset(finding, 0, sizeof(*finding));
	snprintf(finding->what, sizeof(finding->what), "refused: %.300s", run->error.message);
	nb_network_format(&mapping->network, finding->network);
	snprintf(finding->mend, sizeof(finding->mend),
		 "take the port out of the bridge, or say \"external\": true");
	return 0;
}

/* The last bridge that was judged: files name the same one again and again. */
struct verdict {
	char bridge[NB_IFNAME_SIZE];
	bool external;
	int result;
	struct nb_error error;
};

static int judge(struct nb_run *run, const struct nb_state *state, const char *bridge,
		 bool external, struct verdict *last)
{
	if (strcmp(last->bridge, bridge) != 0 || last->external != external) {
		strcpy(last->bridge, bridge);
		last->external = external;
		last->result = nb_resolve_allowed(run, &state->links, bridge, external);
		last->error = run->error;
	}
	if (last->result < 0)
		run->error = last->error;
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
	int r = judge(builder->run, builder->state, bridge, mapping->external, &builder->last);

	if (r < 0)
		return refuse(builder->run, builder->wanted, mapping);
	row->state = "active";
	row->bridge = keep_name(builder->wanted, bridge);
	if (!row->bridge || nb_row_append(&builder->wanted->live, row) < 0 ||
	    nb_desired_add(builder->desired, bridge, mapping) < 0)
		return nb_out_of_memory(builder->run);
	return 0;
}

static int add_mapping(struct builder *builder, const struct nb_mapping *mapping)
{
	const struct nb_resolution *resolution = nb_resolve(&builder->resolver, &mapping->network);
	struct nb_run *run = builder->run;
	struct nb_row row = {
		.mapping = mapping,
		.origin = "file",
		.file = run->rules.files[mapping->file].name,
		.state = "pending",
	};

	if (!resolution)
		return nb_out_of_memory(run);
	if (resolution->present == 0 && nb_row_append(&builder->wanted->pending, &row) < 0)
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

/* The time of a mapping ran out: the kernel took its elements, and the guard may stay. */
static int tolerate(struct builder *builder, const struct nb_mapping *mapping)
{
	const struct nb_resolution *resolution = nb_resolve(&builder->resolver, &mapping->network);

	if (!resolution)
		return nb_out_of_memory(builder->run);
	for (size_t i = 0; i < resolution->count; i++)
		if (resolution->items[i].present &&
		    nb_desired_tolerate(builder->desired, resolution->items[i].bridge) < 0)
			return nb_out_of_memory(builder->run);
	return 0;
}

static bool is_mentioned(const struct nb_run *run, const struct nb_network *network, uint16_t port)
{
	for (size_t i = 0; i < run->rules.file_count; i++) {
		const struct nb_rule_file *file = &run->rules.files[i];

		if (!file->valid && nb_rules_invalid_mentions(&run->rules, file, network, port))
			return true;
	}
	return false;
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

/*
 * --keep-going: a stray byte in a file must not revoke what is live. What an
 * invalid file may still want stays until the file can be read.
 */
static int keep_mentioned(struct nb_run *run, const struct nb_state *state,
			  struct nb_desired *desired)
{
	struct nb_element_list known = { 0 };
	struct nb_network network, runtime;
	bool external;
	int r = 0;

	for (size_t i = 0; r == 0 && i < desired->elements.count; i++)
		r = nb_element_list_append(&known, &desired->elements.items[i]);
	nb_element_list_sort(&known);
	for (size_t i = 0; r == 0 && i < state->targets.count; i++) {
		const struct nb_element *element = &state->targets.items[i];
		const struct nb_bridge *bridge = nb_bridge_find(&state->bridges, element->bridge);

		if (nb_comment_is_runtime(element->comment, &runtime, &external) ||
		    nb_element_find(&known, element) || !bridge ||
		    !nb_comment_first_network(bridge->comment, &network) ||
		    !is_mentioned(run, &network, element->port))
			continue;
		r = keep_element(desired, element, &network);
	}
	nb_element_list_clear(&known);
	return r < 0 ? nb_out_of_memory(run) : 0;
}

/* Runtime mappings stay, unless a rule file has taken over their key. */
static int add_runtime(struct nb_run *run, const struct nb_state *state, struct nb_desired *desired,
		       struct nb_wanted *wanted)
{
	struct verdict last = { .bridge = "" };
	struct nb_element_list taken = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < desired->elements.count; i++)
		r = nb_element_list_append(&taken, &desired->elements.items[i]);
	nb_element_list_sort(&taken);
	for (size_t i = 0; r == 0 && i < state->targets.count; i++) {
		const struct nb_element *element = &state->targets.items[i];
		struct nb_mapping mapping = {
			.target = element->target,
			.port = element->port,
			.protocol = element->protocol,
			.enabled = true,
			.file = SIZE_MAX,
		};

		if (!nb_comment_is_runtime(element->comment, &mapping.network, &mapping.external) ||
		    nb_element_find(&taken, element))
			continue;
		if (!nb_link_find(&state->links, element->bridge)) {
			if (nb_element_list_append(&desired->pending, element) < 0)
				r = -ENOMEM;
			continue;
		}
		if (judge(run, state, element->bridge, mapping.external, &last) < 0) {
			mapping.runtime = true;
			r = refuse(run, wanted, &mapping);
			if (r < 0 && r != -ENOMEM) {
				nb_element_list_clear(&taken);
				return r;
			}
			continue;
		}
		/* the element itself, so that its expiry is not rounded to seconds */
		r = keep_element(desired, element, &mapping.network);
	}
	nb_element_list_clear(&taken);
	return r < 0 ? nb_out_of_memory(run) : 0;
}

int nb_wanted_require_directory(struct nb_run *run, const struct nb_state *state)
{
	struct nb_network network;
	bool external;

	if (run->rules.present)
		return 0;
	for (size_t i = 0; i < state->targets.count; i++) {
		if (nb_comment_is_runtime(state->targets.items[i].comment, &network, &external))
			continue;
		return nb_error_set(&run->error, NB_STATUS_FAILED, ENOENT, "no-rules",
				    "%s does not exist, but %zu of its mappings are live: is it "
				    "the right directory? Make it again, or 'nat-bridge flush' if "
				    "they shall go",
				    run->options.rules, state->targets.count);
	}
	return 0;
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
		.resolver = { .run = run, .links = &state->links, .bridges = &state->bridges },
	};
	int r = nb_wanted_require_directory(run, state);

	nb_wanted_clear(wanted);
	if (r < 0)
		return r;
	r = add_files(&builder);
	nb_resolver_clear(&builder.resolver);
	wanted->digest = nb_desired_digest(desired);
	if (r == 0 && nb_rules_invalid(&run->rules))
		r = keep_mentioned(run, state, desired);
	if (r == 0)
		r = add_runtime(run, state, desired, wanted);
	if (r == 0)
		r = nb_wanted_require_bridges(run, wanted);
	return r;
}
