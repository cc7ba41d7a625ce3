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

/* More are only counted, as on the screen. */
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

static void log_rows(const struct nb_row_list *rows, const char *verb, const char *who)
{
	for (size_t i = 0; i < rows->count && rows->count <= MOST_LINES; i++) {
		const struct nb_mapping *mapping = rows->items[i].mapping;
		char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE], until[NB_TIME_SIZE];

		syslog(LOG_NOTICE, "%s %s %u/%s -> %s%s%s%s%s (%s)", verb,
		       nb_network_format(&mapping->network, network), mapping->port,
		       nb_protocol_name(mapping->protocol),
		       nb_target_format(&mapping->target, target), mapping->until ? " until " : "",
		       mapping->until ? nb_time_format(mapping->until, until) : "",
		       mapping->external ? ", external" : "", mapping->runtime ? ", runtime" : "",
		       who);
	}
	if (rows->count > MOST_LINES)
		syslog(LOG_NOTICE, "%s %zu mappings (%s)", verb, rows->count, who);
}

void nb_journal_change(const struct nb_run *run, const struct nb_report *report)
{
	char who[WHO_SIZE];

	if (!report->changed || run->options.dry_run)
		return;
	word_who(who, sizeof(who));
	openlog("nat-bridge", LOG_PID, LOG_DAEMON);
	log_rows(&report->mappings, report->verb, who);
	log_rows(&report->pending, "pending", who);
	log_rows(&report->removed, "removed", who);
	if (report->mappings.count + report->pending.count + report->removed.count == 0)
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
