/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the lines of a log go. */
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define JOURNAL "/run/systemd/journal/socket"

static int open_file(const char *path)
{
	/* who connects where is not for everybody's eyes; no pipe that nobody reads holds us up */
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		      0600);

	if (fd >= 0)
		(void)fcntl(fd, F_SETFL, O_APPEND);
	return fd < 0 ? -errno : fd;
}

static int open_journal(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = JOURNAL };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), number;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	number = errno;
	close(fd);
	return -number;
}

bool nb_sink_is_place(const char *where)
{
	return strcmp(where, "-") == 0 || strcmp(where, "journal") == 0 || strchr(where, '/');
}

int nb_sink_open(struct nb_sink *sink, const char *where, struct nb_error *err)
{
	memset(sink, 0, sizeof(*sink));
	sink->interrupt = -1;
	sink->path = where;
	if (strcmp(where, "-") == 0) {
		sink->kind = NB_SINK_OUTPUT;
		sink->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		if (sink->fd < 0)
			sink->fd = -errno;
	} else if (strcmp(where, "journal") == 0) {
		sink->kind = NB_SINK_JOURNAL;
		sink->path = JOURNAL;
		sink->fd = open_journal();
	} else {
		sink->kind = NB_SINK_FILE;
		sink->fd = open_file(where);
	}
	if (sink->fd < 0)
		return nb_error_set(err, NB_STATUS_FAILED, -sink->fd, "log",
				    "cannot log to %s: %s%s", sink->path, strerror(-sink->fd),
				    sink->fd == -EROFS
					    ? " (the unit may write below /var/log/nat-bridge)"
					    : "");
	return 0;
}

int nb_sink_reopen(struct nb_sink *sink)
{
	int fd;

	if (sink->kind != NB_SINK_FILE)
		return 0;
	nb_sink_flush(sink);
	fd = open_file(sink->path);
	if (fd < 0)
		return fd;
	close(sink->fd);
	sink->fd = fd;
	return 0;
}

/* A disk is full: no half of a line stays behind. (A pipe takes all or nothing.) */
static void take_back(const struct nb_sink *sink, ptrdiff_t written)
{
	off_t end = written ? lseek(sink->fd, 0, SEEK_CUR) : -1;

	if (end >= written && ftruncate(sink->fd, end - written) < 0)
		return; /* then it stays */
}

/* Until it takes a whole buffer. False: it is not waited for any more. */
static bool wait_for_reader(const struct nb_sink *sink)
{
	struct pollfd fds[] = {
		{ .fd = sink->fd, .events = POLLOUT },
		{ .fd = sink->interrupt, .events = POLLIN },
	};

	while (poll(fds, 2, sink->hurry ? 0 : -1) < 0 && errno == EINTR)
		;
	return fds[0].revents;
}

void nb_sink_flush(struct nb_sink *sink)
{
	const char *at = sink->buffer;

	while (sink->length) {
		ssize_t n = wait_for_reader(sink) ? write(sink->fd, at, sink->length) : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			take_back(sink, at - sink->buffer);
			sink->lost += sink->lines;
			break;
		}
		at += n;
		sink->length -= (unsigned int)n;
	}
	sink->length = sink->lines = 0;
}

static void write_line(struct nb_sink *sink, const char *line)
{
	size_t length = strlen(line);

	if (length + 1 > sizeof(sink->buffer)) {
		sink->lost++;
		return;
	}
	if (sink->length + length + 1 > sizeof(sink->buffer))
		nb_sink_flush(sink);
	memcpy(sink->buffer + sink->length, line, length);
	sink->buffer[sink->length + length] = '\n';
	sink->length += (unsigned int)length + 1;
	sink->lines++;
}

/* Append "NAME=value\n"; names are ours, values are on one line. */
static size_t put_field(char *buffer, size_t size, size_t used, const char *name, const char *value)
{
	int length;

	if (used >= size || strchr(value, '\n'))
		return used;
	length = snprintf(buffer + used, size - used, "%s=%s\n", name, value);
	return length > 0 && (size_t)length < size - used ? used + (size_t)length : used;
}

static void name_field(char *name, size_t size, const char *key)
{
	snprintf(name, size, "NAT_BRIDGE_%s", key);
	for (; *name; name++) {
		if (*name >= 'a' && *name <= 'z')
			*name = (char)(*name - 'a' + 'A');
	}
}

static void write_journal(struct nb_sink *sink, const cJSON *object, const char *text)
{
	char buffer[NB_SINK_BUFFER];
	const cJSON *member;
	size_t used = 0;

	used = put_field(buffer, sizeof(buffer), used, "MESSAGE", text);
	used = put_field(buffer, sizeof(buffer), used, "PRIORITY", "6");
	used = put_field(buffer, sizeof(buffer), used, "SYSLOG_IDENTIFIER", "nat-bridge");
	cJSON_ArrayForEach(member, object)
	{
		char name[64], number[40];
		const char *value = cJSON_GetStringValue(member);

		if (cJSON_IsNull(member))
			continue;
		if (!value && cJSON_IsNumber(member)) {
			snprintf(number, sizeof(number), "%.15g", member->valuedouble);
			value = number;
		} else if (!value) {
			value = cJSON_IsTrue(member) ? "true" : "false";
		}
		name_field(name, sizeof(name), member->string);
		used = put_field(buffer, sizeof(buffer), used, name, value);
	}
	if (!wait_for_reader(sink)) {
		sink->lost++;
		return;
	}
	if (send(sink->fd, buffer, used, MSG_NOSIGNAL) == (ssize_t)used)
		return;
	/* the journal was restarted */
	if (errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET) {
		int fd = open_journal();

		if (fd >= 0) {
			close(sink->fd);
			sink->fd = fd;
			if (send(fd, buffer, used, MSG_NOSIGNAL) == (ssize_t)used)
				return;
		}
	}
	sink->lost++;
}

void nb_sink_write(struct nb_sink *sink, const cJSON *object, const char *text)
{
	char *line;

	if (sink->kind == NB_SINK_JOURNAL) {
		write_journal(sink, object, text);
		return;
	}
	line = cJSON_PrintUnformatted(object);
	if (line)
		write_line(sink, line);
	else
		sink->lost++;
	cJSON_free(line);
}

void nb_sink_close(struct nb_sink *sink)
{
	if (sink->fd < 0)
		return;
	nb_sink_flush(sink);
	close(sink->fd);
	sink->fd = -1;
}
