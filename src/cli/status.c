/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nat-bridge status: everything there is to see, gathered. What it looks like is for others. */
#include "status.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wanted.h"

/* An engine that became silent must not hold everything else up. */
#define ENGINES_MS  3000
#define RATE_PERIOD 1 /* seconds */

const struct nb_holder *nb_status_holder(const struct nb_picture *picture,
					 const struct nb_listener *listener)
{
	const struct nb_holder *holder = nb_holder_find(picture->holders, picture->holder_count,
							listener->inode);

	return holder && holder->pid ? holder : NULL;
}

const char *nb_status_device(const struct nb_picture *picture, const struct nb_listener *listener)
{
	const struct nb_link_list *links = nb_view_links(&picture->view);

	for (size_t i = 0; listener->device && i < links->count; i++)
		if (links->items[i].index == (int)listener->device)
			return links->items[i].name;
	return NULL;
}

const char *nb_serving_name(enum nb_serving serving)
{
	static const char *const names[] = {
		[NB_SERVES_UNKNOWN] = NULL,	 [NB_SERVES_YES] = "yes",
		[NB_SERVES_NOTHING] = "nothing", [NB_SERVES_ELSEWHERE] = "other address",
		[NB_SERVES_DEVICE] = "device",
	};

	return names[serving];
}

const char *nb_guard_name(enum nb_guard guard)
{
	static const char *const names[] = {
		[NB_GUARD_UNKNOWN] = NULL,
		[NB_GUARD_COMPLETE] = "complete",
		[NB_GUARD_NFTABLES] = "nftables only",
		[NB_GUARD_INGRESS] = "ingress only",
		[NB_GUARD_MISSING] = "missing",
	};

	return names[guard];
}

/* --- Mappings --- */

static void judge_listeners(const struct nb_picture *picture, struct nb_status_mapping *mapping)
{
	const struct nb_mapping *what = mapping->row.mapping;
	uint32_t address = what->target.address;
	bool device = false;

	if (!nb_host_listeners_on(&picture->listeners, what->protocol, what->target.port,
				  &mapping->listeners))
		return;
	mapping->serving = mapping->listeners.count ? NB_SERVES_ELSEWHERE : NB_SERVES_NOTHING;
	for (size_t i = 0; i < mapping->listeners.count; i++) {
		const struct nb_listener *listener = &mapping->listeners.items[i];

		/* open to the LAN, whether the mapping's packets get there or not */
		if (listener->any && !listener->device && !mapping->open)
			mapping->open = listener;
		if (nb_listener_serves(listener, address))
			mapping->serving = NB_SERVES_YES;
		device |= listener->device && listener->ipv4 &&
			  (listener->any || listener->bound == address);
	}
	if (mapping->serving == NB_SERVES_ELSEWHERE && device)
		mapping->serving = NB_SERVES_DEVICE;
}

static struct nb_rate find_rate(const struct nb_picture *picture, const struct nb_stored *stored)
{
	const struct nb_element *now = stored->accepted, *before;

	if (!picture->before || !now)
		return (struct nb_rate){ 0 };
	before = nb_element_find_exact(picture->before, now);
	/* made, or made anew, meanwhile */
	if (!before || before->packets > now->packets || before->bytes > now->bytes)
		return (struct nb_rate){ 0 };
	return (struct nb_rate){
		.known = true,
		.packets = (double)(now->packets - before->packets) / picture->elapsed,
		.bytes = (double)(now->bytes - before->bytes) / picture->elapsed,
	};
}

static int fill_mappings(struct nb_run *run, struct nb_picture *picture)
{
	const struct nb_view *view = &picture->view;
	size_t count = view->inventory.count;
	uint64_t *flows = calloc(count + 1, sizeof(*flows));

	picture->mappings = calloc(count + 1, sizeof(*picture->mappings));
	if (!flows || !picture->mappings) {
		free(flows);
		return nb_out_of_memory(run);
	}
	picture->mapping_count = count;
	nb_view_count_flows(run, view, flows);
	for (size_t i = 0; i < count; i++) {
		const struct nb_stored *stored = &view->inventory.items[i];
		const struct nb_element key = nb_stored_key(stored), *target = NULL;
		struct nb_status_mapping *mapping = &picture->mappings[i];

		mapping->row = nb_view_row(run, view, i, flows[i]);
		/* translation happens to the first packet of a flow: that element counts flows */
		if (view->visible && stored->accepted)
			target = nb_element_find_exact(&view->state.targets, &key);
		mapping->connections = target ? target->packets : 0;
		mapping->rate = find_rate(picture, stored);
		judge_listeners(picture, mapping);
	}
	free(flows);
	return 0;
}

