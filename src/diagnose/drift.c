/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the kernel is not what the rule files say, as `check` finds it. */
#include <stdio.h>
#include <string.h>

#include "diagnose.h"

/* Is a bridge of a case that we look at, or does the difference concern all of them? */
static bool concerns(const struct nb_diagnosis *diagnosis, const struct nb_finding *finding)
{
	if (!finding->bridge[0])
		return true;
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (strcmp(diagnosis->cases[i].bridge, finding->bridge) == 0)
			return true;
	return false;
}

static const char *code_of(enum nb_drift drift)
{
	switch (drift) {
	case NB_DRIFT_ROUTE:
		return "route-localnet";
	case NB_DRIFT_GUARD:
		return "guard";
	default:
		return "not-applied";
	}
}

static bool has_lost_table(const struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->drift_count; i++)
		if (diagnosis->drift[i].drift == NB_DRIFT_TABLE)
			return true;
	return false;
}

void nb_check_drift(struct nb_diagnosis *diagnosis)
{
	bool lost = has_lost_table(diagnosis);

	for (size_t i = 0; i < diagnosis->drift_count; i++) {
		const struct nb_finding *finding = &diagnosis->drift[i];
		struct nb_cause *cause;

		/* without the table the rest is missing, too: it says nothing more */
		if (!concerns(diagnosis, finding) || (lost && finding->drift != NB_DRIFT_TABLE))
			continue;
		cause = nb_blame_host(diagnosis, code_of(finding->drift));
		if (!cause)
			return;
		if (finding->drift == NB_DRIFT_LEFT)
			cause->severity = NB_WARNING;
		/* of what is damaged nobody knows what it still does: the probe tells */
		if (finding->drift == NB_DRIFT_TABLE && diagnosis->state->table == NB_TABLE_DAMAGED)
			cause->claim = NB_CLAIMS_TO_STOP;
		cause->port = finding->port;
		cause->protocol = finding->protocol;
		memcpy(cause->network, finding->network, sizeof(cause->network));
		memcpy(cause->bridge, finding->bridge, sizeof(cause->bridge));
		snprintf(cause->what, sizeof(cause->what), "%s", finding->what);
		snprintf(cause->evidence, sizeof(cause->evidence),
			 "the kernel is not what the rule files say (nat-bridge check)");
		snprintf(cause->mend, sizeof(cause->mend), "%s", finding->mend);
		cause->ours = strcmp(finding->mend, "nat-bridge apply") == 0;
	}
}
