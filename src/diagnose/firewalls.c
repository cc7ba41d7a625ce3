/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What other owners' rules do to the packets, by reading them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose.h"
#include "firewalls.h"

const struct nb_case *nb_case_of_path(const struct nb_diagnosis *diagnosis,
				      const struct nb_flow_path *path)
{
	for (size_t i = 0; i < diagnosis->case_count; i++) {
		const struct nb_case *one = &diagnosis->cases[i];

		if (strcmp(one->bridge, path->bridge) == 0 && one->mapping->port == path->port &&
		    one->mapping->protocol == path->protocol)
			return one;
	}
	return NULL;
}

struct nb_flow_path nb_case_path(const struct nb_case *one)
{
	struct nb_flow_path path = {
		.index = one->link->index,
		.protocol = one->mapping->protocol,
		.port = one->mapping->port,
		.target = one->mapping->target,
	};

	memcpy(path.bridge, one->bridge, sizeof(path.bridge));
	return path;
}

static const char *code_of(const struct nb_obstacle *obstacle)
{
	switch (obstacle->kind) {
	case NB_OBSTACLE_UNTRACKS:
	case NB_OBSTACLE_ZONES:
		return "untracked";
	case NB_OBSTACLE_DIVERTS:
		return "hijacked";
	case NB_OBSTACLE_REMARKS:
	case NB_OBSTACLE_CLASHES:
		return "mark";
	case NB_OBSTACLE_REVERSE_PATH:
		return "reverse-path";
	default:
		return obstacle->legacy	 ? "firewall-legacy"
		       : obstacle->owned ? "firewall-owned"
					 : "firewall";
	}
}

struct nb_cause *nb_blame_obstacle(struct nb_diagnosis *diagnosis, const struct nb_case *one,
				   const struct nb_obstacle *obstacle)
{
	const char *code = code_of(obstacle);
	struct nb_cause *cause = !one ? nb_blame_host(diagnosis, code)
				 : obstacle->kind == NB_OBSTACLE_REVERSE_PATH
					 ? nb_blame_bridge(diagnosis, one, code)
					 : nb_blame_case(diagnosis, one, code);

	if (!cause)
		return NULL;
	/* at a port of the bridge */
	if (!one) {
		cause->port = obstacle->path.port;
		cause->protocol = obstacle->path.protocol;
	}
	if (cause->port)
		memcpy(cause->doer, obstacle->where, sizeof(cause->doer));
	cause->claim = obstacle->kind == NB_OBSTACLE_MAY_DROP ? NB_CLAIMS_MAYBE : NB_CLAIMS_TO_STOP;
	if (obstacle->kind == NB_OBSTACLE_CLASHES) {
		cause->claim = NB_CLAIMS_NOTHING;
		cause->severity = NB_WARNING;
	}
	nb_obstacle_what(obstacle, cause->what, sizeof(cause->what));
	if (obstacle->kind == NB_OBSTACLE_CLASHES && !obstacle->family)
		snprintf(cause->evidence, sizeof(cause->evidence),
			 "read from the rules of policy routing");
	else if (obstacle->program[0])
		snprintf(cause->evidence, sizeof(cause->evidence),
			 "read from the ruleset; made by %s, most likely", obstacle->program);
	else
		snprintf(cause->evidence, sizeof(cause->evidence), "read from the ruleset");
	snprintf(cause->mend, sizeof(cause->mend), "%s", obstacle->cure);
	return cause;
}

/* What is not tracked one way, or in one zone, is mended only if it is tracked both ways. */
static bool add_to_mend(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			const struct nb_obstacle *obstacle)
{
	char line[NB_OBSTACLE_CURE + 8];

	if (!one || strcmp(code_of(obstacle), "untracked") != 0)
		return false;
	for (size_t i = 0; i < diagnosis->causes.count; i++) {
		struct nb_cause *cause = &diagnosis->causes.items[i];

		if (strcmp(cause->code, "untracked") != 0 ||
		    strcmp(cause->bridge, one->bridge) != 0 || cause->port != one->mapping->port ||
		    cause->protocol != one->mapping->protocol)
			continue;
		snprintf(line, sizeof(line), " && %s", obstacle->cure);
		nb_append_text(cause->mend, sizeof(cause->mend), line);
		return true;
	}
	return false;
}

void nb_check_firewalls(struct nb_diagnosis *diagnosis)
{
	struct nb_flow_path *paths = calloc(diagnosis->case_count + 1, sizeof(*paths));
	struct nb_obstacle_list found = { 0 };
	struct nb_error ignored;
	size_t count = 0;

	if (!paths) {
		diagnosis->no_memory = true;
		return;
	}
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (nb_case_counts(&diagnosis->cases[i]))
			paths[count++] = nb_case_path(&diagnosis->cases[i]);
	if (nb_firewall_find(diagnosis->nl, diagnosis->mark, paths, count, &found, &ignored) < 0)
		diagnosis->no_memory = true;
	for (size_t i = 0; i < found.count; i++) {
		const struct nb_case *one = nb_case_of_path(diagnosis, &found.items[i].path);

		if (!add_to_mend(diagnosis, one, &found.items[i]))
			nb_blame_obstacle(diagnosis, one, &found.items[i]);
	}
	nb_obstacle_list_clear(&found);
	free(paths);
}