static int find_holders(struct nb_run *run, struct nb_picture *picture)
{
	size_t count = 0;

	for (size_t i = 0; i < picture->mapping_count; i++)
		count += picture->mappings[i].listeners.count;
	picture->holders = calloc(count + 1, sizeof(*picture->holders));
	if (!picture->holders)
		return nb_out_of_memory(run);
	for (size_t i = 0; i < picture->mapping_count; i++) {
		const struct nb_listener_list *list = &picture->mappings[i].listeners;

		for (size_t j = 0; j < list->count; j++)
			if (list->items[j].inode)
				picture->holders[picture->holder_count++].inode =
					list->items[j].inode;
	}
	/* without /proc nobody is named */
	(void)nb_holders_find(picture->holders, picture->holder_count);
	return 0;
}

/* --- Networks --- */

static enum nb_guard find_guard(const struct nb_view *view, const struct nb_link *link)
{
	bool table, ingress;

	if (!view->visible || !link)
		return NB_GUARD_UNKNOWN;
	table = view->state.table == NB_TABLE_SOUND &&
		nb_bridge_find(&view->state.bridges, link->name);
	ingress = link->ingress.priority && link->ingress.current;
	if (table)
		return ingress ? NB_GUARD_COMPLETE : NB_GUARD_NFTABLES;
	return ingress ? NB_GUARD_INGRESS : NB_GUARD_MISSING;
}

static void ask_containers(struct nb_run *run, struct nb_status_network *network, int64_t deadline)
{
	const struct nb_network *name = network->network;

	if (name->engine < NB_ENGINE_COUNT && name->engine != NB_ENGINE_IFACE &&
	    !nb_network_is_pattern(name))
		network->engine_network = *name;
	else if (!network->link ||
		 !nb_ask_bridge(run, network->link->name, name->engine != NB_ENGINE_IFACE,
				&network->engine_network))
		return;
	if (network->link && nb_monotonic_ms() < deadline)
		(void)nb_ask_endpoints(run, network->engine_network.engine,
				       network->engine_network.name, &network->containers);
}

/* The inventory is sorted by network, protocol, port: a network's bridges alternate in it. */
static int by_block(const void *a, const void *b)
{
	const struct nb_stored *left = a, *right = b;
	int order = nb_network_compare(&left->mapping.network, &right->mapping.network);

	if (order == 0)
		order = strcmp(left->bridge, right->bridge);
	return order ? order : nb_mapping_compare_key(&left->mapping, &right->mapping);
}

static int fill_networks(struct nb_run *run, struct nb_picture *picture)
{
	int64_t deadline = nb_monotonic_ms() + ENGINES_MS;
	const struct nb_inventory *inventory = &picture->view.inventory;

	picture->networks = calloc(inventory->count + 1, sizeof(*picture->networks));
	if (!picture->networks)
		return nb_out_of_memory(run);
	for (size_t i = 0; i < inventory->count; i++) {
		const struct nb_stored *stored = &inventory->items[i], *last = stored - (i > 0);
		struct nb_status_network *network = &picture->networks[picture->network_count];

		if (i > 0 && strcmp(stored->bridge, last->bridge) == 0 &&
		    nb_network_compare(&stored->mapping.network, &last->mapping.network) == 0) {
			network[-1].count++;
			continue;
		}
		picture->network_count++;
		network->network = &stored->mapping.network;
		network->link = stored->link;
		network->guard = find_guard(&picture->view, stored->link);
		network->first = i;
		network->count = 1;
		ask_containers(run, network, deadline);
	}
	return 0;
}

/* --- Warnings --- */

/* What is in the kernel, as the packets of firewalls' chains. */
static int survey_firewalls(struct nb_run *run, struct nb_picture *picture)
{
	struct nb_element_list elements = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < picture->mapping_count; i++) {
		const struct nb_stored *stored = &picture->view.inventory.items[i];
		const struct nb_element key = nb_stored_key(stored);

		if (stored->link && nb_mapping_is_in_force(&stored->mapping))
			r = nb_element_list_append(&elements, &key);
	}
	if (r < 0) {
		nb_element_list_clear(&elements);
		return nb_out_of_memory(run);
	}
	nb_element_list_sort(&elements);
	picture->firewalls_known = nb_survey_firewalls(
		run, &elements, nb_view_links(&picture->view), &picture->firewalls);
	nb_element_list_clear(&elements);
	return 0;
}

static bool is_about(const struct nb_run *run, const struct nb_picture *picture,
		     const struct nb_finding *finding)
{
	char name[NB_NETWORK_SIZE];

	if (run->word_count == 0 || !finding->network[0])
		return true;
	for (size_t i = 0; i < picture->network_count; i++)
		if (strcmp(nb_network_format(picture->networks[i].network, name),
			   finding->network) == 0)
			return true;
	return false;
}

