/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A goal, carried out: read, plan, execute; on conflict again, for a bounded
 * time; on failure back to the state from before, by the same three steps.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

#define RETRY_MS 5000

struct attempt {
	const struct nb_element_list *keys; /* what was asked for; NULL: everything */
	struct nb_state state;
	struct nb_desired desired;
	struct nb_plan plan;
};

static void attempt_clear(struct attempt *attempt)
{
	nb_plan_clear(&attempt->plan);
	nb_desired_clear(&attempt->desired);
	nb_state_clear(&attempt->state);
}

static int attempt_plan(struct nb_run *run, const struct nb_goal *goal, struct attempt *attempt)
{
	int r;

	memset(attempt, 0, sizeof(*attempt));
	attempt->keys = goal->keys ? *goal->keys : NULL;
	r = nb_state_read(run->nl, run->config.mark, attempt->keys, goal->read_flags,
			  &attempt->state, &run->error);
	if (r == 0)
		r = goal->build(run, &attempt->state, &attempt->desired, goal->data);
	if (r == 0) {
		nb_desired_finish(&attempt->desired);
		r = nb_probe_ingress(run, &attempt->desired.bridges, &attempt->state);
	}
	if (r == 0) {
		r = nb_plan_make(&attempt->desired, &attempt->state, false, &attempt->plan,
				 &run->warnings, &run->error);
	}
	return r;
}

static void breathe(void)
{
	static const struct timespec pause = { .tv_nsec = 2000000 };

	nanosleep(&pause, NULL);
}

/* What the state was before, seen from the state that is now. */
struct before {
	const struct nb_state *state;
	const struct nb_element_list *keys; /* NULL: it is known as a whole */
};

static int build_before(struct nb_run *run, const struct nb_state *state,
			struct nb_desired *desired, void *data)
{
	const struct before *before = data;
	int r;

	(void)run;
	if (!before->state->partial)
		return nb_desired_from_state(desired, before->state, true);
	r = nb_desired_from_state(desired, state, true);
	if (r < 0)
		return r;
	nb_desired_drop(desired, before->keys);
	return nb_desired_from_state(desired, before->state, true);
}

static int attempt_until(struct nb_run *run, const struct nb_goal *goal, struct nb_outcome *outcome,
			 struct attempt *first, bool *first_kept)
{
	int64_t deadline = nb_monotonic_ms() + RETRY_MS;
	int r;

	for (;;) {
		struct attempt attempt;

		bool executed = false;

		r = attempt_plan(run, goal, &attempt);
		outcome->generation = attempt.state.generation;
		/* flows of a batch whose answer was lost are no longer to be seen in the sets */
		if (r == 0 && first && *first_kept && outcome->committed &&
		    nb_plan_carry_ended(&attempt.plan, &attempt.desired, &attempt.state,
					&first->plan) < 0)
			r = nb_out_of_memory(run);
		if (r == 0 && !nb_plan_is_empty(&attempt.plan)) {
			executed = true;
			outcome->vanished[0] = outcome->unfiltered[0] = '\0';
			r = nb_plan_execute(run->nl, &attempt.plan, &attempt.state,
					    run->config.mark, outcome, &run->warnings, &run->error);
			if (r == 0 && attempt.plan.attach_count)
				nb_unfiltered_note(outcome->unfiltered);
			if (r == 0)
				nb_difference_note(run, &attempt.plan, &attempt.state);
		}
		/* the state from before is that of the first attempt that did something */
		if (executed && first && !*first_kept) {
			*first = attempt;
			*first_kept = true;
		} else {
			attempt_clear(&attempt);
		}
		if (r != -EAGAIN || nb_monotonic_ms() >= deadline)
			return r;
		breathe();
	}
}

static int undo(struct nb_run *run, const struct attempt *first)
{
	struct before before = { .state = &first->state, .keys = first->keys };
	const struct nb_goal back = { .build = build_before, .data = &before };
	struct nb_outcome outcome = { 0 };
	struct nb_error cause = run->error;
	int r = attempt_until(run, &back, &outcome, NULL, NULL);

	if (r < 0)
		nb_warn(&run->warnings,
			"undoing it failed, too (%s): nothing unmapped is open; 'nat-bridge check' "
			"shows what is left, 'nat-bridge apply' mends it",
			run->error.message);
	run->error = cause;
	return r;
}

static int dry_run(struct nb_run *run, const struct nb_goal *goal, struct nb_outcome *outcome,
		   char **ret_script)
{
	int64_t deadline = nb_monotonic_ms() + RETRY_MS;
	struct attempt attempt;
	char *script = NULL;
	size_t size = 0;
	FILE *stream;
	int r;

	while (r = attempt_plan(run, goal, &attempt),
	       r == -EAGAIN && nb_monotonic_ms() < deadline) {
		attempt_clear(&attempt);
		breathe();
	}
	if (r == 0) {
		outcome->changed = nb_plan_changes(&attempt.plan) || run->rules.unfinished_count;
		stream = open_memstream(&script, &size);
		if (stream) {
			nb_plan_print(&attempt.plan, run->config.mark, nb_now_ms(), stream);
			fclose(stream);
		}
		if (ret_script)
			*ret_script = script;
		else
			free(script);
	}
	attempt_clear(&attempt);
	return r;
}

/* An interrupt in the middle would leave a half-way state, if a safe one: let it wait. */
static void hold_signals(sigset_t *before)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, before);
}

int nb_transact(struct nb_run *run, const struct nb_goal *goal, struct nb_outcome *outcome,
		char **ret_script)
{
	struct attempt first = { 0 };
	bool kept = false;
	sigset_t before;
	int r;

	memset(outcome, 0, sizeof(*outcome));
	if (run->options.dry_run)
		return dry_run(run, goal, outcome, ret_script);

	hold_signals(&before);
	r = attempt_until(run, goal, outcome, &first, &kept);
	if (r == 0 && outcome->vanished[0] && run->options.strict)
		r = nb_error_set(&run->error, NB_STATUS_FAILED, ENODEV, "pending",
				 "interface %s vanished, and --strict needs it", outcome->vanished);
	if (r == 0 && goal->commit)
		r = goal->commit(run, goal->data);
	if (r < 0 && outcome->changed && kept && !goal->forward_only) {
		outcome->changed = undo(run, &first) < 0;
		run->changed = outcome->changed;
	} else if (r < 0 && outcome->committed) {
		nb_error_prefix(&run->error,
				"half done, and nothing is open that was closed ('nat-bridge "
				"apply' ends it)");
	}
	attempt_clear(&first);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}
