/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What doctor reads in rule files, in engines, and in the words that it was given. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

#define MOST_CONTAINERS 64   /* that are looked into */
#define CONTAINERS_MS	5000 /* for those of one network */

/* --- Which mappings are meant --- */

static bool is_asked(const struct nb_examination *examination, const struct nb_mapping *mapping)
{
	for (size_t i = 0; i < examination->spec_count; i++)
		if (examination->specs[i].port == mapping->port &&
		    examination->specs[i].protocol == mapping->protocol)
			return true;
	return examination->spec_count == 0;
}

/* On a bridge of the network, under whatever name? */
static bool is_there(const struct nb_resolution *resolution, const struct nb_stored *stored)
{
	return stored->bridge[0] && nb_resolution_has(resolution, stored->bridge);
}

static bool is_of_network(const struct nb_examination *examination,
			  const struct nb_resolution *resolution, const struct nb_stored *stored)
{
	return !examination->about_network ||
	       nb_network_compare(&stored->mapping.network, &examination->network) == 0 ||
	       is_there(resolution, stored);
}

struct nb_cause *nb_doctor_blame(struct nb_examination *examination, const struct nb_case *one,
				 const char *code)
{
	struct nb_cause *cause = nb_cause_add(&examination->diagnosis.causes, code);

	if (!cause) {
		examination->diagnosis.no_memory = true;
		return NULL;
	}
	nb_network_format(&one->mapping->network, cause->network);
	memcpy(cause->bridge, one->bridge, sizeof(cause->bridge));
	cause->port = one->mapping->port;
	cause->protocol = one->mapping->protocol;
	return cause;
}

static int add_case(struct nb_run *run, struct nb_diagnosis *diagnosis,
		    const struct nb_stored *stored)
{
	struct nb_case *grown = reallocarray(diagnosis->cases, diagnosis->case_count + 1,
					     sizeof(*grown));

	if (!grown)
		return nb_out_of_memory(run);
	diagnosis->cases = grown;
	grown += diagnosis->case_count++;
	*grown = (struct nb_case){
		.mapping = &stored->mapping,
		.link = stored->link,
		.in_force = nb_mapping_is_in_force(&stored->mapping),
	};
	memcpy(grown->bridge, stored->bridge, sizeof(grown->bridge));
	return 0;
}

static int by_bridge(const void *a, const void *b)
{
	const struct nb_case *left = a, *right = b;
	int order = strcmp(left->bridge, right->bridge);

	return order ? order : nb_mapping_compare_key(left->mapping, right->mapping);
}

/* The network that the first word names, stored or not. */
static int find_network(struct nb_run *run, struct nb_examination *examination)
{
	const char *word = run->words[0];
	char qualified[NB_NETWORK_SIZE + 16];
	struct nb_error refusal;
	int r = nb_resolve_check_word(run, word);

	if (r == 0)
		r = nb_inventory_find_network(run, &examination->view.inventory, word,
					      &examination->network);
	if (r != 0)
		return r < 0 ? r : 0;
	r = nb_resolve_word(run, word, nb_view_links(&examination->view), &examination->network);
	if (r == 0)
		return 0;
	/* a container is as good here: what it is attached to is looked at */
	refusal = run->error;
	snprintf(qualified, sizeof(qualified), "container:%.*s", NB_NETWORK_SIZE, word);
	if (strstr(refusal.message, "is a container") &&
	    nb_network_parse(qualified, &examination->network, NULL) == 0)
		return 0;
	run->error = refusal;
	return r;
}

/* A PORT alone: it is looked at wherever it is mapped. */
static bool is_port(const char *word)
{
	struct nb_port_spec spec;

	return nb_port_parse(word, &spec, NULL) == 0 || nb_preset_find(word);
}

/* What the words name: NETWORK and PORT, or one of them. */
static int read_words(struct nb_run *run, struct nb_examination *examination)
{
	struct nb_error refusal;
	int r = 0;

	if (run->word_count > 1)
		r = nb_words_to_specs(run, &run->words[1], 1, &examination->specs,
				      &examination->spec_count);
	if (r == 0 && run->word_count)
		r = find_network(run, examination);
	examination->about_network = r == 0 && run->word_count;
	if (r == 0 || run->word_count != 1 || !is_port(run->words[0]))
		return r;
	/* no network has that name; one whose name is ambiguous is meant */
	refusal = run->error;
	if (strcmp(refusal.code, "no-network") != 0 && strcmp(refusal.code, "usage") != 0)
		return r;
	return nb_words_to_specs(run, run->words, 1, &examination->specs, &examination->spec_count);
}

