/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probes: each mapping is dialled once from its network. What fails, and UDP, which says nothing,
 * is sent again from ports that are known before, and traced.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "diagnose.h"
#include "nat-bridge/owner.h"

#define WAIT_MS	     1000
#define PATIENCE_MS  300 /* for what a service says by itself: it may look the caller's name up */
#define TRACED_MS    900 /* the first packet is enough; one is sent again after a second */
#define AT_ONCE	     50
#define FEW_AT_ONCE  8
#define MOST_TRACED  32 /* at once, on one bridge */
#define FIRST_PORT   20000
#define PORTS_TO_USE 12000 /* below the ephemeral ones */

/* The cases of one bridge, as probes. */
struct round {
	struct nb_diagnosis *diagnosis;
	struct nb_case *first; /* whose place is used */
	struct nb_probe_place *place;
	char from[NB_NETWORK_NAME_SIZE + 16];
	struct nb_case **cases;
	struct nb_probe *probes;
	struct nb_trace_flow *flows;
	size_t count;
};

static bool is_to_be_tried(const struct nb_case *one, const struct nb_case *first)
{
	return nb_case_counts(one) && one->link->up && one->address &&
	       strcmp(one->bridge, first->bridge) == 0;
}

static void fill(struct round *round, bool (*wanted)(const struct nb_case *one), size_t most)
{
	struct nb_diagnosis *diagnosis = round->diagnosis;

	round->count = 0;
	for (size_t i = 0; i < diagnosis->case_count && round->count < most; i++) {
		struct nb_case *one = &diagnosis->cases[i];

		if (!is_to_be_tried(one, round->first) || (wanted && !wanted(one)))
			continue;
		round->probes[round->count] = (struct nb_probe){
			.protocol = one->mapping->protocol,
			.address = one->address,
			.port = one->mapping->port,
			.patience_ms = PATIENCE_MS,
			.said = one->said,
			.said_size = sizeof(one->said),
		};
		round->cases[round->count++] = one;
	}
}

static void take_results(struct round *round, bool traced)
{
	for (size_t i = 0; i < round->count; i++) {
		struct nb_case *one = round->cases[i];

		one->tried = true;
		one->traced = traced;
		one->result = round->probes[i].result;
		one->closed = round->probes[i].closed;
		strcpy(one->from, round->from);
		if (traced)
			one->flow = round->flows[i];
	}
}

/* Inside a container if there is one; otherwise, or if its network cannot be entered, beside it. */
static bool find_place(struct round *round)
{
	struct nb_diagnosis *diagnosis = round->diagnosis;
	const struct nb_case *first = round->first;
	struct nb_error error;

	if (first->pid && nb_probe_enter(first->pid, &round->place, &error) == 0) {
		if (first->container[0])
			snprintf(round->from, sizeof(round->from), "container %s",
				 first->container);
		else
			snprintf(round->from, sizeof(round->from), "the network of pid %d",
				 (int)first->pid);
		return true;
	}
	if (nb_probe_join(diagnosis->nl, first->bridge, &round->place, &error) == 0) {
		snprintf(round->from, sizeof(round->from), "a place of our own");
		return true;
	}
	nb_warn(diagnosis->warnings, "%s was not tried: %s", first->bridge, error.message);
	return false;
}

static bool needs_trace(const struct nb_case *one)
{
	return one->tried && !nb_case_works(one) && one->result != NB_PROBE_FAILED;
}

/* Ports that the trace can be told before anything is sent. */
static void choose_ports(struct round *round)
{
	uint16_t start = 0;

	if (getrandom(&start, sizeof(start), GRND_NONBLOCK) < 0)
		start = 0;
	for (size_t i = 0; i < round->count; i++) {
		uint16_t port = (uint16_t)(FIRST_PORT + (start + i) % PORTS_TO_USE);

		round->probes[i].source_port = port;
		round->flows[i] = (struct nb_trace_flow){
			.protocol = round->probes[i].protocol,
			.source_port = port,
		};
	}
}

/* What policies of IPsec have blocked since the host was started; 0: nothing, or it has none. */
static uint64_t count_blocked(void)
{
	static const char *const names[] = { "XfrmOutPolBlock", "XfrmInPolBlock", "XfrmFwdPolBlock",
					     "XfrmInNoPols", "XfrmOutNoStates" };
	FILE *file = fopen("/proc/net/xfrm_stat", "re");
	unsigned long long value;
	uint64_t sum = 0;
	char name[64];

	while (file && fscanf(file, "%63s %llu", name, &value) == 2)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strcmp(name, names[i]) == 0)
				sum += value;
	if (file)
		fclose(file);
	return sum;
}

