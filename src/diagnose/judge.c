/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the packets of a failed probe ended, and what is to blame for that: a rule that was seen
 * to drop them (judge_rule.c); or, where nothing was seen, what may do it at that place, by
 * elimination (judge_stage.c).
 */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

#include "judge.h"

static const char *word_try(const struct nb_case *one, char *buffer, size_t size)
{
	struct in_addr in = { .s_addr = htonl(one->address) };
	char address[INET_ADDRSTRLEN];

	snprintf(buffer, size, "a probe from %s to %s:%u/%s: %s", one->from,
		 inet_ntop(AF_INET, &in, address, sizeof(address)), one->mapping->port,
		 nb_protocol_name(one->mapping->protocol), nb_case_word(one));
	return buffer;
}

bool nb_judge_stayed_untranslated(const struct nb_case *one)
{
	return !one->flow.drop.answer && one->flow.stage >= NB_STAGE_TRANSLATED &&
	       !nb_judge_is_translated(one);
}

/* Where it was seen last, as the end of a sentence. */
static const char *word_stage(const struct nb_case *one)
{
	const struct nb_trace_flow *flow = &one->flow;

	if (flow->drop.family && nb_judge_stayed_untranslated(one))
		return "nobody had translated it to the target when a rule refused it";
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
	case NB_STAGE_TRANSLATED:
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

void nb_judge_add_evidence(struct nb_cause *cause, const struct nb_case *one)
{
	char text[256];

	if (one->traced)
		snprintf(cause->evidence, sizeof(cause->evidence), "%s; %s",
			 word_try(one, text, sizeof(text)), word_stage(one));
	else
		snprintf(cause->evidence, sizeof(cause->evidence), "%s",
			 word_try(one, text, sizeof(text)));
}

/* The first cause of @code about this case, or NULL. */
struct nb_cause *nb_judge_find(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			       const char *code)
{
	for (size_t i = 0; i < diagnosis->causes.count; i++) {
		struct nb_cause *cause = &diagnosis->causes.items[i];

		if (strcmp(cause->code, code) == 0 && nb_cause_concerns(cause, one))
			return cause;
	}
	return NULL;
}

/* What was read is what the probe met. */
bool nb_judge_prove(struct nb_diagnosis *diagnosis, const struct nb_case *one, const char *code)
{
	struct nb_cause *cause = nb_judge_find(diagnosis, one, code);
	struct nb_cause seen = { 0 };

	if (!cause)
		return false;
	if (cause->proven)
		return true;
	cause->proven = true;
	nb_judge_add_evidence(&seen, one);
	if (cause->evidence[0])
		nb_append_text(cause->evidence, sizeof(cause->evidence), "; ");
	nb_append_text(cause->evidence, sizeof(cause->evidence), seen.evidence);
	return true;
}

bool nb_judge_prove_any(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			const char *const *codes)
{
	for (size_t i = 0; codes[i]; i++)
		if (nb_judge_prove(diagnosis, one, codes[i]))
			return true;
	return false;
}

struct nb_cause *nb_judge_eliminate(struct nb_diagnosis *diagnosis, const struct nb_case *one,
				    const char *code, const char *what, const char *mend)
{
	struct nb_cause *cause = nb_blame_case(diagnosis, one, code);

	if (!cause)
		return NULL;
	cause->claim = NB_CLAIMS_TO_STOP;
	snprintf(cause->what, sizeof(cause->what), "%s", what);
	snprintf(cause->mend, sizeof(cause->mend), "%s", mend);
	nb_judge_add_evidence(cause, one);
	return cause;
}

bool nb_judge_is_said(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		      const struct nb_obstacle *obstacle)
{
	for (size_t i = 0; i < diagnosis->causes.count; i++) {
		struct nb_cause *cause = &diagnosis->causes.items[i];

		if (!strstr(cause->what, obstacle->where) || !nb_cause_concerns(cause, one))
			continue;
		cause->proven = true;
		cause->claim = NB_CLAIMS_TO_STOP;
		nb_obstacle_what(obstacle, cause->what, sizeof(cause->what));
		nb_judge_add_evidence(cause, one);
		return true;
	}
	return false;
}

bool nb_judge_is_ours(const struct nb_trace_rule *rule)
{
	return rule->family == NFPROTO_INET && strcmp(rule->table, NB_TABLE_NAME) == 0;
}

bool nb_judge_is_translated(const struct nb_case *one)
{
	return one->flow.address == one->mapping->target.address &&
	       one->flow.port == one->mapping->target.port;
}

static bool has_problem(const struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	for (size_t i = 0; i < diagnosis->causes.count; i++) {
		const struct nb_cause *cause = &diagnosis->causes.items[i];

		if (cause->severity == NB_PROBLEM && nb_cause_concerns(cause, one))
			return true;
	}
	return false;
}

static void admit_ignorance(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	struct nb_cause *cause = nb_blame_case(diagnosis, one, "no-cause");
	char network[NB_NETWORK_SIZE], label[128];

	if (!cause)
		return;
	snprintf(cause->what, sizeof(cause->what),
		 "%s %u/%s does not work, and nothing was found "
		 "that would explain it",
		 nb_network_format(&one->mapping->network, network), one->mapping->port,
		 nb_protocol_name(one->mapping->protocol));
	nb_judge_add_evidence(cause, one);
	if (one->traced)
		snprintf(cause->doer, sizeof(cause->doer), "%s", word_stage(one));
	if (diagnosis->no_forwarding)
		nb_append_text(cause->evidence, sizeof(cause->evidence),
			       "; net.ipv4.ip_forward is 0, which does not matter");
	if (nb_read_confinement(one->program_pid, label, sizeof(label))) {
		nb_append_text(cause->evidence, sizeof(cause->evidence),
			       "; the service is confined: ");
		nb_append_text(cause->evidence, sizeof(cause->evidence), label);
	}
	if (one->flow.stage == NB_STAGE_DELIVERED)
		snprintf(
			cause->mend, sizeof(cause->mend),
			"look at the service: its queue may be full (ss -ltn), its unit may refuse "
			"addresses (IPAddressDeny=), a security module may (journalctl -k)");
	else if (one->flow.stage == NB_STAGE_NONE || one->flow.stage == NB_STAGE_POSTROUTED)
		snprintf(cause->mend, sizeof(cause->mend),
			 "look at the container's own side: its routes, its own firewall");
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
	return one->flow.translated.family && !nb_judge_is_ours(&one->flow.translated);
}

/* A rule dropped it, and not what was sent elsewhere before. */
static bool is_dropped(const struct nb_case *one)
{
	return one->flow.drop.family && (!is_taken(one) || nb_judge_is_translated(one));
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
	if (one->taken == NB_TAKEN_WAITS) {
		nb_judge_prove(diagnosis, one, "service-hangs");
	} else if (is_not_applied(diagnosis, one)) {
		nb_judge_prove(diagnosis, one, "not-applied");
		/* which is what keeps it out of there */
		nb_judge_prove(diagnosis, one, "invalid-file");
	} else if (one->traced && is_dropped(one))
		nb_judge_rule(diagnosis, one);
	else if (one->traced && is_taken(one))
		nb_judge_translation(diagnosis, one);
	else if (one->traced && nb_judge_is_refusal(one))
		nb_judge_socket(diagnosis, one);
	else if (one->traced)
		nb_judge_stage(diagnosis, one);
}

/* More fail than are traced: the others most likely for what was found, or not found, of those. */
static bool is_one_of_many(const struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	for (size_t i = 0; !one->traced && i < diagnosis->case_count; i++) {
		const struct nb_case *other = &diagnosis->cases[i];

		if (other->traced && !nb_case_works(other) &&
		    strcmp(other->bridge, one->bridge) == 0)
			return true;
	}
	return false;
}

/* It is reached, and does not take what it has in its queue: it may be busy, or hang. */
static void warn_waits(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	struct nb_cause *cause;
	char target[NB_TARGET_SIZE];

	if (nb_judge_prove(diagnosis, one, "service-hangs"))
		return;
	cause = nb_blame_case(diagnosis, one, "service-hangs");
	if (!cause)
		return;
	cause->severity = NB_WARNING;
	snprintf(cause->what, sizeof(cause->what),
		 "the service on %s%s%s%s takes no connection from its queue within a second",
		 nb_target_format(&one->mapping->target, target), one->program[0] ? " (" : "",
		 one->program, one->program[0] ? ")" : "");
	nb_judge_add_evidence(cause, one);
	snprintf(cause->mend, sizeof(cause->mend),
		 "look what the service waits for: it is busy, or hangs");
}

void nb_judge_cases(struct nb_diagnosis *diagnosis)
{
	size_t left = 0;

	for (size_t i = 0; i < diagnosis->case_count; i++) {
		struct nb_case *one = &diagnosis->cases[i];

		if (one->tried && nb_case_works(one) && one->taken == NB_TAKEN_WAITS)
			warn_waits(diagnosis, one);
		if (!one->tried || nb_case_works(one))
			continue;
		judge(diagnosis, one);
		if (one->result == NB_PROBE_FAILED || has_problem(diagnosis, one))
			continue;
		if (is_one_of_many(diagnosis, one))
			left++;
		else
			admit_ignorance(diagnosis, one);
	}
	if (left)
		nb_warn(diagnosis->warnings,
			"%zu mappings more do not work, which were not traced: mend what was found "
			"of "
			"the others first",
			left);
}
