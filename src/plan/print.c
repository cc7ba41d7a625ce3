/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A plan as a script that `nft -f` takes; what nft cannot say stands in comments. */
#include "nat-bridge/plan.h"

static void print_links(const struct nb_link_step *steps, size_t count, FILE *out)
{
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "# sysctl -w net.ipv4.conf.%s.route_localnet=%u\n", steps[i].name,
			steps[i].route_localnet);
		if (steps[i].set_tag)
			fprintf(out, "# sysctl -w net.ipv4.conf.%s.tag=%u\n", steps[i].name,
				steps[i].tag);
	}
}

static void print_ingress(const struct nb_ingress_step *steps, size_t count, bool attach, FILE *out)
{
	for (size_t i = 0; i < count; i++) {
		const struct nb_ingress *old = &steps[i].old;

		if (attach && !old->priority)
			fprintf(out, "# tc qdisc add dev %s clsact\n", steps[i].name);
		if (attach || old->priority)
			fprintf(out,
				"# tc filter %s dev %s ingress protocol all pref %u handle 0x%x "
				"bpf%s\n",
				!attach		? "del"
				: old->priority ? "replace"
						: "add",
				steps[i].name, old->priority ? old->priority : NB_INGRESS_PRIORITY,
				old->priority ? old->handle : NB_INGRESS_HANDLE,
				attach ? " (drops 127.0.0.0/8 without the mark)" : "");
		if (!attach && old->own_qdisc)
			fprintf(out, "# tc qdisc del dev %s clsact, unless others use it\n",
				steps[i].name);
	}
}

/* The device of a step that closes it. */
static const char *name_of(const struct nb_plan *plan, int ifindex)
{
	for (size_t i = 0; i < plan->close_count; i++)
		if (plan->close[i].ifindex == ifindex)
			return plan->close[i].name;
	for (size_t i = 0; i < plan->restore_count; i++)
		if (plan->restore[i].ifindex == ifindex)
			return plan->restore[i].name;
	return "the bridge";
}

static void print_flows(const struct nb_plan *plan, const struct nb_flow_match *matches,
			size_t count, const char *what, FILE *out)
{
	for (size_t i = 0; i < count; i++) {
		char target[NB_TARGET_SIZE];

		if (matches[i].protocol == 0) {
			fprintf(out, "# %s: what is left of %s to 127.0.0.0/8\n", what,
				name_of(plan, matches[i].ifindex));
			continue;
		}
		fprintf(out, "# %s: port %u/%s to %s\n", what, matches[i].port,
			nb_protocol_name(matches[i].protocol),
			nb_target_format(&matches[i].target, target));
	}
}

void nb_plan_print(const struct nb_plan *plan, uint32_t mark, int64_t now, FILE *out)
{
	if (nb_plan_is_empty(plan)) {
		fputs("# nothing to change\n", out);
		return;
	}
	print_links(plan->close, plan->close_count, out);
	nb_ops_print(&plan->first, mark, now, out);
	print_ingress(plan->attach, plan->attach_count, true, out);
	print_links(plan->enable, plan->enable_count, out);
	print_flows(plan, plan->started, plan->started_count, "forget untranslated flows", out);
	print_flows(plan, plan->ended, plan->ended_count, "end the flows", out);
	print_links(plan->restore, plan->restore_count, out);
	print_ingress(plan->detach, plan->detach_count, false, out);
	nb_ops_print(&plan->second, mark, now, out);
}
