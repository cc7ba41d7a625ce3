/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probes: each mapping is dialled once from its network. What fails, and UDP, which says nothing,
 * is sent again from ports that are known before, and traced. The other containers of the network
 * dial, too: what is otherwise for one of them is told beside it.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "diagnose.h"
#include "nat-bridge/owner.h"
#include "nat-bridge/payload.h"

#define WAIT_MS	     1000
#define PATIENCE_MS  300 /* for what a service says by itself: it may look the caller's name up */
#define TAKE_MS	     700 /* beyond it, for a service to take what it has in its queue */
#define TAKE_STEP_MS 50
#define TRACED_MS    900 /* the first packet is enough; one is sent again after a second */
#define AT_ONCE	     50
#define FEW_AT_ONCE  8
#define MOST_TRACED  32 /* at once, on one bridge */
#define FIRST_PORT   20000
#define PORTS_TO_USE 12000 /* below the ephemeral ones */
/* Of the other containers. Each that reaches nothing takes WAIT_MS, and TRACED_MS. */
#define OTHERS_MS     5000
#define MOST_MAPPINGS 20

/* The cases of one bridge, as probes. */
struct round {
	struct nb_diagnosis *diagnosis;
	struct nb_case *all; /* among which they are */
	size_t all_count;
	struct nb_case *first; /* whose place is used */
	struct nb_probe_place *place;
	char from[NB_NETWORK_NAME_SIZE + 16];
	unsigned char query[NB_PAYLOAD_SIZE];
	struct nb_case **cases;
	struct nb_probe *probes;
	struct nb_trace_flow *flows;
	enum nb_taken *taken;
	size_t count;
};

static bool is_to_be_tried(const struct nb_case *one, const struct nb_case *first)
{
	return nb_case_counts(one) && one->link->up && one->address &&
	       strcmp(one->bridge, first->bridge) == 0;
}

