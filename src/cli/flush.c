/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nat-bridge flush: an empty desired state; rule files stay. */
#include "cli.h"

static int build(struct nb_run *run, const struct nb_state *state, struct nb_desired *desired,
		 void *data)
{
	(void)run;
	(void)state;
	(void)data;
	desired->complete = true;
	return 0;
}

int nb_command_flush(struct nb_run *run)
{
	const struct nb_goal goal = { .build = build, .forward_only = true };
	struct nb_report report = {
		.verb = "flushed: nothing is mapped; 'nat-bridge apply' brings the rule files back",
		.unchanged = "the kernel holds nothing of ours",
	};
	struct nb_outcome outcome = { 0 };
	int status, r = nb_run_prepare(run, true);

	/* before the kernel is emptied, which a watcher sees */
	if (r == 0 && !run->options.dry_run)
		nb_flushed_set(run);
	if (r == 0)
		r = nb_transact(run, &goal, &outcome, &report.script);
	report.changed = outcome.changed;
	run->changed = outcome.committed;
	status = r < 0 ? nb_print_failure(run) : nb_print_change(run, &report, NB_STATUS_OK);
	nb_report_clear(&report);
	return status;
}
