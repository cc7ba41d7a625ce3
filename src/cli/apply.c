/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nat-bridge apply: make the kernel what the rule files say. */
#include <errno.h>
#include <string.h>

#include "apply.h"
#include "stamp.h"

/* Commands that were killed left their staged files; what they meant is settled now. */
static int commit(struct nb_run *run, void *data)
{
	struct nb_application *application = data;
	int r = run->rules.unfinished_count ? nb_run_tidy_rules(run, true) : 0;

	application->report.ended = r > 0;
	return r < 0 ? r : 0;
}

static void warn_left_out(struct nb_run *run, const struct nb_wanted *wanted, int *status)
{
	const struct nb_rule_file *first = nb_rules_invalid(&run->rules);

	for (size_t i = 0; i < wanted->refused_count; i++)
		nb_warn(&run->warnings, "%s", wanted->refused[i].what);
	if (first) {
		nb_wanted_require_valid(run);
		*status = NB_STATUS_PARTIAL;
	} else if (wanted->refused_count) {
		run->error = wanted->refusal;
		run->error.status = NB_STATUS_PARTIAL;
		nb_error_prefix(&run->error, "%zu mapping%s refused and left out%s",
				wanted->refused_count,
				wanted->refused_count == 1 ? " was" : "s were",
				wanted->refused_count == 1 ? "" : "; the first");
		*status = NB_STATUS_PARTIAL;
	}
}

static void clear_removed(struct nb_application *application)
{
	nb_mapping_list_clear(&application->removed);
	nb_element_list_clear(&application->were);
}

static int append_removed(struct nb_application *application, const struct nb_state *state,
			  const struct nb_element *element)
{
	const struct nb_mapping mapping = nb_element_to_mapping(element, &state->bridges);

	if (nb_mapping_list_append(&application->removed, &mapping) < 0)
		return -ENOMEM;
	return nb_element_list_append(&application->were, element);
}

static int build(struct nb_run *run, const struct nb_state *state, struct nb_desired *desired,
		 void *data)
{
	struct nb_application *application = data;
	int r = nb_wanted_build(run, state, desired, &application->wanted);

	if (!application->read)
		application->found = state->table != NB_TABLE_ABSENT;
	application->read = true;

	if (r == 0)
		r = nb_wanted_require_bridges(run, &application->wanted);
	clear_removed(application);
	nb_desired_finish(desired);
	for (size_t i = 0; r == 0 && i < state->targets.count; i++) {
		const struct nb_element *element = &state->targets.items[i];

		if (!nb_element_find_exact(&desired->elements, element) &&
		    !nb_element_find_exact(&desired->pending, element) &&
		    append_removed(application, state, element) < 0)
			r = nb_out_of_memory(run);
	}
	if (r == 0)
		nb_advise_firewalls(run, &desired->elements, &state->links);
	return r;
}

static int report_removed(struct nb_run *run, const struct nb_application *application,
			  struct nb_report *report)
{
	for (size_t i = 0; i < application->removed.count; i++) {
		const struct nb_row row = { .mapping = &application->removed.items[i],
					    .bridge = application->were.items[i].bridge,
					    .origin = "kernel" };

		if (nb_row_append(&report->removed, &row) < 0)
			return nb_out_of_memory(run);
	}
	return 0;
}

int nb_apply(struct nb_run *run, struct nb_application *application)
{
	const struct nb_goal goal = { .build = build, .commit = commit, .data = application };
	struct nb_wanted *wanted = &application->wanted;
	struct nb_outcome *outcome = &application->outcome;
	int r = nb_run_prepare(run, true);

	wanted->keep_going = run->options.keep_going;
	if (r == 0 && application->heed_flush && nb_flushed()) {
		application->flushed = true;
		return 0;
	}
	if (r == 0 && !application->heed_flush && !run->options.dry_run)
		nb_flushed_clear();
	if (r == 0)
		r = nb_run_read_rules(run);
	if (r == 0 && !run->options.keep_going)
		r = nb_wanted_require_valid(run);
	if (r == 0 && !application->look_closely && nb_stamp_is_current(run, wanted)) {
		r = nb_wanted_require_bridges(run, wanted);
	} else if (r == 0) {
		r = nb_transact(run, &goal, outcome, &application->report.script);
		if (r == 0 && !run->options.dry_run && !outcome->vanished[0])
			nb_stamp_save(run, wanted, outcome->generation);
	}
	if (r == 0)
		r = report_removed(run, application, &application->report);
	if (r < 0) {
		run->changed = outcome->committed && outcome->changed;
		return r;
	}
	nb_wanted_warn_pending(run, wanted, NULL);
	warn_left_out(run, wanted, &application->status);
	application->report.changed = outcome->changed || application->report.ended;
	application->report.mappings = wanted->live;
	application->report.pending = wanted->pending;
	return 0;
}

void nb_application_clear(struct nb_application *application)
{
	/* borrowed from what was wanted */
	application->report.mappings = application->report.pending = (struct nb_row_list){ 0 };
	nb_report_clear(&application->report);
	clear_removed(application);
	nb_wanted_clear(&application->wanted);
}

int nb_command_apply(struct nb_run *run)
{
	struct nb_application application = {
		.report = {
			.verb = "applied",
			.unchanged = "the kernel is what the rule files say",
		},
	};
	int status;

	if (nb_apply(run, &application) < 0) {
		status = nb_print_failure(run);
	} else {
		status = nb_print_change(run, &application.report,
					 (enum nb_status)application.status);
	}
	nb_application_clear(&application);
	return status;
}
