/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the packets of a failed probe ended, and what is to blame for that: a rule that was seen
 * to drop them; or, where nothing was seen, what may do it at that place, by elimination.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose.h"
#include "firewalls.h"
#include "nat-bridge/route.h"

static const char *word_try(const struct nb_case *one, char *buffer, size_t size)
{
	struct in_addr in = { .s_addr = htonl(one->address) };
	char address[INET_ADDRSTRLEN];

	snprintf(buffer, size, "a probe from %s to %s:%u/%s: %s", one->from,
		 inet_ntop(AF_INET, &in, address, sizeof(address)), one->mapping->port,
		 nb_protocol_name(one->mapping->protocol), nb_probe_word(one->result));
	return buffer;
}

/* Where it was seen last, as the end of a sentence. */
static const char *word_stage(const struct nb_trace_flow *flow)
{
	if (flow->drop.family)
		return flow->drop.answer ? "the host answered, and its trace ends at that rule"
					 : "its trace ends at that rule";
	switch (flow->stage) {
	case NB_STAGE_NONE:
		return "nothing of it was seen at the bridge";
	case NB_STAGE_PORT:
		return "it was seen at the bridge's port, and did not come up to the host";
	case NB_STAGE_UP:
		return "it came through the bridge, and not into prerouting";
	case NB_STAGE_ARRIVED:
		return "it vanished in prerouting, by no rule of nf_tables";
	case NB_STAGE_PREROUTED:
		return "it passed prerouting, and did not come to input";
	case NB_STAGE_FORWARDED:
		return "it was sent on to somebody else";
	case NB_STAGE_ENTERED:
		return "it vanished in input, by no rule of nf_tables";
	case NB_STAGE_DELIVERED:
		return "it passed every firewall, and the host did not answer";
	case NB_STAGE_ANSWERED:
		return "the host answered, and the answer vanished in output, by no rule of "
		       "nf_tables";
	case NB_STAGE_REROUTED:
		return "the host answered, and the answer vanished behind output, by no rule of "
		       "nf_tables";
	default:
		return "the answer went out to the bridge";
	}
}

static void add_evidence(struct nb_cause *cause, const struct nb_case *one)
{
	char text[256];

	if (one->traced)
		snprintf(cause->evidence, sizeof(cause->evidence), "%s; %s",
			 word_try(one, text, sizeof(text)), word_stage(&one->flow));
	else
		snprintf(cause->evidence, sizeof(cause->evidence), "%s",
			 word_try(one, text, sizeof(text)));
}

/* The first cause of @code about this case, or NULL. */
static struct nb_cause *find(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			     const char *code)
{
	for (size_t i = 0; i < diagnosis->causes.count; i++) {
		struct nb_cause *cause = &diagnosis->causes.items[i];

		if (strcmp(cause->code, code) == 0 &&
		    (!cause->bridge[0] || strcmp(cause->bridge, one->bridge) == 0) &&
		    (cause->port == 0 || (cause->port == one->mapping->port &&
					  cause->protocol == one->mapping->protocol)))
			return cause;
	}
	return NULL;
}

/* What was read is what the probe met. */
static bool prove(struct nb_diagnosis *diagnosis, const struct nb_case *one, const char *code)
{
	struct nb_cause *cause = find(diagnosis, one, code);
	struct nb_cause seen = { 0 };

	if (!cause)
		return false;
	if (cause->proven)
		return true;
	cause->proven = true;
	add_evidence(&seen, one);
	if (cause->evidence[0])
		nb_append_text(cause->evidence, sizeof(cause->evidence), "; ");
	nb_append_text(cause->evidence, sizeof(cause->evidence), seen.evidence);
	return true;
}

static bool prove_any(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		      const char *const *codes)
{
	for (size_t i = 0; codes[i]; i++)
		if (prove(diagnosis, one, codes[i]))
			return true;
	return false;
}