/* What `check` says of what was read. That it cannot say anything is a warning here. */
static void find_drift(struct nb_run *run, struct nb_picture *picture)
{
	struct nb_error before = run->error;
	struct nb_wanted wanted = { .keep_going = true, .about = picture->view.about };
	struct nb_findings *drift = &picture->drift;
	size_t kept = 0;

	picture->drift_known = nb_check_state(run, &wanted, &picture->view.state, drift) == 0;
	if (!picture->drift_known)
		nb_warn(&run->warnings, "%s", run->error.message);
	else if (run->word_count == 0)
		nb_wanted_warn_pending(run, &wanted, NULL);
	else if (picture->network_count)
		nb_wanted_warn_pending(run, &wanted, picture->networks[0].network);
	run->error = before;
	nb_wanted_clear(&wanted);
	for (size_t i = 0; i < drift->count; i++)
		if (is_about(run, picture, &drift->items[i]))
			drift->items[kept++] = drift->items[i];
	drift->count = kept;
}

static void advise(struct nb_run *run, const struct nb_picture *picture)
{
	const struct nb_network *last = NULL;

	nb_advise_host(run);
	for (size_t i = 0; i < picture->mapping_count; i++) {
		const struct nb_stored *stored = &picture->view.inventory.items[i];

		if (stored->link && (!last || nb_network_compare(last, &stored->mapping.network))) {
			last = &stored->mapping.network;
			nb_advise_network(run, &stored->mapping);
		}
		if (stored->link && nb_mapping_is_in_force(&stored->mapping))
			nb_advise_mapping(run, &picture->listeners, &stored->mapping);
	}
}

/* --- The command --- */

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The first of the two readings of --rate; @ret keeps it. Who may not read has no rate. */
static void read_before(struct nb_run *run, struct nb_picture *picture, struct nb_state *ret)
{
	const struct timespec period = { .tv_sec = RATE_PERIOD };
	struct nb_error ignored;
	double begin = seconds_now();

	if (nb_state_read(run->nl, run->config.mark, NULL, 0, ret, &ignored) < 0)
		return;
	clock_nanosleep(CLOCK_MONOTONIC, 0, &period, NULL);
	picture->before = &ret->accepted;
	picture->elapsed = seconds_now() - begin;
}

static int gather(struct nb_run *run, struct nb_picture *picture)
{
	struct nb_inventory *inventory = &picture->view.inventory;
	int r;

	if (inventory->count)
		qsort(inventory->items, inventory->count, sizeof(*inventory->items), by_block);
	nb_host_listeners_read(run, &picture->listeners);
	r = fill_mappings(run, picture);
	if (r == 0)
		r = find_holders(run, picture);
	if (r == 0)
		r = fill_networks(run, picture);
	if (r == 0 && picture->view.visible) {
		r = survey_firewalls(run, picture);
		find_drift(run, picture);
	}
	if (r == 0)
		advise(run, picture);
	return r;
}

static void clear(struct nb_picture *picture)
{
	for (size_t i = 0; i < picture->network_count; i++)
		nb_engine_endpoints_clear(&picture->networks[i].containers);
	free(picture->networks);
	free(picture->mappings);
	free(picture->holders);
	nb_host_listeners_clear(&picture->listeners);
	nb_firewall_list_clear(&picture->firewalls);
	nb_findings_clear(&picture->drift);
	nb_view_clear(&picture->view);
}

static int show(struct nb_run *run, const struct nb_picture *picture)
{
	bool text = !run->options.json && !run->options.prometheus && !run->options.quiet;
	int r = 0;

	/* on a screen they have a place of their own */
	if (!text)
		nb_print_warnings(run);
	if (picture->view.result != NB_STATUS_OK)
		nb_print_error(&run->error);
	if (run->options.json)
		nb_status_print_json(run, picture);
	else if (run->options.prometheus)
		nb_status_print_metrics(run, picture);
	else if (text)
		r = nb_status_print_screen(run, picture);
	return r < 0 ? nb_print_failure(run) : nb_print_flush(picture->view.result);
}

int nb_command_status(struct nb_run *run)
{
	struct nb_picture picture = { 0 };
	struct nb_state before = { 0 };
	int status, r = 0;

	/* a reader that goes away ends it: nothing is half done */
	signal(SIGPIPE, SIG_DFL);
	if (run->options.json && run->options.prometheus)
		r = nb_error_set(
			&run->error, NB_STATUS_USAGE, EINVAL, "usage",
			"--json and --prometheus are two forms: choose one (try: nat-bridge "
			"status --help)");
	if (r == 0)
		r = nb_view_prepare(run);
	if (r == 0 && run->options.rate)
		read_before(run, &picture, &before);
	if (r == 0)
		r = nb_view_read(run, &picture.view);
	if (r == 0)
		r = gather(run, &picture);
	status = r < 0 ? nb_print_failure(run) : show(run, &picture);
	clear(&picture);
	nb_state_clear(&before);
	return status;
}