static const char *word_spec(const struct nb_port_spec *spec, char *buffer, size_t size)
{
	snprintf(buffer, size, "%u/%s", spec->port, nb_protocol_name(spec->protocol));
	return buffer;
}

/* "11434:8088", as `add` takes it */
static const char *word_mapping(const struct nb_mapping *mapping, char *buffer, size_t size)
{
	char target[NB_TARGET_SIZE];

	nb_target_format(&mapping->target, target);
	snprintf(buffer, size, "%u:%s%s", mapping->port,
		 mapping->target.address == INADDR_LOOPBACK ? strchr(target, ':') + 1 : target,
		 mapping->protocol == IPPROTO_UDP ? "/udp" : "");
	return buffer;
}

/* Where else it may be that was asked for: there, behind another number, or on another network. */
static void blame_unmapped(struct nb_run *run, struct nb_examination *examination,
			   const struct nb_resolution *resolution, const struct nb_port_spec *spec)
{
	const struct nb_inventory *inventory = &examination->view.inventory;
	const struct nb_stored *near = NULL, *elsewhere = NULL, *other_protocol = NULL;
	char network[NB_NETWORK_SIZE] = "any network", other[NB_NETWORK_SIZE] = "", port[16];
	char words[NB_TARGET_SIZE + 16];
	bool named = examination->about_network;
	struct nb_cause *cause;

	for (size_t i = 0; i < inventory->count; i++) {
		const struct nb_stored *stored = &inventory->items[i];
		const struct nb_mapping *mapping = &stored->mapping;

		if (mapping->protocol != spec->protocol) {
			if (mapping->port == spec->port &&
			    is_of_network(examination, resolution, stored))
				other_protocol = stored;
			continue;
		}
		if (is_of_network(examination, resolution, stored) &&
		    mapping->target.port == spec->port)
			near = stored;
		else if (mapping->port == spec->port)
			elsewhere = stored;
	}
	/* what is mapped here is nearer than another network */
	if (other_protocol && !near)
		elsewhere = NULL;
	cause = nb_cause_add(&examination->diagnosis.causes,
			     !near && elsewhere ? "wrong-network" : "not-mapped");
	if (!cause)
		return;
	if (named)
		nb_network_format(&examination->network, network);
	word_spec(spec, port, sizeof(port));
	if (named)
		memcpy(cause->network, network, sizeof(cause->network));
	else if (near)
		nb_network_format(&near->mapping.network, other);
	cause->port = spec->port;
	cause->protocol = spec->protocol;
	if (near)
		snprintf(cause->what, sizeof(cause->what),
			 "%s is not mapped on %s, but %u is%s%s%s, which leads to port %u of the "
			 "host: dial %u",
			 port, network, near->mapping.port, other[0] ? " (" : "", other,
			 other[0] ? ")" : "", spec->port, near->mapping.port);
	else if (other_protocol)
		snprintf(cause->what, sizeof(cause->what), "%s is not mapped on %s, but %u/%s is",
			 port, network, spec->port,
			 nb_protocol_name(other_protocol->mapping.protocol));
	else if (elsewhere)
		snprintf(cause->what, sizeof(cause->what), "%s is mapped on %s%s%s, not on %s",
			 port, nb_network_format(&elsewhere->mapping.network, other),
			 elsewhere->bridge[0] ? ", " : "", elsewhere->bridge, network);
	else
		snprintf(cause->what, sizeof(cause->what), "%s is not mapped on %s", port, network);
	/* what is mapped at run time alone this user may not see */
	if (!examination->view.visible)
		cause->severity = NB_WARNING;
	snprintf(cause->evidence, sizeof(cause->evidence), "%s%s", run->options.rules,
		 examination->view.visible ? ", and the kernel's table" : "");
	/* there it leads somewhere, and is to lead there from here, too */
	snprintf(cause->mend, sizeof(cause->mend), "nat-bridge add %s %s",
		 named ? network : "NETWORK",
		 !near && elsewhere ? word_mapping(&elsewhere->mapping, words, sizeof(words))
				    : port);
}

/* The network that was named has no bridge here, and no mapping is for it: why, its engine says. */
static bool is_nowhere(const struct nb_examination *examination,
		       const struct nb_resolution *resolution)
{
	const struct nb_inventory *inventory = &examination->view.inventory;

	if (!examination->about_network || resolution->present ||
	    nb_network_is_pattern(&examination->network))
		return false;
	for (size_t i = 0; i < inventory->count; i++)
		if (nb_network_compare(&inventory->items[i].mapping.network,
				       &examination->network) == 0)
			return false;
	return true;
}

