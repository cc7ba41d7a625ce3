/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the judgement share. */
#ifndef NAT_BRIDGE_DIAGNOSE_JUDGE_H
#define NAT_BRIDGE_DIAGNOSE_JUDGE_H

#include "diagnose.h"

/* Append what the probe met, and where it was seen last. */
void nb_judge_add_evidence(struct nb_cause *cause, const struct nb_case *one);
/* The first cause of @code about this case, or NULL. */
struct nb_cause *nb_judge_find(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			       const char *code);
/* What was read is what the probe met. False: nothing of @code was read. */
bool nb_judge_prove(struct nb_diagnosis *diagnosis, const struct nb_case *one, const char *code);
/* Did the ruleset's reader say the same of that place? Then that is it, in the words of @obstacle. */
bool nb_judge_is_said(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		      const struct nb_obstacle *obstacle);
/* The first of @codes, ended by NULL, of which that is true. */
bool nb_judge_prove_any(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			const char *const *codes);
/* A cause that nothing but the place speaks for. NULL: out of memory. */
struct nb_cause *nb_judge_eliminate(struct nb_diagnosis *diagnosis, const struct nb_case *one,
				    const char *code, const char *what, const char *mend);

/* Is it one of our own table? */
bool nb_judge_is_ours(const struct nb_trace_rule *rule);
/* Was it on its way to the target when it was seen last? */
bool nb_judge_is_translated(const struct nb_case *one);
/* Did it come past where we translate, and was still on its way to what it dialled? */
bool nb_judge_stayed_untranslated(const struct nb_case *one);
/* Did the host refuse for itself: came it to where nobody listens? */
bool nb_judge_is_refusal(const struct nb_case *one);

/* Blame the rule that dropped it, or what comes before that. */
void nb_judge_rule(struct nb_diagnosis *diagnosis, struct nb_case *one);
/* Blame what may have dropped it where it vanished. */
void nb_judge_stage(struct nb_diagnosis *diagnosis, const struct nb_case *one);
/* It came to the host's sockets: blame whoever listens there, or does not. */
void nb_judge_socket(struct nb_diagnosis *diagnosis, const struct nb_case *one);
/* Blame who gave it another destination than ours. */
void nb_judge_translation(struct nb_diagnosis *diagnosis, const struct nb_case *one);
/* The way back to whom it came from does not lead to the bridge: the kernel refuses it. */
void nb_judge_source(struct nb_diagnosis *diagnosis, const struct nb_case *one);

#endif
