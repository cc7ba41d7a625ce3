/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nat-bridge check: is the kernel what the rule files say? Changes nothing. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "wanted.h"

static int add(struct nb_run *run, struct nb_findings *findings, const struct nb_finding *more,
	       size_t count)
{
	struct nb_finding *items;

	if (count == 0)
		return 0;
	items = realloc(findings->items, (findings->count + count) * sizeof(*items));
	if (!items)
		return nb_out_of_memory(run);
	findings->items = items;
	memcpy(&items[findings->count], more, count * sizeof(*items));
	findings->count += count;
	return 0;
}

static int add_unfinished(struct nb_run *run, struct nb_findings *findings)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < run->rules.unfinished_count; i++) {
		struct nb_finding finding = { .mend = "nat-bridge apply" };

		char name[128];

		nb_copy_line(name, sizeof(name), run->rules.unfinished[i]);
		snprintf(finding.what, sizeof(finding.what),
			 "unfinished removal: %s was being removed", name);
		r = add(run, findings, &finding, 1);
	}
	return r;
}

/*
 * A runtime mapping that the kernel ended leaves the guard of its bridge, which opens
 * nothing and waits for the next `apply`. Nobody has to mend that.
 */
static int tolerate_idle_guards(struct nb_run *run, const struct nb_state *state,
				struct nb_desired *desired)
{
	for (size_t i = 0; i < state->bridges.count; i++) {
		const char *name = state->bridges.items[i].name;
		const struct nb_link *link = nb_link_find(&state->links, name);

		/* one that was never opened is not of that kind */
		if (link && nb_link_is_tagged(link) &&
		    !nb_element_list_has_bridge(&state->targets, name) &&
		    !nb_element_list_has_bridge(&state->accepted, name) &&
		    nb_desired_tolerate(desired, name) < 0)
			return nb_out_of_memory(run);
	}
	return 0;
}

/* @desired is to be zeroed, and cleared also after a failure. */
static int compare(struct nb_run *run, struct nb_wanted *wanted, struct nb_state *state,
		   struct nb_desired *desired, struct nb_findings *findings)
{
	struct nb_plan plan = { 0 };
	int r = nb_wanted_build(run, state, desired, wanted);

	if (r == 0)
		r = tolerate_idle_guards(run, state, desired);
	if (r == 0) {
		nb_desired_finish(desired);
		r = nb_probe_ingress(run, &desired->bridges, state);
	}
	if (r == 0)
		r = nb_plan_make(desired, state, true, &plan, &run->warnings, &run->error);
	if (r == 0)
		r = add(run, findings, plan.findings, plan.finding_count);
	nb_plan_clear(&plan);
	return r;
}

/* One reading; -EAGAIN when the ruleset changed under it. */
static int read_and_compare(struct nb_run *run, struct nb_wanted *wanted,
			    struct nb_findings *findings)
{
	struct nb_state state;
	struct nb_desired desired = { 0 };
	int r = nb_state_read(run->nl, run->config.mark, NULL, 0, &state, &run->error);

	if (r == 0)
		r = compare(run, wanted, &state, &desired, findings);
	if (r == 0) {
		nb_warn_ingress(run, &desired.bridges, &state);
		nb_advise_firewalls(run, &desired.elements, &state.links);
	}
	nb_desired_clear(&desired);
	nb_state_clear(&state);
	return r;
}

int nb_check_find(struct nb_run *run, struct nb_wanted *wanted, struct nb_findings *ret)
{
	int64_t deadline = nb_monotonic_ms() + 5000;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = add_unfinished(run, ret);
	if (r == 0) {
		do {
			r = read_and_compare(run, wanted, ret);
		} while (r == -EAGAIN && nb_monotonic_ms() < deadline);
	}
	if (r == 0)
		r = add(run, ret, wanted->refused, wanted->refused_count);
	if (r == 0)
		nb_wanted_warn_pending(run, wanted, NULL);
	return r;
}

int nb_check_state(struct nb_run *run, struct nb_wanted *wanted, struct nb_state *state,
		   struct nb_findings *ret)
{
	struct nb_desired desired = { 0 };
	int r;

	memset(ret, 0, sizeof(*ret));
	r = add_unfinished(run, ret);
	if (r == 0)
		r = compare(run, wanted, state, &desired, ret);
	if (r == 0)
		r = add(run, ret, wanted->refused, wanted->refused_count);
	nb_desired_clear(&desired);
	return r;
}

void nb_findings_clear(struct nb_findings *findings)
{
	free(findings->items);
	memset(findings, 0, sizeof(*findings));
}

int nb_command_check(struct nb_run *run)
{
	struct nb_wanted wanted = { .keep_going = true, .keep_refused = true };
	struct nb_findings findings = { 0 };
	enum nb_status result;
	int status, r;

	/* a reader that goes away ends it: nothing is half done */
	signal(SIGPIPE, SIG_DFL);
	r = nb_run_prepare(run, false);
	if (r == 0)
		r = nb_run_read_rules(run);
	if (r == 0)
		r = nb_wanted_require_valid(run);
	if (r == 0)
		r = nb_check_find(run, &wanted, &findings);
	result = findings.count ? NB_STATUS_DRIFT : NB_STATUS_OK;
	if (r == 0 && nb_wanted_require_bridges(run, &wanted) < 0)
		result = NB_STATUS_FAILED;
	status = r < 0 ? nb_print_failure(run) : nb_print_check(run, &findings, result);
	nb_findings_clear(&findings);
	nb_wanted_clear(&wanted);
	return status;
}
