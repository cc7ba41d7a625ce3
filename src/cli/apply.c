/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nat-bridge apply: make the kernel what the rule files say. */
#include "stamp.h"

/* Commands that were killed left their staged files; what they meant is settled now. */
static int commit(struct nb_run *run, void *data)
{
	int r = 0;

	(void)data;
	if (run->rules.unfinished_count)
		r = nb_rules_tidy(run->options.rules, true, &run->error);
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
		nb_error_set(&run->error, NB_STATUS_PARTIAL, 0, "external",
			     "%zu mappings were refused and left out", wanted->refused_count);
		*status = NB_STATUS_PARTIAL;
	}
}

static void warn_pending(struct nb_run *run, const struct nb_wanted *wanted)
{
	for (size_t i = 0; i < wanted->pending.count; i++) {
		const struct nb_mapping *mapping = wanted->pending.items[i].mapping;
		char network[NB_NETWORK_SIZE];

		nb_warn(&run->warnings, "%s has no bridge now: its mappings are pending",
			nb_network_format(&mapping->network, network));
	}
}

int nb_command_apply(struct nb_run *run)
{
	struct nb_wanted wanted = { .keep_going = run->options.keep_going };
	const struct nb_goal goal = { .build = nb_wanted_build, .commit = commit, .data = &wanted };
	struct nb_report report = {
		.verb = "applied",
		.unchanged = "the kernel is what the rule files say",
	};
	struct nb_outcome outcome = { 0 };
	int status = NB_STATUS_OK, r;

	r = nb_run_prepare(run, true);
	if (r == 0)
		r = nb_run_read_rules(run);
	if (r == 0 && !run->options.keep_going)
		r = nb_wanted_require_valid(run);
	if (r == 0 && !nb_stamp_is_current(run, &wanted)) {
		r = nb_transact(run, &goal, &outcome, &report.script);
		if (r == 0 && !run->options.dry_run && !outcome.vanished[0])
			nb_stamp_save(run, &wanted, outcome.generation);
	}
	if (r < 0) {
		status = nb_print_failure(run);
	} else {
		warn_pending(run, &wanted);
		warn_left_out(run, &wanted, &status);
		report.changed = outcome.changed || run->rules.unfinished_count > 0;
		report.mappings = wanted.live;
		report.pending = wanted.pending;
		status = nb_print_change(run, &report, (enum nb_status)status);
		report.mappings = report.pending = (struct nb_row_list){ 0 };
	}
	nb_report_clear(&report);
	nb_wanted_clear(&wanted);
	return status;
}