static void fill(struct round *round, bool (*wanted)(const struct nb_case *one), size_t most)
{
	round->count = 0;
	memset(round->taken, 0, round->all_count * sizeof(*round->taken));
	for (size_t i = 0; i < round->all_count && round->count < most; i++) {
		struct nb_case *one = &round->all[i];

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
		/* connections are asked when it is known that they stand */
		if (round->diagnosis->payload &&
		    nb_payload_dialect(one->mapping->protocol, one->mapping->target.port,
				       one->program) == NB_DIALECT_DNS) {
			round->probes[round->count].payload = round->query;
			round->probes[round->count].length = nb_payload_write(NB_DIALECT_DNS, "",
									      round->query);
		}
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
		one->taken = round->taken[i];
		one->said_length = round->probes[i].said_length;
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
	if (!one->tried || one->result == NB_PROBE_FAILED || one->taken == NB_TAKEN_WAITS)
		return false;
	return !nb_case_works(one) || one->taken == NB_TAKEN_HALF;
}

/* Some have not come to a process, nor are they known to wait for nobody. */
static bool may_be_taken_yet(const struct round *round, const struct nb_connection *connections,
			     const size_t *of, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (connections[i].taken == NB_TAKEN_WAITS && !round->cases[of[i]]->takes_nothing)
			return true;
	return false;
}

/* Who connected may be in a queue from which nobody takes him. A busy service has some time. */
static void look_at_standing(struct nb_probe *const *standing, size_t count, void *data)
{
	struct round *round = data;
	struct nb_netlink *nl = round->diagnosis->nl;
	struct nb_connection *connections;
	struct nb_error ignored;
	size_t *of;
	int r = 0;

	/* opened here it would be the container's; the listeners were read by it, if it can be had */
	if (!nb_netlink_port(nl, NETLINK_SOCK_DIAG))
		return;
	connections = calloc(count, sizeof(*connections));
	of = calloc(count, sizeof(*of));
	for (size_t i = 0; connections && of && i < count; i++) {
		const struct nb_target *target;

		of[i] = (size_t)(standing[i] - round->probes);
		target = &round->cases[of[i]]->mapping->target;
		connections[i] = (struct nb_connection){
			.address = target->address,
			.port = target->port,
			.remote_port = standing[i]->source_port,
		};
	}
	for (int waited = 0; connections && of && r == 0; waited += TAKE_STEP_MS) {
		const struct timespec step = { .tv_nsec = TAKE_STEP_MS * 1000000L };

		r = nb_connections_look(nl, connections, count, &ignored);
		if (r < 0 || waited >= TAKE_MS || !may_be_taken_yet(round, connections, of, count))
			break;
		nanosleep(&step, NULL);
	}
	for (size_t i = 0; connections && of && r == 0 && i < count; i++)
		round->taken[of[i]] = connections[i].taken;
	free(connections);
	free(of);
}

static int run_some(struct round *round, size_t first, size_t count, int timeout_ms,
		    struct nb_error *err)
{
	return nb_probe_run_watched(round->place, &round->probes[first], count, timeout_ms,
				    look_at_standing, round, err);
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
	if (run_some(round, 0, round->count, TRACED_MS, &error) < 0) {
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

		r = run_some(round, done, count, WAIT_MS, err);
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

/* False: there is no memory. */
static bool round_begin(struct round *round, struct nb_diagnosis *diagnosis, struct nb_case *all,
			size_t count)
{
	*round = (struct round){
		.diagnosis = diagnosis,
		.all = all,
		.all_count = count,
		.cases = calloc(count, sizeof(struct nb_case *)),
		.probes = calloc(count, sizeof(*round->probes)),
		.flows = calloc(count, sizeof(*round->flows)),
		.taken = calloc(count, sizeof(*round->taken)),
	};
	diagnosis->no_memory |= !round->cases || !round->probes || !round->flows || !round->taken;
	return !diagnosis->no_memory;
}

static void round_end(struct round *round)
{
	nb_probe_leave(round->place);
	free(round->cases);
	free(round->probes);
	free(round->flows);
	free(round->taken);
}

static void try_bridge(struct nb_diagnosis *diagnosis, struct nb_case *first)
{
	struct nb_error error;
	struct round round;

	if (!round_begin(&round, diagnosis, diagnosis->cases, diagnosis->case_count))
		goto out;
	round.first = first;
	fill(&round, NULL, SIZE_MAX);
	if (round.count == 0 || !find_place(&round))
		goto out;
	if (run_all(&round, AT_ONCE, &error) < 0) {
		nb_warn(diagnosis->warnings, "%s was not tried: %s", first->bridge, error.message);
	} else {
		take_results(&round, false);
		try_again(&round);
		trace(&round);
		if (diagnosis->payload)
			nb_question_cases(diagnosis, round.place, first);
	}
out:
	round_end(&round);
}

/* --- The other containers of a network --- */

/* Of the @first_count cases some, as another container dials them. */
static size_t copy_cases(const struct nb_diagnosis *diagnosis, size_t first_count,
			 const struct nb_inhabitant *who, struct nb_case *copies,
			 const struct nb_case **originals)
{
	size_t count = 0;

	for (size_t i = 0; i < first_count && count < MOST_MAPPINGS; i++) {
		const struct nb_case *one = &diagnosis->cases[i];

		/* UDP that is not answered says nothing that could be compared */
		if (!one->tried || strcmp(one->bridge, who->bridge) != 0 ||
		    one->mapping->protocol != IPPROTO_TCP)
			continue;
		originals[count] = one;
		copies[count] = *one;
		copies[count].pid = who->pid;
		copies[count].container_address = who->address;
		if (who->dials) {
			copies[count].address = who->dials;
			copies[count].prefix_length = who->dials_length;
		}
		copies[count].traced = false;
		copies[count].flow = (struct nb_trace_flow){ 0 };
		copies[count].rule[0] = '\0';
		memcpy(copies[count].container, who->name, sizeof(copies[count].container));
		count++;
	}
	return count;
}

static void find_port(struct nb_diagnosis *diagnosis, struct nb_case *copies, size_t count)
{
	struct nb_error ignored;
	struct nb_owner owner;

	if (nb_owner_find(diagnosis->nl, copies[0].link->index, copies[0].pid, &owner, &ignored) <
	    0)
		return;
	for (size_t i = 0; i < count; i++)
		copies[i].port = owner.port;
}

/* What goes as it does for the first container is not tried any further. */
static size_t keep_different(struct nb_case *copies, const struct nb_case **originals, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (copies[i].result != NB_PROBE_FAILED &&
		    nb_case_works(&copies[i]) != nb_case_works(originals[i]))
			copies[kept++] = copies[i];
	return kept;
}

static void append_cases(struct nb_diagnosis *diagnosis, const struct nb_case *cases, size_t count)
{
	struct nb_case *grown;

	if (count == 0)
		return;
	grown = reallocarray(diagnosis->cases, diagnosis->case_count + count, sizeof(*grown));
	if (!grown) {
		diagnosis->no_memory = true;
		return;
	}
	diagnosis->cases = grown;
	memcpy(&grown[diagnosis->case_count], cases, count * sizeof(*cases));
	diagnosis->case_count += count;
}

static void dial_as(struct round *round, const struct nb_inhabitant *who,
		    const struct nb_case **originals)
{
	size_t count = round->all_count;
	struct nb_error ignored;

	round->first = round->all;
	snprintf(round->from, sizeof(round->from), "container %s", who->name);
	fill(round, NULL, SIZE_MAX);
	/* it may have ended meanwhile */
	if (round->count != count || nb_probe_enter(who->pid, &round->place, &ignored) < 0 ||
	    run_all(round, AT_ONCE, &ignored) < 0)
		return;
	take_results(round, false);
	round->all_count = keep_different(round->all, originals, count);
	if (round->all_count) {
		find_port(round->diagnosis, round->all, round->all_count);
		trace(round);
		append_cases(round->diagnosis, round->all, round->all_count);
	}
}

static void try_from(struct nb_diagnosis *diagnosis, size_t first_count,
		     const struct nb_inhabitant *who)
{
	const struct nb_case *originals[MOST_MAPPINGS];
	struct nb_case *copies = calloc(MOST_MAPPINGS, sizeof(*copies));
	struct round round = { 0 };
	size_t count = 0;

	if (!copies)
		diagnosis->no_memory = true;
	else
		count = copy_cases(diagnosis, first_count, who, copies, originals);
	if (count && round_begin(&round, diagnosis, copies, count))
		dial_as(&round, who, originals);
	round_end(&round);
	free(copies);
}

static ino_t namespace_of(pid_t pid)
{
	struct stat st;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* Were probes made in its network already, as that of a pod, or of the first container? */
static bool is_tried(const struct nb_diagnosis *diagnosis, size_t count)
{
	const struct nb_inhabitant *who = &diagnosis->inhabitants[count];
	ino_t namespace = namespace_of(who->pid);

	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (diagnosis->cases[i].pid &&
		    strcmp(diagnosis->cases[i].bridge, who->bridge) == 0 &&
		    namespace_of(diagnosis->cases[i].pid) == namespace)
			return true;
	for (size_t i = 0; i < count; i++)
		if (strcmp(diagnosis->inhabitants[i].bridge, who->bridge) == 0 &&
		    namespace_of(diagnosis->inhabitants[i].pid) == namespace)
			return true;
	return namespace == 0;
}

static void try_others(struct nb_diagnosis *diagnosis)
{
	int64_t deadline = nb_monotonic_ms() + OTHERS_MS;
	size_t first_count = diagnosis->case_count, left = 0;

	for (size_t i = 0; i < diagnosis->inhabitant_count && !diagnosis->no_memory; i++) {
		if (is_tried(diagnosis, i))
			continue;
		if (nb_monotonic_ms() < deadline)
			try_from(diagnosis, first_count, &diagnosis->inhabitants[i]);
		else
			left++;
	}
	if (left)
		nb_warn(diagnosis->warnings,
			"%zu containers more were not dialled from: the first ones took too long",
			left);
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
	try_others(diagnosis);
}