/* As if it were mapped: to the port that is meant, or where that port leads elsewhere. */
static int blame_nowhere(struct nb_run *run, struct nb_examination *examination,
			 struct nb_resolver *resolver)
{
	const struct nb_inventory *inventory = &examination->view.inventory;
	struct nb_mapping mapping = { .network = examination->network, .protocol = IPPROTO_TCP };
	const struct nb_case one = { .mapping = &mapping };

	if (examination->spec_count) {
		mapping.protocol = examination->specs[0].protocol;
		mapping.port = examination->specs[0].port;
		mapping.target = examination->specs[0].target;
	}
	for (size_t i = 0; i < inventory->count; i++)
		if (inventory->items[i].mapping.port == mapping.port &&
		    inventory->items[i].mapping.protocol == mapping.protocol)
			mapping.target = inventory->items[i].mapping.target;
	return nb_doctor_blame_pending(run, examination, resolver, &one);
}

static void blame_nothing(struct nb_examination *examination)
{
	struct nb_cause *cause = nb_cause_add(&examination->diagnosis.causes, "not-mapped");
	char network[NB_NETWORK_SIZE] = "";

	if (!cause)
		return;
	if (examination->about_network) {
		nb_network_format(&examination->network, network);
		memcpy(cause->network, network, sizeof(cause->network));
	}
	/* on a host where nothing was asked for that is as it should be */
	if (!examination->about_network || !examination->view.visible)
		cause->severity = NB_WARNING;
	snprintf(cause->what, sizeof(cause->what), "nothing is mapped%s%s",
		 network[0] ? " on " : "", network);
	snprintf(cause->mend, sizeof(cause->mend), "nat-bridge add %s PORT",
		 network[0] ? network : "NETWORK");
}

int nb_doctor_choose(struct nb_run *run, struct nb_examination *examination)
{
	const struct nb_inventory *inventory = &examination->view.inventory;
	struct nb_diagnosis *diagnosis = &examination->diagnosis;
	struct nb_resolver resolver = { .run = run, .links = nb_view_links(&examination->view) };
	const struct nb_resolution none = { 0 }, *resolution = &none;
	struct nb_mapping asked = { 0 };
	int r;

	r = read_words(run, examination);
	if (r == 0 && examination->about_network) {
		asked.network = examination->network;
		resolution = nb_resolve(&resolver, &asked);
		if (!resolution)
			r = nb_out_of_memory(run);
	}
	if (r == 0 && is_nowhere(examination, resolution)) {
		r = blame_nowhere(run, examination, &resolver);
		nb_resolver_clear(&resolver);
		return r;
	}
	for (size_t i = 0; r == 0 && i < inventory->count; i++)
		if (is_of_network(examination, resolution, &inventory->items[i]) &&
		    is_asked(examination, &inventory->items[i].mapping))
			r = add_case(run, diagnosis, &inventory->items[i]);
	if (diagnosis->case_count)
		qsort(diagnosis->cases, diagnosis->case_count, sizeof(*diagnosis->cases),
		      by_bridge);
	for (size_t i = 0; r == 0 && i < examination->spec_count; i++) {
		bool found = false;

		for (size_t j = 0; j < diagnosis->case_count; j++)
			found |= diagnosis->cases[j].mapping->port == examination->specs[i].port &&
				 diagnosis->cases[j].mapping->protocol ==
					 examination->specs[i].protocol;
		if (!found && !examination->view.hidden)
			blame_unmapped(run, examination, resolution, &examination->specs[i]);
	}
	/* what an invalid file holds nobody knows, nor this user what he may not read */
	if (r == 0 && diagnosis->case_count == 0 && examination->spec_count == 0 &&
	    !nb_rules_invalid(&run->rules) && !examination->view.hidden)
		blame_nothing(examination);
	nb_resolver_clear(&resolver);
	return r;
}

/* --- What the rule files say --- */

static void blame_file(struct nb_examination *examination, const struct nb_rule_file *file)
{
	struct nb_cause *cause = nb_cause_add(&examination->diagnosis.causes, "invalid-file");
	const struct nb_error *error = file->error;
	char place[NB_PLACE_SIZE + 128];

	if (!cause)
		return;
	if (error->line)
		snprintf(place, sizeof(place), "%s:%u", error->file, error->line);
	else
		snprintf(place, sizeof(place), "%s", error->file);
	snprintf(cause->what, sizeof(cause->what), "%s is invalid", place);
	snprintf(cause->evidence, sizeof(cause->evidence), "%s%s%s", error->key,
		 error->key[0] ? ": " : "", error->message);
	snprintf(cause->mend, sizeof(cause->mend), "correct %s, then: nat-bridge apply", place);
}

