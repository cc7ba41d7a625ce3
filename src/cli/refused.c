/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mappings of rule files that cannot be: on a bridge which must not carry them, or beside
 * another network's on the same bridge, whose same port leads elsewhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wanted.h"

static void word_mend(const struct nb_run *run, const struct nb_mapping *mapping,
		      struct nb_finding *finding)
{
	if (strcmp(run->error.code, "external") == 0)
		snprintf(finding->mend, sizeof(finding->mend),
			 "take the port out of the bridge, or say \"external\": true");
	else
		snprintf(finding->mend, sizeof(finding->mend), "nat-bridge remove %s %u/%s",
			 finding->network, mapping->port, nb_protocol_name(mapping->protocol));
}

int nb_wanted_refuse(struct nb_run *run, struct nb_wanted *wanted, const struct nb_mapping *mapping)
{
	static const char *const codes[] = { "external", "loopback", "conflict" };
	struct nb_finding *grown, *finding;
	char network[NB_NETWORK_SIZE], place[NB_PLACE_SIZE] = "runtime";
	bool known = false;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		known |= strcmp(run->error.code, codes[i]) == 0;
	if (!known)
		return run->error.number ? -run->error.number : -EIO;
	if (mapping->file != SIZE_MAX)
		nb_mapping_place(run, mapping, place);
	nb_error_prefix(&run->error, "%s %u/%s (%s)", nb_network_format(&mapping->network, network),
			mapping->port, nb_protocol_name(mapping->protocol), place);
	nb_error_at(run, mapping);
	if (!wanted->keep_going)
		return -EPERM;
	if (wanted->refused_count == 0)
		wanted->refusal = run->error;
	grown = realloc(wanted->refused, (wanted->refused_count + 1) * sizeof(*grown));
	if (!grown)
		return nb_out_of_memory(run);
	wanted->refused = grown;
	finding = &grown[wanted->refused_count++];
	memset(finding, 0, sizeof(*finding));
	snprintf(finding->what, sizeof(finding->what), "refused: %.400s", run->error.message);
	strcpy(finding->network, network);
	word_mend(run, mapping, finding);
	return 0;
}

/* What a settlement works on. */
struct settling {
	struct nb_run *run;
	const struct nb_state *state;
	struct nb_desired *desired;
	struct nb_wanted *wanted;
};

/* A row that shall be live, as an element. */
static struct nb_element element_of(const struct nb_row *row)
{
	struct nb_element element = {
		.target = row->mapping->target,
		.port = row->mapping->port,
		.protocol = row->mapping->protocol,
	};

	snprintf(element.bridge, sizeof(element.bridge), "%s", row->bridge);
	return element;
}

static int compare_rows(const void *a, const void *b)
{
	const struct nb_element left = element_of(*(struct nb_row *const *)a);
	const struct nb_element right = element_of(*(struct nb_row *const *)b);

	return nb_element_compare(&left, &right);
}

static int refuse_row(struct settling *settling, struct nb_row *row, const struct nb_row *other,
		      struct nb_element_list *dropped)
{
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE], place[NB_PLACE_SIZE];
	const struct nb_element element = element_of(row);
	struct nb_run *run = settling->run;
	int r;

	nb_error_set(&run->error, NB_STATUS_FAILED, EEXIST, "conflict",
		     "on bridge %s the same port leads to %s for %s (%s): remove one of them",
		     row->bridge, nb_target_format(&other->mapping->target, target),
		     nb_network_format(&other->mapping->network, network),
		     nb_mapping_place(run, other->mapping, place));
	r = nb_wanted_refuse(run, settling->wanted, row->mapping);
	if (r < 0)
		return r;
	row->state = NULL;
	return nb_element_list_append(dropped, &element) < 0 ? nb_out_of_memory(run) : 0;
}

/* The rows of one key, ordered by target: of several targets the one that is live stays. */
static int settle_key(struct settling *settling, struct nb_row **rows, size_t count,
		      struct nb_element_list *dropped)
{
	const struct nb_element first = element_of(rows[0]), last = element_of(rows[count - 1]);
	const struct nb_element *live = nb_element_find(&settling->state->targets, &first);
	int r = 0;

	if (nb_target_equal(&first.target, &last.target))
		return 0;
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct nb_target *target = &rows[i]->mapping->target;
		bool is_first = nb_target_equal(target, &first.target);

		/* with it, nothing is left out: without --keep-going the others are the error */
		if (!live || !nb_target_equal(target, &live->target))
			r = refuse_row(settling, rows[i], is_first ? rows[count - 1] : rows[0],
				       dropped);
	}
	return r;
}

static void leave_out(struct settling *settling, struct nb_element_list *dropped)
{
	struct nb_element_list *elements = &settling->desired->elements;
	struct nb_row_list *live = &settling->wanted->live;
	size_t kept = 0;

	nb_element_list_sort(dropped);
	for (size_t i = 0; i < elements->count; i++) {
		if (nb_element_find_exact(dropped, &elements->items[i]))
			free(elements->items[i].comment);
		else
			elements->items[kept++] = elements->items[i];
	}
	elements->count = kept;
	kept = 0;
	for (size_t i = 0; i < live->count; i++)
		if (live->items[i].state)
			live->items[kept++] = live->items[i];
	live->count = kept;
}

int nb_wanted_settle_conflicts(struct nb_run *run, const struct nb_state *state,
			       struct nb_desired *desired, struct nb_wanted *wanted)
{
	struct settling settling = {
		.run = run,
		.state = state,
		.desired = desired,
		.wanted = wanted,
	};
	struct nb_element_list *elements = &desired->elements, dropped = { 0 };
	struct nb_row_list *live = &wanted->live;
	struct nb_row **rows;
	bool any = false;
	int r = 0;

	nb_element_list_sort(elements);
	for (size_t i = 1; i < elements->count && !any; i++)
		any = nb_element_compare_key(&elements->items[i - 1], &elements->items[i]) == 0 &&
		      !nb_target_equal(&elements->items[i - 1].target, &elements->items[i].target);
	if (!any)
		return 0;
	rows = calloc(live->count, sizeof(struct nb_row *));
	if (!rows)
		return nb_out_of_memory(run);
	for (size_t i = 0; i < live->count; i++)
		rows[i] = &live->items[i];
	qsort(rows, live->count, sizeof(struct nb_row *), compare_rows);
	for (size_t i = 0, end; r == 0 && i < live->count; i = end) {
		const struct nb_element first = element_of(rows[i]);

		for (end = i + 1; end < live->count; end++) {
			const struct nb_element next = element_of(rows[end]);

			if (nb_element_compare_key(&first, &next) != 0)
				break;
		}
		r = settle_key(&settling, rows + i, end - i, &dropped);
	}
	free(rows);
	if (r == 0)
		leave_out(&settling, &dropped);
	nb_element_list_clear(&dropped);
	return r;
}