static struct nb_cause *eliminate(struct nb_diagnosis *diagnosis, const struct nb_case *one,
				  const char *code, const char *what, const char *mend)
{
	struct nb_cause *cause = nb_blame_case(diagnosis, one, code);

	if (!cause)
		return NULL;
	cause->claim = NB_CLAIMS_TO_STOP;
	snprintf(cause->what, sizeof(cause->what), "%s", what);
	snprintf(cause->mend, sizeof(cause->mend), "%s", mend);
	add_evidence(cause, one);
	return cause;
}

/* --- A rule that was seen --- */

static bool is_our_table(const struct nb_trace_rule *rule)
{
	return rule->family == NFPROTO_INET && strcmp(rule->table, NB_TABLE_NAME) == 0;
}

/* The way back to whom it came from does not lead to the bridge: the table and the kernel refuse it. */
static void blame_source(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	static const char *const codes[] = { "reverse-path", "routing", NULL };
	struct nb_cause *cause;

	if (prove_any(diagnosis, one, codes))
		return;
	if (nb_blame_way_back(diagnosis, one, one->flow.source)) {
		prove(diagnosis, one, "routing");
		return;
	}
	cause = eliminate(diagnosis, one, "reverse-path",
			  "the kernel takes the packets for martians, or its reverse path filter "
			  "refuses them",
			  "let the kernel log why: sysctl -w net.ipv4.conf.all.log_martians=1");
	if (cause)
		cause->proven = true;
}

/* Our own rules drop what is not translated, or no longer mapped, or comes a wrong way. */
static void blame_ourselves(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	static const char *const codes[] = { "hijacked", "untracked", "mark", NULL };
	const struct nb_trace_rule *drop = &one->flow.drop;
	char what[NB_CAUSE_TEXT];
	struct nb_cause *cause;

	if (strcmp(drop->chain, "spoofed") == 0) {
		blame_source(diagnosis, one);
		return;
	}
	if (prove_any(diagnosis, one, codes))
		return;
	snprintf(what, sizeof(what),
		 "chain %s of our own table drops it (rule %llu): this mapping is not in the "
		 "kernel as it should be",
		 drop->chain, (unsigned long long)drop->handle);
	cause = eliminate(diagnosis, one, "not-applied", what, "nat-bridge apply");
	if (!cause)
		return;
	cause->proven = cause->ours = true;
}

/* Did the ruleset's reader say the same? */
static bool is_said(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		    const struct nb_obstacle *obstacle)
{
	for (size_t i = 0; i < diagnosis->causes.count; i++) {
		struct nb_cause *cause = &diagnosis->causes.items[i];

		if (!strstr(cause->what, obstacle->where) ||
		    (cause->bridge[0] && strcmp(cause->bridge, one->bridge) != 0))
			continue;
		cause->proven = true;
		cause->claim = NB_CLAIMS_TO_STOP;
		nb_obstacle_what(obstacle, cause->what, sizeof(cause->what));
		add_evidence(cause, one);
		return true;
	}
	return false;
}

/* Was it dropped in input, where an opener of ours may stand? */
static bool enters(const struct nb_case *one)
{
	return one->flow.stage == NB_STAGE_ENTERED && !one->flow.drop.answer;
}

static bool lacks_opener(const struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->drift_count; i++)
		if (diagnosis->drift[i].drift == NB_DRIFT_OPENER)
			return true;
	return false;
}

static bool is_translated(const struct nb_case *one)
{
	return one->flow.address == one->mapping->target.address &&
	       one->flow.port == one->mapping->target.port;
}

/*
 * It came through prerouting as it was sent: no rule that is behind that was made for it, and what
 * one does to it follows from what kept it from being translated.
 */
static bool blame_what_came_before(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	static const char *const codes[] = { "hijacked", "untracked", "not-applied", NULL };
	const struct nb_trace_flow *flow = &one->flow;

	return !flow->drop.answer && flow->stage >= NB_STAGE_PREROUTED && !is_translated(one) &&
	       prove_any(diagnosis, one, codes);
}

