/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every change goes to the system's log, too: what, and who did it. It is a record, and no
 * condition: where nobody listens on /dev/log nothing is missing but that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "../model/text.h"
#include "cli.h"

/* Of more the first ones, and how many there are. */
#define MOST_LINES 20

#define WHO_SIZE 160

/* The user who logged in, whom neither sudo nor su changes; "" if the kernel does not know. */
static void read_login(char *ret, size_t size)
{
	char text[16] = "";
	int fd = open("/proc/self/loginuid", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	ret[0] = '\0';
	if (length > 0 && strcmp(text, "4294967295") != 0)
		snprintf(ret, size, " login uid %.*s", (int)strspn(text, "0123456789"), text);
}

/* "uid 0, sudo by alice (1000), login uid 1000" */
static void word_who(char *who, size_t size)
{
	const char *user = getenv("SUDO_USER"), *uid = getenv("SUDO_UID");
	char login[40], name[64] = "", by[120] = "";

	read_login(login, sizeof(login));
	if (user && *user) {
		nb_copy_line(name, sizeof(name), user);
		snprintf(by, sizeof(by), ", sudo by %s (%.*s)", name,
			 uid ? (int)strspn(uid, "0123456789") : 0, uid ? uid : "");
	}
	snprintf(who, size, "uid %u%s%s%s", (unsigned int)getuid(), by, login[0] ? "," : "", login);
}

static void log_mapping(const struct nb_mapping *mapping, const char *verb, const char *who)
{
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE], until[NB_TIME_SIZE];

	syslog(LOG_NOTICE, "%s %s %u/%s -> %s%s%s%s%s (%s)", verb,
	       nb_network_format(&mapping->network, network), mapping->port,
	       nb_protocol_name(mapping->protocol), nb_target_format(&mapping->target, target),
	       mapping->until ? " until " : "",
	       mapping->until ? nb_time_format(mapping->until, until) : "",
	       mapping->external ? ", external" : "", mapping->runtime ? ", runtime" : "", who);
}

static void log_more(size_t count, const char *verb, const char *who)
{
	if (count > MOST_LINES)
		syslog(LOG_NOTICE, "%s %zu more mappings, %zu in all (%s)", verb,
		       count - MOST_LINES, count, who);
}

/* With @among only those that are. Returns how many there are. */
static size_t log_rows(const struct nb_row_list *rows, const struct nb_difference *among,
		       const char *verb, const char *who)
{
	size_t count = 0;

	for (size_t i = 0; i < rows->count; i++) {
		if (among && !nb_difference_has(among, &rows->items[i]))
			continue;
		if (count++ < MOST_LINES)
			log_mapping(rows->items[i].mapping, verb, who);
	}
	log_more(count, verb, who);
	return count;
}

static size_t log_removed(const struct nb_mapping_list *mappings, const char *who)
{
	for (size_t i = 0; i < mappings->count && i < MOST_LINES; i++)
		log_mapping(&mappings->items[i], "removed", who);
	log_more(mappings->count, "removed", who);
	return mappings->count;
}

/* What the rule files ask for is there already, but for this. */
static size_t log_application(const struct nb_run *run, const struct nb_report *report,
			      const char *who)
{
	const struct nb_difference *difference = &run->difference;
	size_t count = log_rows(&report->mappings, difference, report->verb, who);
	char more[32] = "";

	if (difference->restored_more)
		snprintf(more, sizeof(more), " and %zu more", difference->restored_more);
	if (difference->restored[0])
		syslog(LOG_NOTICE, "restored %s%s (%s)", difference->restored, more, who);
	return count + (difference->restored[0] != '\0');
}

void nb_journal_change(const struct nb_run *run, const struct nb_report *report)
{
	const char *name = run->command ? run->command->name : "";
	char who[WHO_SIZE];
	size_t count;

	if (!report->changed || run->options.dry_run)
		return;
	word_who(who, sizeof(who));
	openlog("nat-bridge", LOG_PID, LOG_DAEMON);
	if (strcmp(name, "apply") == 0) {
		count = log_application(run, report, who);
	} else {
		count = log_rows(&report->mappings, NULL, report->verb, who);
		count += log_rows(&report->pending, NULL, "pending", who);
	}
	count += log_rows(&report->removed, NULL, "removed", who);
	/* what --replace took the place of; what a flush took out is told before that */
	if (strcmp(name, "add") == 0 || strcmp(name, "flush") == 0)
		count += log_removed(&run->difference.removed, who);
	if (count == 0 || strcmp(name, "flush") == 0)
		syslog(LOG_NOTICE, "%s (%s)", report->verb, who);
	closelog();
}

void nb_journal_failure(const struct nb_run *run)
{
	char who[WHO_SIZE];

	if (!run->changed || run->options.dry_run)
		return;
	word_who(who, sizeof(who));
	openlog("nat-bridge", LOG_PID, LOG_DAEMON);
	syslog(LOG_ERR, "%s: half done: %s (%s)", run->command ? run->command->name : "nat-bridge",
	       run->error.message, who);
	closelog();
}
