/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a plan that was carried out has changed, for the system's log. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "cli.h"

static __attribute__((format(printf, 2, 3))) void restore(struct nb_difference *difference,
							  const char *format, ...)
{
	size_t length = strlen(difference->restored);
	size_t room = sizeof(difference->restored) - length;
	char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* room for the dots */
	if (difference->restored_more || strlen(text) + 8 > room)
		difference->restored_more++;
	else
		snprintf(difference->restored + length, room, "%s%s", length ? ", " : "", text);
}

static int remove_element(struct nb_difference *difference, const struct nb_plan *plan,
			  const struct nb_state *state, const struct nb_element *element)
{
	const struct nb_mapping mapping = nb_element_to_mapping(element, &state->bridges);

	/* of one that only gets another expiry the new one is told */
	if (nb_element_find_exact(&plan->elements, element))
		return 0;
	return nb_mapping_list_append(&difference->removed, &mapping);
}

static int add_element(struct nb_difference *difference, const struct nb_element *element)
{
	struct nb_element bare = *element;

	bare.comment = NULL;
	return nb_element_list_append(&difference->added, &bare);
}

static int note_ops(struct nb_difference *difference, const struct nb_plan *plan,
		    const struct nb_state *state, const struct nb_op_list *ops)
{
	bool anew = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ops->count; i++) {
		const struct nb_op *op = &ops->items[i];
		const struct nb_input_chain *chain = op->opener.chain;

		switch (op->kind) {
		case NB_OP_TABLE_CREATE:
			anew = true;
			restore(difference, "table inet " NB_TABLE_NAME);
			break;
		case NB_OP_BRIDGE_ADD:
			if (!anew && !nb_bridge_find(&state->bridges, op->bridge->name))
				restore(difference, "the guard of %s", op->bridge->name);
			break;
		case NB_OP_OPENER_INSERT:
			restore(difference, "the opener in %s %.60s %.60s",
				chain->family == 2 /* NFPROTO_IPV4 */ ? "ip" : "inet", chain->table,
				chain->name);
			break;
		case NB_OP_TARGET_ADD:
		case NB_OP_ACCEPTED_ADD:
			r = add_element(difference, op->element);
			break;
		case NB_OP_TARGET_DELETE:
			r = remove_element(difference, plan, state, op->element);
			break;
		default:
			break;
		}
	}
	return r;
}

void nb_difference_note(struct nb_run *run, const struct nb_plan *plan,
			const struct nb_state *state)
{
	struct nb_difference *difference = &run->difference;

	/* without memory for it the record is short, and nothing else is wrong */
	(void)note_ops(difference, plan, state, &plan->first);
	for (size_t i = 0; i < plan->attach_count; i++)
		restore(difference, "the filter at the ingress of %s", plan->attach[i].name);
	for (size_t i = 0; i < plan->enable_count; i++)
		restore(difference, "route_localnet of %s", plan->enable[i].name);
	nb_element_list_sort(&difference->added);
}

bool nb_difference_has(const struct nb_difference *difference, const struct nb_row *row)
{
	struct nb_element element = {
		.target = row->mapping->target,
		.port = row->mapping->port,
		.protocol = row->mapping->protocol,
	};

	if (!row->bridge)
		return false;
	snprintf(element.bridge, sizeof(element.bridge), "%s", row->bridge);
	return nb_element_find_exact(&difference->added, &element) != NULL;
}

void nb_difference_clear(struct nb_difference *difference)
{
	nb_element_list_clear(&difference->added);
	nb_mapping_list_clear(&difference->removed);
	memset(difference, 0, sizeof(*difference));
}