static void blame_rule(struct nb_diagnosis *diagnosis, struct nb_case *one)
{
	const struct nb_trace_rule *drop = &one->flow.drop;
	const struct nb_flow_path path = nb_case_path(one);
	struct nb_obstacle obstacle = {
		.family = drop->family,
		.handle = drop->handle,
		.answers = drop->answer,
	};
	struct nb_error ignored;
	struct nb_cause *cause;
	char made_by[96] = "";

	if (is_our_table(drop)) {
		blame_ourselves(diagnosis, one);
		return;
	}
	if (blame_what_came_before(diagnosis, one))
		return;
	/* it would have passed there, had it kept its mark */
	if (enters(one) && find(diagnosis, one, "mark") &&
	    find(diagnosis, one, "mark")->claim == NB_CLAIMS_TO_STOP) {
		prove(diagnosis, one, "mark");
		if (lacks_opener(diagnosis))
			nb_append_text(find(diagnosis, one, "mark")->mend, NB_CAUSE_TEXT,
				       " && nat-bridge apply");
		return;
	}
	strcpy(obstacle.table, drop->table);
	strcpy(obstacle.chain, drop->chain);
	if (nb_firewall_explain(diagnosis->nl, diagnosis->mark, &path, &obstacle, &ignored) < 0)
		snprintf(obstacle.where, sizeof(obstacle.where), "rule %llu of chain %s %s",
			 (unsigned long long)drop->handle, drop->table, drop->chain);
	memcpy(one->rule, obstacle.rule, sizeof(one->rule));
	if (is_said(diagnosis, one, &obstacle))
		return;
	cause = nb_blame_obstacle(diagnosis, one, &obstacle);
	if (!cause)
		return;
	cause->proven = true;
	if (enters(one) && lacks_opener(diagnosis)) {
		strcpy(cause->mend, "nat-bridge apply");
		cause->ours = true;
	}
	if (drop->queued)
		nb_append_text(cause->what, sizeof(cause->what),
			       ": it hands them to a queue of a program, and none gives them back");
	if (obstacle.program[0])
		snprintf(made_by, sizeof(made_by), "; made by %s, most likely", obstacle.program);
	add_evidence(cause, one);
	nb_append_text(cause->evidence, sizeof(cause->evidence), made_by);
}

/* --- Nothing was seen: by elimination --- */

static bool blame_port(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	enum nb_port_end end = one->flow.stage == NB_STAGE_NONE ? NB_END_OF_PORT : NB_END_OF_BRIDGE;
	struct nb_port_trouble trouble;
	char what[NB_CAUSE_TEXT];

	if (!nb_find_port_trouble(diagnosis, one, end, &trouble))
		return false;
	snprintf(what, sizeof(what), "%s; nothing else was found where the packets vanish",
		 trouble.what);
	eliminate(diagnosis, one, trouble.code, what, trouble.mend);
	return true;
}

static void blame_legacy(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	if (prove(diagnosis, one, "firewall-legacy") || !nb_firewall_has_legacy())
		return;
	eliminate(diagnosis, one, "firewall-legacy",
		  "iptables-legacy drops the packets: there is nothing else at this place",
		  "iptables-legacy-save -c shows the rule whose counter grows");
}

/* The kernel refused to route it to itself: a martian, or the reverse path filter. */
static void blame_routing(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	if (one->link->route_localnet == 0 && prove(diagnosis, one, "route-localnet"))
		return;
	/* with bridge-nf-call-iptables prerouting comes before the bridge itself */
	if (!one->flow.on_bridge && blame_port(diagnosis, one))
		return;
	blame_source(diagnosis, one);
}

