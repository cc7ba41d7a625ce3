/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PID 1 is asked, where systemctl of root asks it: at a socket of its own, without a bus in
 * between. What is in /run/systemd/units does not do: a service has its link there also while it
 * stops, and a connection that is made then starts it again as soon as it has stopped.
 * https://dbus.freedesktop.org/doc/dbus-specification.html (message protocol)
 */
#include "systemd.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PRIVATE_SOCKET "/run/systemd/private"
#define UNIT_LINKS     "/run/systemd/units/"
#define WAIT_MS	       1000
#define MESSAGE_MAX    16384u

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BYTE_ORDER_MARK 'l'
#else
#define BYTE_ORDER_MARK 'B'
#endif

enum { METHOD_CALL = 1, METHOD_RETURN = 2, ERROR = 3 };
enum { FIELD_PATH = 1, FIELD_INTERFACE = 2, FIELD_MEMBER = 3, FIELD_SIGNATURE = 8 };

/* Units, and their names as object paths have them. */
static const struct service {
	enum nb_engine engine;
	const char *socket;
	const char *unit, *unit_object, *socket_object;
} services[] = {
	{ NB_ENGINE_DOCKER, "/run/docker.sock", "docker.service", "docker_2eservice",
	  "docker_2esocket" },
	{ NB_ENGINE_PODMAN, "/run/podman/podman.sock", "podman.service", "podman_2eservice",
	  "podman_2esocket" },
};

/* A message that is written; nothing in it is near to the end. */
struct message {
	unsigned char data[512];
	size_t length;
};

static void put(struct message *message, const void *data, size_t length)
{
	if (length > sizeof(message->data) - message->length)
		return;
	memcpy(message->data + message->length, data, length);
	message->length += length;
}

static void align(struct message *message, size_t to)
{
	static const unsigned char zeros[8];

	put(message, zeros, -message->length & (to - 1));
}

static void put_number(struct message *message, uint32_t number)
{
	align(message, 4);
	put(message, &number, sizeof(number));
}

static void put_text(struct message *message, const char *text)
{
	put_number(message, (uint32_t)strlen(text));
	put(message, text, strlen(text) + 1);
}

static void put_field(struct message *message, unsigned char code, char type, const char *text)
{
	const unsigned char head[] = { code, 1, (unsigned char)type, 0 };
	const unsigned char length = (unsigned char)strlen(text);

	align(message, 8);
	put(message, head, sizeof(head));
	if (type == 'g') {
		put(message, &length, 1);
		put(message, text, length + 1u);
	} else {
		put_text(message, text);
	}
}

/* org.freedesktop.DBus.Properties.Get(Unit, ActiveState), of one unit. */
static void write_question(struct message *message, uint32_t serial, const char *unit_object)
{
	const unsigned char head[] = { BYTE_ORDER_MARK, METHOD_CALL, 0, 1 };
	struct message body = { .length = 0 };
	uint32_t size;
	char path[128];

	put_text(&body, "org.freedesktop.systemd1.Unit");
	put_text(&body, "ActiveState");
	snprintf(path, sizeof(path), "/org/freedesktop/systemd1/unit/%s", unit_object);
	message->length = 0;
	put(message, head, sizeof(head));
	put_number(message, (uint32_t)body.length);
	put_number(message, serial);
	put_number(message, 0); /* of the fields, when they are there */
	put_field(message, FIELD_PATH, 'o', path);
	put_field(message, FIELD_INTERFACE, 's', "org.freedesktop.DBus.Properties");
	put_field(message, FIELD_MEMBER, 's', "Get");
	put_field(message, FIELD_SIGNATURE, 'g', "ss");
	size = (uint32_t)message->length - 16;
	memcpy(message->data + 12, &size, sizeof(size));
	align(message, 8);
	put(message, body.data, body.length);
}

