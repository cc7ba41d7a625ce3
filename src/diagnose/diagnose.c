/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checks in their order, and what a probe makes of what they found. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "diagnose.h"

static void (*const checks[])(struct nb_diagnosis *diagnosis) = {
	nb_find_owners,	  nb_check_drift,      nb_check_host,	  nb_check_bridges,
	nb_check_ways,	  nb_check_services,   nb_check_security, nb_check_firewalls,
	nb_check_routing, nb_check_containers, nb_try_cases,	  nb_judge_answers,
	nb_judge_cases,
};

const char *nb_word_address(uint32_t address, char *buffer)
{
	struct in_addr in = { .s_addr = htonl(address) };

	return inet_ntop(AF_INET, &in, buffer, INET_ADDRSTRLEN);
}

bool nb_case_counts(const struct nb_case *one)
{
	return one->in_force && one->link;
}

bool nb_case_is_first(const struct nb_diagnosis *diagnosis, size_t i)
{
	const struct nb_case *one = &diagnosis->cases[i];

	for (size_t j = 0; j < i; j++)
		if (nb_case_counts(&diagnosis->cases[j]) &&
		    strcmp(diagnosis->cases[j].bridge, one->bridge) == 0)
			return false;
	return nb_case_counts(one);
}

bool nb_read_word(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return false;
	length = read(fd, buffer, size - 1);
	close(fd);
	if (length <= 0)
		return false;
	buffer[length] = '\0';
	buffer[strcspn(buffer, "\n")] = '\0';
	return true;
}

bool nb_read_number(const char *path, uint64_t *ret)
{
	char text[32];

	if (!nb_read_word(path, text, sizeof(text)))
		return false;
	*ret = strtoull(text, NULL, 10);
	return true;
}

bool nb_case_works(const struct nb_case *one)
{
	if (!one->tried)
		return false;
	if (one->result == NB_PROBE_SENT)
		return one->traced && one->flow.stage >= NB_STAGE_DELIVERED &&
		       !one->flow.drop.family;
	if (one->result == NB_PROBE_CONNECTED && one->taken == NB_TAKEN_WAITS)
		return !one->takes_nothing;
	/* what the container sends from then on is dropped */
	if (one->result == NB_PROBE_CONNECTED && one->taken == NB_TAKEN_HALF)
		return !one->traced || !one->flow.drop.family;
	return one->result == NB_PROBE_CONNECTED || one->result == NB_PROBE_ANSWERED;
}

const char *nb_case_word(const struct nb_case *one)
{
	if (one->result == NB_PROBE_CONNECTED && one->taken == NB_TAKEN_WAITS)
		return "connected, and not taken by the service";
	if (one->result == NB_PROBE_CONNECTED && !nb_case_works(one))
		return "connected, but the host never learned of it";
	return nb_probe_word(one->result);
}

const char *nb_probe_word(enum nb_probe_result result)
{
	switch (result) {
	case NB_PROBE_CONNECTED:
		return "connected";
	case NB_PROBE_REFUSED:
		return "refused";
	case NB_PROBE_TIMED_OUT:
		return "timed out";
	case NB_PROBE_UNREACHABLE:
		return "unreachable";
	case NB_PROBE_SENT:
		return "sent";
	case NB_PROBE_ANSWERED:
		return "answered";
	default:
		return "failed";
	}
}

/* Do all the cases work that @cause is about? False, too, if it is about none that was tried. */
static bool is_refuted(const struct nb_diagnosis *diagnosis, const struct nb_cause *cause)
{
	bool any = false;

	for (size_t i = 0; i < diagnosis->case_count; i++) {
		const struct nb_case *one = &diagnosis->cases[i];

		if (!nb_case_counts(one) || !nb_cause_concerns(cause, one))
			continue;
		if (!nb_case_works(one))
			return false;
		any = true;
	}
	return any;
}

static void doubt(struct nb_cause *cause)
{
	cause->severity = NB_WARNING;
	cause->why = "the probe came through all the same: it may concern other packets than the "
		     "probe's";
}

/* Packets got through: what was said to stop them does not, today. */
static void weigh(struct nb_diagnosis *diagnosis)
{
	struct nb_cause_list *causes = &diagnosis->causes;
	size_t kept = 0;

	for (size_t i = 0; i < causes->count; i++) {
		struct nb_cause *cause = &causes->items[i];
		bool refuted = cause->claim != NB_CLAIMS_NOTHING && !cause->proven &&
			       is_refuted(diagnosis, cause);

		if (!refuted)
			continue;
		if (cause->claim == NB_CLAIMS_MAYBE)
			cause->code = NULL;
		/* a damaged table that works: what is damaged is what keeps others out */
		else if (strcmp(cause->code, "not-applied") == 0)
			nb_cause_recode(cause, "guard");
		else
			doubt(cause);
	}
	for (size_t i = 0; i < causes->count; i++)
		if (causes->items[i].code)
			causes->items[kept++] = causes->items[i];
	causes->count = kept;
}

int nb_diagnose(struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](diagnosis);
	if (diagnosis->no_memory)
		return -ENOMEM;
	weigh(diagnosis);
	nb_cause_list_sort(&diagnosis->causes);
	return nb_cause_list_gather(&diagnosis->causes) ? 0 : -ENOMEM;
}