/* As `add` takes it. */
static void word_add(const struct nb_mapping *mapping, char *buffer, size_t size)
{
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE];

	nb_network_format(&mapping->network, network);
	snprintf(buffer, size, "nat-bridge add %s%s%s %u:%s/%s",
		 nb_network_is_pattern(&mapping->network) ? "'" : "", network,
		 nb_network_is_pattern(&mapping->network) ? "'" : "", mapping->port,
		 nb_target_format(&mapping->target, target), nb_protocol_name(mapping->protocol));
}

static bool any_in_force(const struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (diagnosis->cases[i].in_force)
			return true;
	return false;
}

/* What is over or switched off is a wish, unless it is what was asked about. */
static void blame_idle(struct nb_run *run, struct nb_examination *examination,
		       const struct nb_case *one)
{
	const struct nb_mapping *mapping = one->mapping;
	char network[NB_NETWORK_SIZE], until[NB_TIME_SIZE], place[NB_PLACE_SIZE] = "";
	struct nb_cause *cause = nb_doctor_blame(examination, one,
						 mapping->enabled ? "expired" : "disabled");

	if (!cause)
		return;
	if (examination->spec_count == 0 && any_in_force(&examination->diagnosis))
		cause->severity = NB_WARNING;
	nb_network_format(&mapping->network, network);
	if (mapping->file != SIZE_MAX)
		nb_mapping_place(run, mapping, place);
	if (mapping->enabled) {
		snprintf(cause->what, sizeof(cause->what), "%s %u/%s was over at %s", network,
			 mapping->port, nb_protocol_name(mapping->protocol),
			 nb_time_format(mapping->until, until));
		word_add(mapping, cause->mend, sizeof(cause->mend));
	} else {
		snprintf(cause->what, sizeof(cause->what),
			 "%s %u/%s is switched off in its rule file", network, mapping->port,
			 nb_protocol_name(mapping->protocol));
		snprintf(cause->mend, sizeof(cause->mend),
			 "take \"enabled\": false out of %s, then: nat-bridge apply", place);
	}
	snprintf(cause->evidence, sizeof(cause->evidence), "%s", place);
}

/* A port of that number that a container publishes is the mapping's now, for this network. */
static void warn_published(struct nb_run *run, struct nb_examination *examination,
			   const struct nb_case *one)
{
	const struct nb_mapping *mapping = one->mapping;

	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE];
		const char *name;
		struct nb_cause *cause;

		if (nb_ask_publisher(run, (enum nb_engine)engine, mapping->protocol, mapping->port,
				     &name) < 0 ||
		    !name)
			continue;
		cause = nb_doctor_blame(examination, one, "published");
		if (!cause)
			return;
		cause->severity = NB_WARNING;
		snprintf(
			cause->what, sizeof(cause->what),
			"container %s publishes %u/%s: what %s dials there on this host goes to %s",
			name, mapping->port, nb_protocol_name(mapping->protocol),
			nb_network_format(&mapping->network, network),
			nb_target_format(&mapping->target, target));
		snprintf(cause->evidence, sizeof(cause->evidence), "%s says so",
			 nb_engine_title((enum nb_engine)engine));
		snprintf(cause->mend, sizeof(cause->mend),
			 "if the container is meant, let another port lead to %s",
			 nb_target_format(&mapping->target, target));
	}
}

int nb_doctor_blame_rules(struct nb_run *run, struct nb_examination *examination)
{
	struct nb_diagnosis *diagnosis = &examination->diagnosis;
	struct nb_resolver resolver = {
		.run = run,
		.links = nb_view_links(&examination->view),
		.bridges = examination->view.visible ? &examination->view.state.bridges : NULL,
	};
	int r = 0;

	for (size_t i = 0; i < run->rules.file_count; i++)
		if (!run->rules.files[i].valid)
			blame_file(examination, &run->rules.files[i]);
	for (size_t i = 0; r == 0 && i < diagnosis->case_count; i++) {
		const struct nb_case *one = &diagnosis->cases[i];

		if (!one->in_force)
			blame_idle(run, examination, one);
		else if (!one->link)
			r = nb_doctor_blame_pending(run, examination, &resolver, one);
		else
			warn_published(run, examination, one);
	}
	nb_resolver_clear(&resolver);
	return r;
}