static void trace(struct round *round)
{
	struct nb_diagnosis *diagnosis = round->diagnosis;
	struct nb_error error;
	struct nb_trace *trace;
	uint64_t blocked;

	fill(round, needs_trace, MOST_TRACED);
	if (round->count == 0)
		return;
	choose_ports(round);
	if (nb_trace_begin(diagnosis->links, round->first->bridge, round->flows, round->count,
			   &trace, &error) < 0) {
		nb_warn(diagnosis->warnings, "nothing was traced: %s", error.message);
		return;
	}
	blocked = count_blocked();
	if (nb_probe_run(round->place, round->probes, round->count, TRACED_MS, &error) < 0) {
		nb_warn(diagnosis->warnings, "nothing was traced: %s", error.message);
		(void)nb_trace_end(trace);
		return;
	}
	if (!nb_trace_end(trace))
		nb_warn(diagnosis->warnings,
			"the kernel traced more than could be read: what is said of %s may lack "
			"something",
			round->first->bridge);
	take_results(round, true);
	blocked = count_blocked() - blocked;
	for (size_t i = 0; i < round->count; i++)
		round->cases[i]->blocked = blocked;
}

/* Not more at once than the queue of a usual service takes; where nothing gets through, all. */
static int run_all(struct round *round, size_t at_once, struct nb_error *err)
{
	size_t done = 0, many = at_once;
	int r = 0;

	while (r == 0 && done < round->count) {
		size_t count = round->count - done < many ? round->count - done : many, lost = 0;

		r = nb_probe_run(round->place, &round->probes[done], count, WAIT_MS, err);
		for (size_t i = done; i < done + count; i++)
			lost += round->probes[i].result == NB_PROBE_TIMED_OUT;
		many = lost == count ? round->count : at_once;
		done += count;
	}
	return r;
}

static bool is_lost(const struct nb_case *one)
{
	return one->tried && one->result == NB_PROBE_TIMED_OUT;
}

/* Where most get through, the others may have met a full queue. */
static void try_again(struct round *round)
{
	size_t tried = round->count;
	struct nb_error ignored;

	fill(round, is_lost, SIZE_MAX);
	if (round->count && round->count < tried && run_all(round, FEW_AT_ONCE, &ignored) == 0)
		take_results(round, false);
}

static void try_bridge(struct nb_diagnosis *diagnosis, struct nb_case *first)
{
	struct round round = {
		.diagnosis = diagnosis,
		.first = first,
		.cases = calloc(diagnosis->case_count, sizeof(struct nb_case *)),
		.probes = calloc(diagnosis->case_count, sizeof(*round.probes)),
		.flows = calloc(diagnosis->case_count, sizeof(*round.flows)),
	};
	struct nb_error error;

	if (!round.cases || !round.probes || !round.flows) {
		diagnosis->no_memory = true;
		goto out;
	}
	fill(&round, NULL, SIZE_MAX);
	if (round.count == 0 || !find_place(&round))
		goto out;
	if (run_all(&round, AT_ONCE, &error) < 0) {
		nb_warn(diagnosis->warnings, "%s was not tried: %s", first->bridge, error.message);
	} else {
		take_results(&round, false);
		try_again(&round);
		trace(&round);
	}
	nb_probe_leave(round.place);
out:
	free(round.cases);
	free(round.probes);
	free(round.flows);
}

void nb_find_owners(struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; diagnosis->may_probe && i < diagnosis->case_count; i++) {
		const struct nb_case *first = &diagnosis->cases[i];
		struct nb_error ignored;
		struct nb_owner owner;

		if (!nb_case_is_first(diagnosis, i) ||
		    nb_owner_find(diagnosis->nl, first->link->index, first->pid, &owner, &ignored) <
			    0)
			continue;
		for (size_t j = i; j < diagnosis->case_count; j++)
			if (strcmp(diagnosis->cases[j].bridge, first->bridge) == 0) {
				diagnosis->cases[j].pid = owner.pid;
				diagnosis->cases[j].port = owner.port;
			}
	}
}

void nb_try_cases(struct nb_diagnosis *diagnosis)
{
	if (!diagnosis->may_probe)
		return;
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (nb_case_is_first(diagnosis, i))
			try_bridge(diagnosis, &diagnosis->cases[i]);
}