static void blame_translation(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	const struct nb_trace_rule *rule = &one->flow.translated;
	const struct nb_flow_path path = nb_case_path(one);
	struct in_addr in = { .s_addr = htonl(one->flow.address) };
	struct nb_obstacle obstacle = { .family = rule->family, .handle = rule->handle };
	char address[INET_ADDRSTRLEN], what[NB_CAUSE_TEXT];
	struct nb_error ignored;
	struct nb_cause *cause;

	if (!rule->family || is_our_table(rule)) {
		static const char *const codes[] = { "untracked", "not-applied", NULL };

		(void)prove_any(diagnosis, one, codes);
		return;
	}
	strcpy(obstacle.table, rule->table);
	strcpy(obstacle.chain, rule->chain);
	if (nb_firewall_explain(diagnosis->nl, diagnosis->mark, &path, &obstacle, &ignored) < 0)
		snprintf(obstacle.where, sizeof(obstacle.where), "chain %s %s", rule->table,
			 rule->chain);
	snprintf(what, sizeof(what), "packets from %s to %u/%s are sent to %s:%u by %s",
		 one->bridge, one->mapping->port, nb_protocol_name(one->mapping->protocol),
		 inet_ntop(AF_INET, &in, address, sizeof(address)), one->flow.port, obstacle.where);
	cause = eliminate(diagnosis, one, "hijacked", what, "");
	if (!cause)
		return;
	cause->proven = true;
	snprintf(cause->mend, sizeof(cause->mend), "%s", obstacle.cure);
	if (obstacle.program[0]) {
		nb_append_text(cause->evidence, sizeof(cause->evidence), "; made by ");
		nb_append_text(cause->evidence, sizeof(cause->evidence), obstacle.program);
	}
}

/* A refusal of the host's own is the answer to a packet that came to where nobody listens. */
static bool is_refusal(const struct nb_case *one)
{
	return one->result == NB_PROBE_REFUSED && one->flow.stage >= NB_STAGE_DELIVERED;
}

static void blame_socket(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	/* silence is none of a host on which nobody listens: it would refuse */
	static const char *const silent[] = { "service-hangs", "routing", "ipsec", NULL };
	static const char *const refused[] = { "listener-device", "listener-address", "no-listener",
					       NULL };
	const char *const *codes = is_refusal(one) ? refused : silent;

	if (!is_translated(one))
		blame_translation(diagnosis, one);
	else if (!prove_any(diagnosis, one, codes) &&
		 nb_blame_way_back(diagnosis, one, one->flow.source))
		prove(diagnosis, one, "routing");
}

static void blame_stage(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	switch (one->flow.stage) {
	case NB_STAGE_NONE:
	case NB_STAGE_PORT:
	case NB_STAGE_UP:
	case NB_STAGE_POSTROUTED:
		(void)blame_port(diagnosis, one);
		return;
	case NB_STAGE_ARRIVED:
		if (prove(diagnosis, one, "conntrack-full"))
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
		blame_translation(diagnosis, one);
		return;
	case NB_STAGE_DELIVERED:
		blame_socket(diagnosis, one);
		return;
	case NB_STAGE_ANSWERED:
	case NB_STAGE_REROUTED:
		blame_legacy(diagnosis, one);
		return;
	}
}

static bool has_problem(const struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	for (size_t i = 0; i < diagnosis->causes.count; i++) {
		const struct nb_cause *cause = &diagnosis->causes.items[i];

		if (cause->severity == NB_PROBLEM &&
		    (!cause->bridge[0] || strcmp(cause->bridge, one->bridge) == 0) &&
		    (cause->port == 0 || (cause->port == one->mapping->port &&
					  cause->protocol == one->mapping->protocol)))
			return true;
	}
	return false;
}

