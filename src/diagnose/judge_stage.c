/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets that no rule was seen to drop: what may have done it at that place, by elimination. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

#include "firewalls.h"
#include "judge.h"
#include "nat-bridge/route.h"

/* The way back to whom it came from does not lead to the bridge: the table and the kernel refuse it. */
void nb_judge_source(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	static const char *const codes[] = { "reverse-path", "routing", NULL };
	struct nb_cause *cause;

	if (nb_judge_prove_any(diagnosis, one, codes))
		return;
	if (nb_blame_way_back(diagnosis, one, one->flow.source)) {
		nb_judge_prove(diagnosis, one, "routing");
		return;
	}
	cause = nb_judge_eliminate(
		diagnosis, one, "reverse-path",
		"the kernel takes the packets for martians, or its reverse path filter "
		"refuses them",
		"let the kernel log why: sysctl -w net.ipv4.conf.all.log_martians=1");
	if (cause)
		cause->proven = true;
}

static bool blame_port(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	enum nb_port_end end = one->flow.stage == NB_STAGE_NONE ? NB_END_OF_PORT : NB_END_OF_BRIDGE;
	struct nb_port_trouble trouble;
	char what[NB_CAUSE_TEXT];

	bool gone = one->flow.stage == NB_STAGE_POSTROUTED;

	/* of what is not seen at the bridge, or was seen to leave it, the container's side remains */
	if (!nb_find_port_trouble(diagnosis, one, end, &trouble) &&
	    (end != NB_END_OF_PORT || !nb_find_neighbour_trouble(diagnosis, one, &trouble)) &&
	    ((end != NB_END_OF_PORT && !gone) || !nb_find_inside_trouble(one, gone, &trouble)))
		return false;
	snprintf(what, sizeof(what), "%s; nothing else was found where the packets vanish",
		 trouble.what);
	nb_judge_eliminate(diagnosis, one, trouble.code, what, trouble.mend);
	return true;
}

static void blame_legacy(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	if (nb_judge_prove(diagnosis, one, "firewall-legacy") || !nb_firewall_has_legacy())
		return;
	nb_judge_eliminate(diagnosis, one, "firewall-legacy",
			   "iptables-legacy drops the packets: there is nothing else at this place",
			   "iptables-legacy-save -c shows the rule whose counter grows");
}

/* Our filter at the bridge's ingress drops what somebody took our mark from. */
static bool blame_mark(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	const struct nb_cause *cause = nb_judge_find(diagnosis, one, "mark");

	return cause && cause->claim == NB_CLAIMS_TO_STOP && nb_judge_prove(diagnosis, one, "mark");
}

/* The kernel refused to route it to itself: a martian, or the reverse path filter. */
static void blame_routing(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	if (one->link->route_localnet == 0 && nb_judge_prove(diagnosis, one, "route-localnet"))
		return;
	if (nb_judge_prove(diagnosis, one, "loopback"))
		return;
	/* with bridge-nf-call-iptables prerouting comes before the bridge itself */
	if (!one->flow.on_bridge && (blame_mark(diagnosis, one) || blame_port(diagnosis, one)))
		return;
	nb_judge_source(diagnosis, one);
}

void nb_judge_translation(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	const struct nb_trace_rule *rule = &one->flow.translated;
	const struct nb_flow_path path = nb_case_path(one);
	struct nb_obstacle obstacle = { .family = rule->family, .handle = rule->handle };
	char what[NB_CAUSE_TEXT];
	struct nb_error ignored;
	struct nb_cause *cause;

	if (!rule->family || nb_judge_is_ours(rule)) {
		static const char *const codes[] = { "hijacked", "untracked", "not-applied", NULL };

		(void)nb_judge_prove_any(diagnosis, one, codes);
		return;
	}
	strcpy(obstacle.table, rule->table);
	strcpy(obstacle.chain, rule->chain);
	if (nb_firewall_explain(diagnosis->nl, diagnosis->mark, &path, &obstacle, &ignored) < 0)
		snprintf(obstacle.where, sizeof(obstacle.where), "chain %s %s", rule->table,
			 rule->chain);
	obstacle.kind = NB_OBSTACLE_DIVERTS;
	obstacle.path = path;
	obstacle.diverted_to = (struct nb_target){ one->flow.address, one->flow.port };
	if (nb_judge_is_said(diagnosis, one, &obstacle))
		return;
	nb_obstacle_what(&obstacle, what, sizeof(what));
	cause = nb_judge_eliminate(diagnosis, one, "hijacked", what, "");
	if (!cause)
		return;
	cause->proven = true;
	memcpy(cause->doer, obstacle.where, sizeof(cause->doer));
	snprintf(cause->mend, sizeof(cause->mend), "%s", obstacle.cure);
	if (obstacle.program[0]) {
		nb_append_text(cause->evidence, sizeof(cause->evidence), "; made by ");
		nb_append_text(cause->evidence, sizeof(cause->evidence), obstacle.program);
	}
}

/* A refusal of the host's own is the answer to a packet that came to where nobody listens. */
bool nb_judge_is_refusal(const struct nb_case *one)
{
	return one->result == NB_PROBE_REFUSED && one->flow.stage >= NB_STAGE_DELIVERED;
}

void nb_judge_socket(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	/* silence is none of a host on which nobody listens: it would refuse */
	static const char *const silent[] = { "service-hangs", "routing", "ipsec", NULL };
	static const char *const refused[] = { "service-denied", "listener-device",
					       "listener-address", "no-listener", NULL };
	const char *const *codes = nb_judge_is_refusal(one) ? refused : silent;

	if (!nb_judge_is_translated(one))
		nb_judge_translation(diagnosis, one);
	else if (!nb_judge_prove_any(diagnosis, one, codes) &&
		 nb_blame_way_back(diagnosis, one, one->flow.source))
		nb_judge_prove(diagnosis, one, "routing");
}

void nb_judge_stage(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	switch (one->flow.stage) {
	case NB_STAGE_NONE:
	case NB_STAGE_PORT:
	case NB_STAGE_UP:
	case NB_STAGE_POSTROUTED:
		(void)blame_port(diagnosis, one);
		return;
	case NB_STAGE_ARRIVED:
	case NB_STAGE_TRANSLATED:
		if (nb_judge_prove(diagnosis, one, "conntrack-full"))
			return;
		blame_legacy(diagnosis, one);
		return;
	case NB_STAGE_ENTERED:
		blame_legacy(diagnosis, one);
		return;
	case NB_STAGE_PREROUTED:
		blame_routing(diagnosis, one);
		return;
	case NB_STAGE_FORWARDED:
		if (!nb_judge_prove(diagnosis, one, "loopback"))
			nb_judge_translation(diagnosis, one);
		return;
	case NB_STAGE_DELIVERED:
		nb_judge_socket(diagnosis, one);
		return;
	case NB_STAGE_ANSWERED:
	case NB_STAGE_REROUTED:
		/* with a mark that it got in output it is routed anew */
		if (nb_judge_prove(diagnosis, one, "routing"))
			return;
		if (one->flow.answer_mark && nb_blame_way_back(diagnosis, one, one->flow.source)) {
			nb_judge_prove(diagnosis, one, "routing");
			return;
		}
		blame_legacy(diagnosis, one);
		return;
	}
}