/* --- A container to look from --- */

static int keep_inhabitant(struct nb_run *run, struct nb_diagnosis *diagnosis, const char *bridge,
			   const struct nb_engine_endpoint *endpoint, pid_t pid)
{
	struct nb_inhabitant *grown = reallocarray(diagnosis->inhabitants,
						   diagnosis->inhabitant_count + 1, sizeof(*grown));

	if (!grown)
		return nb_out_of_memory(run);
	diagnosis->inhabitants = grown;
	grown += diagnosis->inhabitant_count++;
	*grown = (struct nb_inhabitant){ .pid = pid, .address = endpoint->address };
	snprintf(grown->bridge, sizeof(grown->bridge), "%s", bridge);
	snprintf(grown->name, sizeof(grown->name), "%s", endpoint->container);
	return 0;
}

/* The first of a network is whose network the probes are made in. */
static void look_from(struct nb_diagnosis *diagnosis, size_t first,
		      const struct nb_engine_endpoint *endpoint, pid_t pid)
{
	for (size_t i = first; i < diagnosis->case_count; i++) {
		struct nb_case *one = &diagnosis->cases[i];

		if (strcmp(one->bridge, diagnosis->cases[first].bridge) != 0)
			continue;
		one->pid = pid;
		one->container_address = endpoint->address;
		memcpy(one->container, endpoint->container, sizeof(one->container));
	}
}

/* The container that was asked about; NULL: none was, or it is not on that network. */
static const char *find_asked(const struct nb_examination *examination,
			      const struct nb_engine_endpoints *endpoints)
{
	const struct nb_network *asked = &examination->network;

	for (size_t i = 0; i < endpoints->count; i++)
		if (examination->about_network && asked->engine == NB_ENGINE_CONTAINER &&
		    strcmp(endpoints->items[i].container, asked->name) == 0)
			return asked->name;
	return NULL;
}

/* The containers of the network of case @first. Each costs a question to the engine. */
static int take_containers(struct nb_run *run, struct nb_examination *examination, size_t first,
			   const struct nb_network *network)
{
	struct nb_diagnosis *diagnosis = &examination->diagnosis;
	const char *bridge = diagnosis->cases[first].bridge;
	int64_t deadline = nb_monotonic_ms() + CONTAINERS_MS;
	struct nb_engine_endpoints endpoints;
	int r = nb_ask_endpoints(run, network->engine, network->name, &endpoints);
	const char *asked = find_asked(examination, &endpoints);

	for (size_t i = 0; r == 0 && i < endpoints.count; i++) {
		const char *name = endpoints.items[i].container;
		struct nb_engine_container container;
		pid_t pid;

		if (asked && strcmp(name, asked) != 0)
			continue;
		if (diagnosis->inhabitant_count == MOST_CONTAINERS && diagnosis->cases[first].pid) {
			nb_warn(&run->warnings,
				"%zu containers of %s were not looked at: there are more than %d",
				endpoints.count - i, network->name, MOST_CONTAINERS);
			break;
		}
		if (nb_monotonic_ms() > deadline) {
			nb_warn(&run->warnings,
				"%zu containers of %s were not looked at: %s answers too slowly",
				endpoints.count - i, network->name,
				nb_engine_title(network->engine));
			break;
		}
		r = nb_ask_container(run, network->engine, name, &container);
		pid = container.pid;
		nb_engine_container_clear(&container);
		if (r < 0 || !pid)
			continue;
		if (!diagnosis->cases[first].pid)
			look_from(diagnosis, first, &endpoints.items[i], pid);
		if (diagnosis->inhabitant_count < MOST_CONTAINERS)
			r = keep_inhabitant(run, diagnosis, bridge, &endpoints.items[i], pid);
	}
	nb_engine_endpoints_clear(&endpoints);
	return r < 0 ? nb_out_of_memory(run) : 0;
}

int nb_doctor_find_containers(struct nb_run *run, struct nb_examination *examination)
{
	struct nb_diagnosis *diagnosis = &examination->diagnosis;
	int r = 0;

	for (size_t i = 0; r == 0 && i < diagnosis->case_count; i++) {
		const struct nb_case *one = &diagnosis->cases[i];
		struct nb_network network;

		if (!one->link || (i && strcmp(one->bridge, diagnosis->cases[i - 1].bridge) == 0))
			continue;
		if (nb_ask_bridge(run, one->bridge, one->mapping->network.engine != NB_ENGINE_IFACE,
				  &network))
			r = take_containers(run, examination, i, &network);
	}
	return r;
}