static void admit_ignorance(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	struct nb_cause *cause = nb_blame_case(diagnosis, one, "no-cause");
	char network[NB_NETWORK_SIZE];

	if (!cause)
		return;
	snprintf(cause->what, sizeof(cause->what),
		 "%s %u/%s does not work, and nothing was found "
		 "that would explain it",
		 nb_network_format(&one->mapping->network, network), one->mapping->port,
		 nb_protocol_name(one->mapping->protocol));
	add_evidence(cause, one);
	if (one->flow.stage == NB_STAGE_DELIVERED)
		snprintf(
			cause->mend, sizeof(cause->mend),
			"look at the service: its queue may be full (ss -ltn), its unit may refuse "
			"addresses (IPAddressDeny=), a security module may (journalctl -k)");
	else if (one->flow.stage == NB_STAGE_NONE || one->flow.stage == NB_STAGE_POSTROUTED)
		snprintf(cause->mend, sizeof(cause->mend),
			 "look at the container's own side: its routes, its own firewall; "
			 "net.ipv4.ip_forward does not matter");
	else
		snprintf(cause->mend, sizeof(cause->mend),
			 "nat-bridge doctor --report FILE, and file a bug");
}

/* A mapping or the table is missing: not only an opener, which one firewall may need or not. */
static bool is_not_applied(const struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	for (size_t i = 0; i < diagnosis->drift_count; i++) {
		const struct nb_finding *drift = &diagnosis->drift[i];

		if (drift->drift == NB_DRIFT_TABLE)
			return true;
		if (drift->drift == NB_DRIFT_MAPPING && strcmp(drift->bridge, one->bridge) == 0 &&
		    drift->port == one->mapping->port && drift->protocol == one->mapping->protocol)
			return true;
	}
	return false;
}

/* The kernel counts what a policy of IPsec blocks; it counted while the probe was sent. */
static void blame_ipsec(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	struct nb_cause *cause;

	if (!one->blocked || nb_is_blamed(diagnosis, one, "ipsec"))
		return;
	cause = nb_blame_bridge(diagnosis, one, "ipsec");
	if (!cause)
		return;
	cause->claim = NB_CLAIMS_TO_STOP;
	snprintf(cause->what, sizeof(cause->what),
		 "a policy of IPsec blocks packets of %s or their answers", one->bridge);
	snprintf(cause->evidence, sizeof(cause->evidence),
		 "/proc/net/xfrm_stat counted %llu of them while the probe was sent",
		 (unsigned long long)one->blocked);
	snprintf(cause->mend, sizeof(cause->mend),
		 "let the policy leave the network of %s out (ip xfrm policy shows them)",
		 one->bridge);
}

/* Somebody else gave it a destination. */
static bool is_taken(const struct nb_case *one)
{
	return one->flow.translated.family && !is_our_table(&one->flow.translated);
}

static void judge(struct nb_diagnosis *diagnosis, struct nb_case *one)
{
	if (one->result == NB_PROBE_FAILED) {
		nb_warn(diagnosis->warnings, "%s %u/%s was not tried: the probe could not be made",
			one->bridge, one->mapping->port, nb_protocol_name(one->mapping->protocol));
		return;
	}
	blame_ipsec(diagnosis, one);
	/* what is not in the kernel cannot work, whatever else there is */
	if (is_not_applied(diagnosis, one))
		prove(diagnosis, one, "not-applied");
	else if (one->traced && is_taken(one) && !is_translated(one))
		blame_translation(diagnosis, one);
	else if (one->traced && one->flow.drop.family)
		blame_rule(diagnosis, one);
	else if (one->traced && is_taken(one))
		blame_translation(diagnosis, one);
	else if (one->traced && is_refusal(one))
		blame_socket(diagnosis, one);
	else if (one->traced)
		blame_stage(diagnosis, one);
	if (!has_problem(diagnosis, one))
		admit_ignorance(diagnosis, one);
}

void nb_judge_cases(struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (diagnosis->cases[i].tried && !nb_case_works(&diagnosis->cases[i]))
			judge(diagnosis, &diagnosis->cases[i]);
}
