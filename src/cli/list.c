/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nat-bridge list: what is configured and what is live. */
#include <signal.h>
#include <stdlib.h>

#include "view.h"

static int fill_rows(struct nb_run *run, const struct nb_view *view, struct nb_row_list *rows)
{
	uint64_t *counts = calloc(view->inventory.count + 1, sizeof(*counts));
	int r = 0;

	if (!counts)
		return nb_out_of_memory(run);
	nb_view_count_flows(run, view, counts);
	for (size_t i = 0; r == 0 && i < view->inventory.count; i++) {
		const struct nb_row row = nb_view_row(run, view, i, counts[i]);

		if (nb_row_append(rows, &row) < 0)
			r = nb_out_of_memory(run);
	}
	free(counts);
	return r;
}

int nb_command_list(struct nb_run *run)
{
	struct nb_row_list rows = { 0 };
	struct nb_view view = { 0 };
	int status, r;

	/* a reader that goes away ends it: nothing is half done */
	signal(SIGPIPE, SIG_DFL);
	r = nb_view_prepare(run);
	if (r == 0)
		r = nb_view_read(run, &view);
	if (r == 0)
		r = fill_rows(run, &view, &rows);
	status = r < 0 ? nb_print_failure(run) : nb_print_list(run, &rows, view.result);
	free(rows.items);
	nb_view_clear(&view);
	return status;
}