/* A conversation with PID 1. */
struct talk {
	int fd;
	int64_t deadline;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool send_all(const struct talk *talk, const void *data, size_t length)
{
	/* far less than a socket's buffer holds */
	return send(talk->fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length;
}

static bool receive(const struct talk *talk, void *data, size_t length)
{
	unsigned char *at = data;

	while (length) {
		struct pollfd poller = { .fd = talk->fd, .events = POLLIN };
		int64_t left = talk->deadline - now_ms();
		ssize_t n;

		if (left <= 0 || (poll(&poller, 1, (int)left) < 0 && errno != EINTR))
			return false;
		n = recv(talk->fd, at, length, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		if (n > 0) {
			at += n;
			length -= (size_t)n;
		}
	}
	return true;
}

/* "OK", and no byte of what follows that line. */
static bool receive_welcome(const struct talk *talk)
{
	char line[128];

	for (size_t i = 0; i < sizeof(line); i++) {
		if (!receive(talk, &line[i], 1))
			return false;
		if (line[i] == '\n')
			return i > 2 && memcmp(line, "OK", 2) == 0;
	}
	return false;
}

static bool open_talk(struct talk *talk)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = PRIVATE_SOCKET };
	char begin[64] = { '\0' };
	int length = 1;

	talk->deadline = now_ms() + WAIT_MS;
	talk->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (talk->fd < 0 ||
	    connect(talk->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return false;
	/* a NUL, and root's number in hexadecimal digits of its decimal ones: nobody else may */
	length += snprintf(begin + 1, sizeof(begin) - 1, "AUTH EXTERNAL 30\r\nBEGIN\r\n");
	return send_all(talk, begin, (size_t)length) && receive_welcome(talk);
}

/* The text in a variant, which is the body of the answer. */
static bool read_variant(const unsigned char *body, size_t size, char *ret, size_t ret_size)
{
	uint32_t length;

	/* a signature "s", and what aligns the length behind it */
	if (size < 9 || body[0] != 1 || body[1] != 's' || body[2] != 0)
		return false;
	memcpy(&length, body + 4, sizeof(length));
	if (length >= ret_size || length > size - 9)
		return false;
	memcpy(ret, body + 8, length);
	ret[length] = '\0';
	return true;
}

/* Read messages up to the answer: PID 1 tells everyone who is connected of its jobs. */
static bool receive_answer(const struct talk *talk, char *ret, size_t ret_size)
{
	unsigned char data[MESSAGE_MAX];

	for (;;) {
		uint32_t body, fields, start;

		if (!receive(talk, data, 16) || data[0] != BYTE_ORDER_MARK)
			return false;
		memcpy(&body, data + 4, sizeof(body));
		memcpy(&fields, data + 12, sizeof(fields));
		if (fields > MESSAGE_MAX / 2 || body > MESSAGE_MAX / 4)
			return false;
		start = (fields + 7) & ~UINT32_C(7);
		if (!receive(talk, data + 16, start + body))
			return false;
		if (data[1] == METHOD_RETURN)
			return read_variant(data + 16 + start, body, ret, ret_size);
		if (data[1] == ERROR)
			return false;
	}
}

/* "active", "inactive", ...: false if PID 1 cannot be asked. */
static bool ask(const struct talk *talk, uint32_t serial, const char *unit_object, char *ret,
		size_t ret_size)
{
	struct message message;

	write_question(&message, serial, unit_object);
	return send_all(talk, message.data, message.length) && receive_answer(talk, ret, ret_size);
}

static enum nb_service judge(const char *socket_state, const char *service_state)
{
	if (strcmp(socket_state, "active") != 0 || strcmp(service_state, "active") == 0 ||
	    strcmp(service_state, "reloading") == 0)
		return NB_SERVICE_ANSWERS;
	return strcmp(service_state, "activating") == 0 ? NB_SERVICE_STARTING : NB_SERVICE_STOPPED;
}

/* For those whom PID 1 does not answer. A system without systemd has no such directory. */
static enum nb_service guess(const struct service *service)
{
	char link[64], target[64];

	snprintf(link, sizeof(link), UNIT_LINKS "invocation:%s", service->unit);
	if (access(UNIT_LINKS, X_OK) < 0 || readlink(link, target, sizeof(target)) >= 0)
		return NB_SERVICE_ANSWERS;
	return NB_SERVICE_STOPPED;
}

enum nb_service nb_systemd_service(enum nb_engine engine, const char *socket)
{
	enum nb_service found = NB_SERVICE_ANSWERS;

	if (strncmp(socket, "/var/run/", 9) == 0)
		socket += 4;
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		const struct service *service = &services[i];
		char socket_state[32], service_state[32];
		struct talk talk;

		if (service->engine != engine || strcmp(service->socket, socket) != 0)
			continue;
		if (open_talk(&talk) &&
		    ask(&talk, 1, service->socket_object, socket_state, sizeof(socket_state)) &&
		    ask(&talk, 2, service->unit_object, service_state, sizeof(service_state)))
			found = judge(socket_state, service_state);
		else
			found = guess(service);
		if (talk.fd >= 0)
			close(talk.fd);
	}
	return found;
}
