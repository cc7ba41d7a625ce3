/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The executor of plans: the only code that changes the kernel. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "nat-bridge/plan.h"

static int64_t read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t nb_now_ms(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t nb_monotonic_ms(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

/* @ret_gone (if not NULL) takes the name of a device that vanished; else that is no event. */
static int set_links(struct nb_netlink *nl, const struct nb_link_step *steps, size_t count,
		     struct nb_outcome *outcome, char *ret_gone, struct nb_error *err)
{
	for (size_t i = 0; i < count; i++) {
		struct nb_netlink_ack ack;
		int r = nb_link_set(nl, steps[i].ifindex, steps[i].route_localnet, steps[i].set_tag,
				    steps[i].tag, &ack);

		if (r == -ENODEV) {
			if (ret_gone)
				memcpy(ret_gone, steps[i].name, sizeof(steps[i].name));
			continue;
		}
		if (r < 0) {
			char what[96];

			snprintf(what, sizeof(what), "set route_localnet=%u of %s",
				 steps[i].route_localnet, steps[i].name);
			return nb_netlink_error(err, &ack, r, what);
		}
		outcome->changed = true;
	}
	return 0;
}

int nb_plan_execute(struct nb_netlink *nl, const struct nb_plan *plan, const struct nb_state *state,
		    uint32_t mark, struct nb_outcome *outcome, struct nb_warnings *warnings,
		    struct nb_error *err)
{
	uint32_t generation = state->generation;
	struct nb_flow_result flows;
	int r;

	r = set_links(nl, plan->close, plan->close_count, outcome, NULL, err);
	if (r < 0)
		return r;
	if (plan->first.count) {
		r = nb_ops_commit(nl, &plan->first, mark, generation, nb_now_ms(), err);
		if (r < 0)
			return r;
		outcome->changed = outcome->committed = true;
		/* a commit of somebody else in between makes the second batch stale */
		generation++;
	}
	r = set_links(nl, plan->enable, plan->enable_count, outcome, outcome->vanished, err);
	if (r < 0)
		return r;
	if (plan->started_count) {
		r = nb_flow_free_untranslated(nl, plan->started, plan->started_count, err);
		if (r < 0)
			return r;
	}
	if (plan->ended_count) {
		r = nb_flow_end(nl, plan->ended, plan->ended_count, &flows, warnings, err);
		if (r < 0)
			return r;
	}
	r = set_links(nl, plan->restore, plan->restore_count, outcome, NULL, err);
	if (r < 0)
		return r;
	if (plan->second.count) {
		r = nb_ops_commit(nl, &plan->second, mark, generation, nb_now_ms(), err);
		if (r < 0)
			return r;
		outcome->changed = true;
		generation++;
	}
	outcome->generation = generation;
	return 0;
}
