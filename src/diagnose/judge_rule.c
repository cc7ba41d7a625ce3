/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A rule or policy that was seen to drop the packets of a probe. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

#include "firewalls.h"
#include "judge.h"

/* Our own rules drop what is not translated, or no longer mapped, or comes a wrong way. */
static void blame_ourselves(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	static const char *const codes[] = { "hijacked", "untracked", "mark", NULL };
	const struct nb_trace_rule *drop = &one->flow.drop;
	char what[NB_CAUSE_TEXT];
	struct nb_cause *cause;

	/* `spoofed` goes on there, where nothing is dropped but what comes from a wrong place */
	if (strcmp(drop->chain, "spoofed") == 0 || strcmp(drop->chain, "translated") == 0) {
		nb_judge_source(diagnosis, one);
		return;
	}
	if (nb_judge_prove_any(diagnosis, one, codes))
		return;
	/* a table that is as it should be does not become so by apply */
	if (diagnosis->drift_count == 0) {
		snprintf(what, sizeof(what),
			 "chain %s of our own table drops it (rule %llu), and nothing was found "
			 "that would explain it: the table is what the rule files say",
			 drop->chain, (unsigned long long)drop->handle);
		nb_judge_eliminate(diagnosis, one, "no-cause", what,
				   "nat-bridge doctor --report FILE, and file a bug");
		return;
	}
	snprintf(what, sizeof(what),
		 "chain %s of our own table drops it (rule %llu): this mapping is not in the "
		 "kernel as it should be",
		 drop->chain, (unsigned long long)drop->handle);
	cause = nb_judge_eliminate(diagnosis, one, "not-applied", what, "nat-bridge apply");
	if (!cause)
		return;
	cause->proven = cause->ours = true;
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

/*
 * It came past our translation as it was sent: no rule that is behind that was made for it, and what
 * one does to it follows from what kept it from being translated.
 */
static bool blame_what_came_before(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	static const char *const codes[] = { "hijacked", "untracked", "not-applied", NULL };

	return nb_judge_stayed_untranslated(one) && nb_judge_prove_any(diagnosis, one, codes);
}

void nb_judge_rule(struct nb_diagnosis *diagnosis, struct nb_case *one)
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

	if (nb_judge_is_ours(drop)) {
		blame_ourselves(diagnosis, one);
		return;
	}
	if (blame_what_came_before(diagnosis, one))
		return;
	/* it would have passed there, had it kept its mark */
	if (enters(one) && nb_judge_find(diagnosis, one, "mark") &&
	    nb_judge_find(diagnosis, one, "mark")->claim == NB_CLAIMS_TO_STOP) {
		nb_judge_prove(diagnosis, one, "mark");
		if (lacks_opener(diagnosis))
			nb_append_text(nb_judge_find(diagnosis, one, "mark")->mend, NB_CAUSE_TEXT,
				       " && nat-bridge apply");
		return;
	}
	strcpy(obstacle.table, drop->table);
	strcpy(obstacle.chain, drop->chain);
	if (nb_firewall_explain(diagnosis->nl, diagnosis->mark, &path, &obstacle, &ignored) < 0)
		snprintf(obstacle.where, sizeof(obstacle.where), "rule %llu of chain %s %s",
			 (unsigned long long)drop->handle, drop->table, drop->chain);
	memcpy(one->rule, obstacle.rule, sizeof(one->rule));
	if (nb_judge_is_said(diagnosis, one, &obstacle))
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
	nb_judge_add_evidence(cause, one);
	nb_append_text(cause->evidence, sizeof(cause->evidence), made_by);
}
