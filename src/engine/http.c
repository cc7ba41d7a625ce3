/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request is HTTP/1.0: the server then closes at the end and has no need
 * of chunks. They are understood all the same, because a proxy in between may
 * answer as it likes. A library would bring TLS, proxies, redirects and cookies into a
 * program of root for one GET over a Unix socket.
 */
#include "http.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 65536u

static int64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* One conversation. */
struct talk {
	int fd;
	int64_t deadline;
	char *data; /* all that came */
	size_t length;
	size_t capacity;
};

static int wait_for(const struct talk *talk, short events)
{
	struct pollfd poller = { .fd = talk->fd, .events = events };

	for (;;) {
		int64_t left = talk->deadline - monotonic_ms();
		int r = left > 0 ? poll(&poller, 1, (int)left) : 0;

		if (r > 0)
			return 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* Connecting waits only while the server's queue is full, and poll() cannot wait for that. */
static int connect_to(struct talk *talk, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int64_t left = talk->deadline - monotonic_ms();
	struct timeval limit = { .tv_sec = left / 1000, .tv_usec = left % 1000 * 1000 };
	struct ucred owner;
	socklen_t length = sizeof(owner);

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	talk->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (talk->fd < 0 ||
	    setsockopt(talk->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(talk->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN || errno == EINTR ? -ETIMEDOUT : -errno;
	if (getsockopt(talk->fd, SOL_SOCKET, SO_PEERCRED, &owner, &length) < 0)
		return -errno;
	return owner.uid == 0 || owner.uid == geteuid() ? 0 : -EPERM;
}

static int send_all(const struct talk *talk, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		int r = wait_for(talk, POLLOUT);
		ssize_t sent;

		if (r < 0)
			return r;
		sent = send(talk->fd, text, left, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (sent > 0) {
			text += sent;
			left -= (size_t)sent;
		}
	}
	return 0;
}

/* Read some more. Returns 1, 0 at the end, or -errno. */
static int receive(struct talk *talk)
{
	ssize_t n;
	int r;

	if (talk->length + 1 >= talk->capacity) {
		size_t capacity = talk->capacity ? 2 * talk->capacity : 16384;
		char *grown;

		if (talk->length > HEAD_MAX + NB_HTTP_BODY_MAX)
			return -EFBIG;
		grown = realloc(talk->data, capacity);
		if (!grown)
			return -ENOMEM;
		talk->data = grown;
		talk->capacity = capacity;
	}
	do {
		r = wait_for(talk, POLLIN);
		if (r < 0)
			return r;
		n = recv(talk->fd, talk->data + talk->length, talk->capacity - talk->length - 1,
			 MSG_DONTWAIT);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n < 0)
		return -errno;
	talk->length += (size_t)n;
	talk->data[talk->length] = '\0';
	return n > 0;
}

/* The value of a header field, up to the end of its line, or NULL. */
static const char *field(const char *head, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, length) != 0 || line[length] != ':')
			continue;
		line += length + 1;
		return line + strspn(line, " \t");
	}
	return NULL;
}

struct head {
	int status;
	bool chunked;
	bool sized;
	size_t size;
};

static int parse_head(const char *text, struct head *ret)
{
	const char *value;
	char *end;

	/* "HTTP/1.0 200 OK" */
	if (strncmp(text, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)text[7]) ||
	    text[8] != ' ' || strspn(text + 9, "0123456789") != 3)
		return -EPROTO;
	*ret = (struct head){ .status = atoi(text + 9) };
	value = field(text, "Transfer-Encoding");
	ret->chunked = value && strncasecmp(value, "chunked", 7) == 0;
	if (value && !ret->chunked)
		return -EPROTO;
	value = field(text, "Content-Length");
	if (!value || ret->chunked)
		return 0;
	if (!isdigit((unsigned char)*value))
		return -EPROTO;
	errno = 0;
	ret->size = strtoul(value, &end, 10);
	if (errno || ret->size > NB_HTTP_BODY_MAX)
		return -EFBIG;
	ret->sized = true;
	return 0;
}

/* How far the chunks of a body have been joined, in place. */
struct chunks {
	size_t at;     /* the next frame */
	size_t joined; /* bytes of the body so far */
	bool ended;
};

/* Take the frames of complete chunks out of @body. More may have to come. */
static int join_chunks(char *body, size_t length, struct chunks *chunks)
{
	while (!chunks->ended) {
		const char *frame = body + chunks->at;
		size_t left = length - chunks->at;
		const char *line = memchr(frame, '\n', left);
		unsigned long size;
		char *stop;

		if (!line)
			return left > 80 ? -EPROTO : 0;
		if (!isxdigit((unsigned char)*frame))
			return -EPROTO;
		errno = 0;
		size = strtoul(frame, &stop, 16);
		if (errno || size > NB_HTTP_BODY_MAX ||
		    (*stop != '\r' && *stop != '\n' && *stop != ';'))
			return -EPROTO;
		left -= (size_t)(line + 1 - frame);
		if (size == 0) {
			chunks->ended = true;
			return 0;
		}
		if (left < size + 2)
			return 0;
		if (line[1 + size] != '\r' || line[2 + size] != '\n')
			return -EPROTO;
		memmove(body + chunks->joined, line + 1, size);
		chunks->joined += size;
		chunks->at = (size_t)(line - body) + 1 + size + 2;
	}
	return 0;
}

/* The head, up to where the body begins. */
static int read_head(struct talk *talk, struct head *head, size_t *start)
{
	char *end = NULL;

	while (!end) {
		int r = talk->length > HEAD_MAX ? -EPROTO : receive(talk);

		if (r <= 0)
			return r < 0 ? r : -EPROTO;
		end = strstr(talk->data, "\r\n\r\n");
	}
	*start = (size_t)(end - talk->data) + 4;
	end[2] = '\0'; /* fields are not looked for in the body */
	return parse_head(talk->data, head);
}

/* The body, until it is whole and no further. Its length goes to @ret. */
static int read_body(struct talk *talk, const struct head *head, size_t start, size_t *ret)
{
	struct chunks chunks = { 0 };
	bool closed = false;

	for (;;) {
		size_t length = talk->length - start;
		int r = 0;

		if (head->sized && length >= head->size) {
			*ret = head->size;
			return 0;
		}
		if (head->chunked)
			r = join_chunks(talk->data + start, length, &chunks);
		if (r < 0)
			return r;
		if (chunks.ended) {
			*ret = chunks.joined;
			return 0;
		}
		if (closed) {
			*ret = length;
			return head->sized || head->chunked ? -EPROTO : 0;
		}
		if (length > NB_HTTP_BODY_MAX)
			return -EFBIG;
		r = receive(talk);
		if (r < 0)
			return r;
		closed = r == 0;
	}
}

static int read_answer(struct talk *talk, struct nb_http_answer *ret)
{
	size_t start, length = 0;
	struct head head;
	int r = read_head(talk, &head, &start);

	if (r == 0)
		r = read_body(talk, &head, start, &length);
	if (r < 0)
		return r;
	memmove(talk->data, talk->data + start, length);
	talk->data[length] = '\0';
	*ret = (struct nb_http_answer){
		.status = head.status,
		.body = talk->data,
		.length = length,
	};
	talk->data = NULL;
	return 0;
}

static void explain(int number, const char *path, int wait_ms, char *why, size_t size)
{
	switch (number) {
	case -EPERM:
		snprintf(why, size, "belongs to another user at %s", path);
		break;
	case -EACCES:
		snprintf(why, size, "may not be asked at %s by this user", path);
		break;
	case -ETIMEDOUT:
		snprintf(why, size, "did not answer at %s in %d s", path, wait_ms / 1000);
		break;
	case -EFBIG:
		snprintf(why, size, "gave an answer of more than %u MiB at %s",
			 NB_HTTP_BODY_MAX >> 20, path);
		break;
	case -EPROTO:
		snprintf(why, size, "gave an answer at %s that is no HTTP", path);
		break;
	default:
		snprintf(why, size, "does not answer at %s (%s)", path, strerror(-number));
	}
}

static int request(struct talk *talk, const char *path, const char *target)
{
	char text[512];
	int r = connect_to(talk, path);

	snprintf(text, sizeof(text),
		 "GET %s HTTP/1.0\r\nHost: localhost\r\nUser-Agent: nat-bridge/" NB_VERSION "\r\n"
		 "Accept: application/json\r\n\r\n",
		 target);
	return r < 0 ? r : send_all(talk, text);
}

int nb_http_get(const char *path, const char *target, int wait_ms, struct nb_http_answer *ret,
		char *why, size_t why_size)
{
	struct talk talk = { .fd = -1, .deadline = monotonic_ms() + wait_ms };
	int r = request(&talk, path, target);

	if (r == 0)
		r = read_answer(&talk, ret);
	if (talk.fd >= 0)
		close(talk.fd);
	free(talk.data);
	if (r < 0 && r != -ENOMEM)
		explain(r, path, wait_ms, why, why_size);
	return r;
}

int nb_http_stream(const char *path, const char *target, int wait_ms)
{
	struct talk talk = { .fd = -1, .deadline = monotonic_ms() + wait_ms };
	int r = request(&talk, path, target);

	if (r == 0)
		return talk.fd;
	if (talk.fd >= 0)
		close(talk.fd);
	return r;
}

void nb_http_answer_clear(struct nb_http_answer *answer)
{
	free(answer->body);
	*answer = (struct nb_http_answer){ 0 };
}
