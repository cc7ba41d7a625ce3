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

/* What the device is now, if it was what the plan was made for. */
static void note_link(struct nb_outcome *outcome, const struct nb_state *state,
		      const struct nb_link_step *step)
{
	for (size_t i = 0; i < state->links.count; i++) {
		struct nb_link link = state->links.items[i];

		if (link.index != step->ifindex)
			continue;
		link.route_localnet = step->route_localnet;
		if (step->set_tag)
			link.tag = step->tag;
		/* too many: then what is heard of the others is news */
		(void)nb_device_changes_put(&outcome->devices, &link);
	}
}

/* With @name_gone a device that vanished is named in the outcome; else that is no event. */
static int set_links(struct nb_netlink *nl, const struct nb_state *state,
		     const struct nb_link_step *steps, size_t count, struct nb_outcome *outcome,
		     bool name_gone, struct nb_error *err)
{
	for (size_t i = 0; i < count; i++) {
		struct nb_netlink_ack ack;
		int r = nb_link_set(nl, steps[i].ifindex, steps[i].route_localnet, steps[i].set_tag,
				    steps[i].tag, &ack);

		if (r == -ENODEV) {
			if (name_gone)
				memcpy(outcome->vanished, steps[i].name, sizeof(steps[i].name));
			continue;
		}
		if (r < 0) {
			char what[96];

			snprintf(what, sizeof(what), "set route_localnet=%u of %s",
				 steps[i].route_localnet, steps[i].name);
			return nb_netlink_error(err, &ack, r, what);
		}
		outcome->changed = true;
		note_link(outcome, state, &steps[i]);
	}
	return 0;
}

/*
 * Filters at ingress. Where one cannot be had the guard in nf_tables is all there is: a
 * word, and no failure.
 */
static int attach(struct nb_netlink *nl, const struct nb_plan *plan, const struct nb_state *state,
		  uint32_t mark, struct nb_outcome *outcome, struct nb_warnings *warnings,
		  struct nb_error *err)
{
	for (size_t i = 0; i < plan->attach_count; i++) {
		const struct nb_ingress_step *step = &plan->attach[i];
		struct nb_netlink_ack ack;
		int r = nb_ingress_attach(nl, step->ifindex, &step->old, state->ingress_program,
					  mark, &ack);
		char what[96];

		if (r == -ENODEV)
			memcpy(outcome->vanished, step->name, sizeof(step->name));
		else if (r == 0)
			outcome->changed = true;
		if (r == 0 || r == -ENODEV)
			continue;
		snprintf(what, sizeof(what), "attach the ingress filter of %s", step->name);
		r = nb_netlink_error(err, &ack, r, what);
		if (!nb_ingress_is_impossible(r))
			return r;
		/* a kernel without the qdisc or the classifier: nothing that another device has */
		if (r == -ENOENT) {
			snprintf(outcome->unfiltered, sizeof(outcome->unfiltered), "tc: %.80s",
				 ack.message[0] ? ack.message : strerror(-r));
			nb_warn(warnings, "guard: nftables only (%s)", outcome->unfiltered);
		} else {
			nb_warn(warnings, "guard of %s: nftables only (%s)", step->name,
				err->message);
		}
		memset(err, 0, sizeof(*err));
		if (outcome->unfiltered[0])
			break;
	}
	return 0;
}

static int detach(struct nb_netlink *nl, const struct nb_plan *plan, struct nb_outcome *outcome,
		  struct nb_error *err)
{
	for (size_t i = 0; i < plan->detach_count; i++) {
		const struct nb_ingress_step *step = &plan->detach[i];
		struct nb_netlink_ack ack;
		int r = nb_ingress_detach(nl, step->ifindex, &step->old, &ack);

		if (r < 0) {
			char what[96];

			snprintf(what, sizeof(what), "detach the ingress filter of %s", step->name);
			return nb_netlink_error(err, &ack, r, what);
		}
		outcome->changed = true;
	}
	return 0;
}

/* One transaction. A lost answer leaves it open whether it happened: read and plan again. */
static int commit(struct nb_netlink *nl, const struct nb_op_list *ops, uint32_t mark,
		  uint32_t *generation, struct nb_outcome *outcome, struct nb_error *err)
{
	int r = nb_ops_commit(nl, ops, mark, *generation, nb_now_ms(), err);

	if (r < 0 && r != -EINPROGRESS)
		return r;
	outcome->changed = outcome->committed = true;
	/* a commit of somebody else in between makes the next batch stale */
	if (++*generation == 0) /* which would mean: any */
		*generation = 1;
	return r < 0 ? -EAGAIN : 0;
}

int nb_plan_execute(struct nb_netlink *nl, const struct nb_plan *plan, const struct nb_state *state,
		    uint32_t mark, struct nb_outcome *outcome, struct nb_warnings *warnings,
		    struct nb_error *err)
{
	uint32_t generation = state->generation;
	struct nb_flow_result flows;
	int r;

	outcome->devices.port = nb_netlink_port(nl, NETLINK_ROUTE);
	r = set_links(nl, state, plan->close, plan->close_count, outcome, false, err);
	if (r < 0)
		return r;
	if (plan->first.count) {
		r = commit(nl, &plan->first, mark, &generation, outcome, err);
		if (r < 0)
			return r;
	}
	r = attach(nl, plan, state, mark, outcome, warnings, err);
	if (r < 0)
		return r;
	r = set_links(nl, state, plan->enable, plan->enable_count, outcome, true, err);
	if (r < 0)
		return r;
	if (plan->started_count) {
		r = nb_flow_free_untranslated(nl, plan->started, plan->started_count, err);
		if (r < 0)
			return r;
	}
	if (plan->ended_count) {
		r = nb_flow_end(nl, plan->ended, plan->ended_count, plan->kept, plan->kept_count,
				&flows, warnings, err);
		if (r < 0)
			return r;
	}
	r = set_links(nl, state, plan->restore, plan->restore_count, outcome, false, err);
	if (r < 0)
		return r;
	r = detach(nl, plan, outcome, err);
	if (r < 0)
		return r;
	if (plan->second.count) {
		r = commit(nl, &plan->second, mark, &generation, outcome, err);
		if (r < 0)
			return r;
	}
	outcome->generation = generation;
	return 0;
}
